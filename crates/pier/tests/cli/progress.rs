//! What is told about what moves, always on standard error.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::pier::Store;
use crate::remote::{Remote, image};

/// With how long things took taken out, as in `in 0.1 s`, and the blobs of an image, which arrive in any order, in order of their digests.
fn timeless(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(" in ") {
        Some((before, after)) => {
            let rest = after.split_once(" s").map_or("", |(_, rest)| rest);
            format!("{before} in N s{rest}\n")
        }
        None => format!("{line}\n"),
    });
    let mut lines: Vec<String> = lines.collect();
    // The first four are the status and the data, the last is about the whole.
    let end = lines.len() - 1;
    lines[4..end].sort();
    lines.concat()
}

#[test]
fn without_a_terminal_there_is_a_line_for_each_blob_and_one_for_the_whole() {
    let (store, remote) = (Store::empty(), Remote::start());
    let name = remote.push(&image(1), "team/app:1");
    let said = store.pier(&["pull", &name]);
    insta::assert_snapshot!("plain_pull", timeless(&remote.tidy(&said)));
    let said = store.pier(&["pull", &name]);
    insta::assert_snapshot!("plain_pull_again", timeless(&remote.tidy(&said)));
    let said = store.pier(&["push", &name, &remote.name("other/app:1")]);
    insta::assert_snapshot!("plain_push_mounts", timeless(&remote.tidy(&said)));
}

#[test]
fn none_is_silent() {
    let (store, remote) = (Store::empty(), Remote::start());
    let name = remote.push(&image(1), "app:1");
    store.pier(&["pull", "--progress", "none", &name]).data(0);
}

#[test]
fn every_event_is_an_object_with_the_fields_that_its_page_promises() {
    let (store, remote) = (Store::empty(), Remote::start());
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/progress.md"));
    let page = page.unwrap();
    let promised: BTreeMap<String, Vec<String>> = page
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|event| (event["event"].as_str().unwrap().to_owned(), fields(&event)))
        .collect();
    let name = remote.push(&image(1), "app:1");
    let mut seen = BTreeMap::new();
    for arguments in [&["pull", &name][..], &["push", &name, &remote.name("other:1")]] {
        let said = store.pier(&[arguments, &["--progress", "json"]].concat());
        assert_eq!(said.status, 0, "{said:?}");
        for line in said.stderr.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            seen.insert(event["event"].as_str().unwrap().to_owned(), fields(&event));
        }
    }
    for event in ["resolved", "planned", "started", "committed", "stored", "mounted", "arrived"] {
        assert!(seen.contains_key(event), "{event} of {seen:?}");
    }
    for (event, fields) in seen {
        assert_eq!(promised.get(&event), Some(&fields), "{event}");
    }
}

fn fields(event: &Value) -> Vec<String> {
    event.as_object().unwrap().keys().cloned().collect()
}
