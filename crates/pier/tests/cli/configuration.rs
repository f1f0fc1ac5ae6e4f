//! Flags over environment over file over defaults, and files that are wrong.

use crate::pier::{Said, Store, command, run, text, write};

#[track_caller]
fn check_refused(file: &str, expected: &str) {
    let store = Store::empty();
    let path = write(&store, "pier.toml", file);
    let Said { status, stdout, stderr } = store.pier(&["--config", text(&path), "images"]);
    assert_eq!((status, stdout.as_str()), (2, ""));
    let expected = format!(
        "error: `{}` is not a configuration of Pier: {expected}\nhint: docs/reference/config.md lists every key\n",
        path.display()
    );
    assert_eq!(stderr, expected);
}

#[test]
fn a_mistyped_key_is_refused() {
    // What it could have been is listed; the reference has a test that it is all of them.
    let store = Store::empty();
    let path = write(&store, "pier.toml", "[serve]\nlisen = \"127.0.0.1:0\"\n");
    let Said { status, stderr, .. } = store.pier(&["--config", text(&path), "images"]);
    let expected = "line 2: unknown field `lisen`, expected one of `listen`, ";
    assert!(status == 2 && stderr.lines().next().unwrap().contains(expected), "{stderr}");
    check_refused(
        "[server]\n",
        "line 1: unknown field `server`, expected one of `data`, `serve`, `store`, `log`, `client`, `registries`",
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    check_refused("[store]\nlease = 24\n", "line 2: invalid type: integer `24`, expected a string");
    check_refused("data = false\n", "line 1: invalid type: boolean `false`, expected path string");
    check_refused(
        "[serve]\n\nlisten = \"5000\"\n",
        "line 3: `5000` is not an IP address with a port such as `127.0.0.1:5000` or `[::1]:5000`",
    );
}

#[test]
fn a_missing_file_is_refused() {
    let store = Store::empty();
    store.pier(&["--config", "/no/such/pier.toml", "images"]).refused(
        2,
        "error: cannot read the configuration `/no/such/pier.toml`: No such file or directory (os error 2)\n\
         hint: name an existing file with --config, or leave it out\n",
    );
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let store = Store::empty();
    let file = write(&store, "pier.toml", "data = \"/from/file\"\n");
    let missing = |folder: &str| {
        format!(
            "error: there is no data folder `{folder}`\n\
             hint: name the folder of `pier serve` with --data; `pier serve` makes it when it starts\n"
        )
    };
    let with = |arguments: &[&str]| command(&[&["images"], arguments].concat());
    run(with(&["--data", "/from/flag"]).env("PIER_DATA", "/from/environment").env("PIER_CONFIG", &file))
        .refused(2, &missing("/from/flag"));
    run(with(&[]).env("PIER_DATA", "/from/environment").env("PIER_CONFIG", &file))
        .refused(2, &missing("/from/environment"));
    run(with(&[]).env("PIER_CONFIG", &file)).refused(2, &missing("/from/file"));
    run(with(&[]).env("XDG_DATA_HOME", "/from/xdg")).refused(2, &missing("/from/xdg/pier"));
    run(with(&[]).env("HOME", "/from/home")).refused(2, &missing("/from/home/.local/share/pier"));
    run(with(&[]).env_remove("HOME")).refused(
        2,
        "error: no data folder is named, and neither XDG_DATA_HOME nor HOME is set\n\
         hint: name one with --data or PIER_DATA\n",
    );
}
