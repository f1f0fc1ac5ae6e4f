//! Where output goes, and readers that do not take it.

use std::fs::File;
use std::io::pipe;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::pier::{Store, command, run};
use crate::registry::{Image, Registry};

#[test]
fn errors_are_json_when_data_is() {
    let said = Store::empty().pier(&["rm", "app:1", "--json"]);
    assert_eq!((said.status, said.stdout.as_str()), (1, "[]\n"));
    assert_eq!(
        serde_json::from_str::<Value>(&said.stderr).unwrap(),
        json!({
            "error": "manifest `app:1` is not there",
            "hint": "`pier images` lists what is in the store",
            "status": 1,
        })
    );
    let said = Store::empty().pier(&["rm", "A", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&said.stderr).unwrap()["status"], 2);
}

#[test]
fn a_log_never_mixes_with_data() {
    let store = Store::empty();
    let said = run(command(&["images", "--json", "--log", "trace"]).env("PIER_DATA", store.data()));
    assert_eq!((said.status, said.stdout.as_str()), (0, "[]\n"));
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let store = Store::empty();
    Registry::start(&store).push("app", "1", &Image::new(b"layer"));
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut command = command(&["images"]);
    let child = command.env("PIER_DATA", store.data()).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn data_that_cannot_be_written_is_an_error() {
    let store = Store::empty();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = command(&["images"]);
    let child = command.env("PIER_DATA", store.data()).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: cannot write to standard output: No space left on device (os error 28)\n"
    );
}
