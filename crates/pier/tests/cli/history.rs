//! `pier history`, and a tag that is taken back by what it says.

use serde_json::Value;

use crate::pier::Store;
use crate::registry::{Image, Registry};

#[test]
fn a_tag_is_taken_back_to_where_it_pointed() {
    let store = Store::empty();
    let registry = Registry::start(&store);
    let old = registry.push("team/app", "stable", &Image::new(b"old"));
    let new = registry.push("team/app", "stable", &Image::new(b"new"));

    let said = store.json_of(&["history", "team/app:stable"]);
    let digests = |said: &Value| -> Vec<Value> {
        said.as_array().unwrap().iter().map(|step| step["digest"].clone()).collect()
    };
    assert_eq!(digests(&said), [new.clone(), old.clone()]);
    assert!(said[0]["moved_at"].as_u64() >= said[1]["moved_at"].as_u64());
    let text = store.data_of(&["history", "team/app:stable"]);
    let mut lines = text.lines();
    assert_eq!(lines.next().unwrap().split_whitespace().collect::<Vec<_>>(), ["MOVED", "DIGEST"]);
    assert!(lines.next().unwrap().ends_with(&new) && lines.next().unwrap().ends_with(&old), "{text}");

    let repository = format!("{}/team/app", registry.address());
    let back = store.pier(&["copy", &format!("{repository}@{old}"), &format!("{repository}:stable")]);
    assert_eq!(back.status, 0, "{back:?}");
    assert_eq!(
        digests(&store.json_of(&["history", "team/app:stable"])),
        [old.clone(), new.clone(), old.clone()]
    );
    store.data_of(&["rm", "team/app:stable"]);
    let gone = store.json_of(&["history", "team/app:stable"]);
    assert_eq!(gone[0]["digest"], Value::Null);
    assert_eq!(gone.as_array().unwrap().len(), 4);
}

#[test]
fn what_has_no_history_is_told_so() {
    let store = Store::empty();
    let registry = Registry::start(&store);
    let digest = registry.push("app", "1", &Image::new(b"layer"));
    store.pier(&["history", &format!("app@{digest}")]).refused(
        2,
        &format!("error: `app@{digest}` is a digest, and a digest never names anything else\nhint: name a tag, such as repository:latest\n"),
    );
    assert_eq!(store.pier(&["history", "app:2"]).status, 1);
}
