//! The JSON that programs read, held to the page that promises it.

use std::collections::BTreeMap;
use std::fs;

use pier_testkit::image::ImageBuilder;
use serde_json::Value;

use crate::login;
use crate::pier::Store;
use crate::registry::{Image, Registry, digest};
use crate::remote::{Multi, Remote};

#[test]
fn json_has_the_keys_and_types_that_its_page_shows() {
    let page =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/json.md")).unwrap();
    let mut promised = examples(&page);
    // It does not end by itself: `testdata` has a test of its line.
    promised.remove("pier testdata run").unwrap();
    let store = Store::empty();
    let registry = Registry::start(&store);
    registry.push("team/app", "1", &Image::new(b"layer"));
    fs::remove_file(store.blob(&digest(b"layer"))).unwrap();

    let (remote, multi) = (Remote::start(), Multi::new());
    let pulled = remote.push(&multi.index, "app:1");
    let here = multi.here.root.platform.as_ref().unwrap().to_string();
    let quiet = ["--progress", "none", "--json"];
    let elsewhere = Store::empty();
    let moved = |arguments: &[&str]| -> Value {
        serde_json::from_str(&elsewhere.data_of(&[arguments, &quiet].concat())).unwrap()
    };
    let pull = moved(&["pull", &pulled]);
    let push = moved(&["push", "--platform", &here, &pulled, &remote.name("pushed:1")]);
    let copy = moved(&["copy", &pulled, &remote.name("copied:1")]);

    let asked = |arguments: &[&str]| -> Value {
        serde_json::from_str(&elsewhere.data_of(&[arguments, &["--json"]].concat())).unwrap()
    };
    let resolve = asked(&["resolve", &pulled]);
    let inspect = asked(&["inspect", &pulled, "--platform", &here]);
    let approved = multi.digest().to_string();
    let list = elsewhere.data().with_file_name("approved.json");
    let list = list.to_str().unwrap();
    let approve = asked(&["approve", "add", list, &approved, "--kind", "index", "--note", "release 12"]);
    let verify = asked(&["verify", &pulled, "--approved", list, "--progress", "none"]);
    let manifest = asked(&["manifest", &pulled]);
    let tags = asked(&["tags", &remote.name("app")]);
    let catalog = asked(&["catalog", &remote.proxy.address().to_string()]);
    let sbom = ImageBuilder::new().artifact_type("application/vnd.example.sbom").subject(&multi.index.root);
    remote.push(&sbom.annotation("org.example.by", "a tool").build(), "app:sbom");
    let referrers = asked(&["referrers", &pulled]);
    let delete = asked(&["delete", &remote.name("copied:1")]);
    let images = elsewhere.data().with_extension("images");
    let init = ["testdata", "init", &format!("{pulled}=alpine:1"), "--storage-dir", images.to_str().unwrap()];
    let testdata = moved(&init);
    let (login, logout) = login::entries();

    let error = store.pier(&["rm", "team/app:2", "--json"]).stderr;
    let fsck = store.pier(&["fsck", "--json"]).data(4);
    let said = [
        ("pier copy", copy),
        ("pier catalog", catalog),
        ("pier delete", delete),
        ("pier inspect", inspect),
        ("pier login", login),
        ("pier logout", logout),
        ("pier manifest", manifest),
        ("pier pull", pull),
        ("pier push", push),
        ("pier referrers", referrers),
        ("pier resolve", resolve),
        ("pier tags", tags),
        ("pier testdata catalog", testdata),
        ("pier approve", approve),
        ("pier verify", verify),
        ("errors", serde_json::from_str(&error).unwrap()),
        ("pier fsck", serde_json::from_str(&fsck).unwrap()),
        ("pier history", store.json_of(&["history", "team/app:1"])),
        ("pier images", store.json_of(&["images"])),
        ("pier prune", store.json_of(&["prune"])),
        ("pier rm", store.json_of(&["rm", "team/app:1"])),
    ];
    let said: BTreeMap<&str, Value> = said.into_iter().collect();
    assert!(promised.keys().eq(said.keys()), "{:?}", promised.keys());
    for (heading, value) in said {
        assert_eq!(shape(&value), shape(&promised[heading]), "{heading}");
    }
}

/// The JSON under each heading.
fn examples(page: &str) -> BTreeMap<&str, Value> {
    page.split("\n## ")
        .skip(1)
        .map(|section| {
            let (heading, rest) = section.split_once('\n').unwrap();
            let json = rest.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
            (heading, serde_json::from_str(json).unwrap())
        })
        .collect()
}

/// Keys and types, with one element of each list.
fn shape(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}: {}", shape(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.first().map(shape).unwrap_or_default()),
        Value::String(_) => "text".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::Bool(_) => "yes or no".to_owned(),
        Value::Null => "nothing".to_owned(),
    }
}
