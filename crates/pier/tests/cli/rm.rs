//! `pier rm`

use serde_json::json;

use crate::pier::Store;
use crate::registry::{Image, Registry, digest, index};

#[test]
fn a_tag_takes_its_manifest_along_only_when_it_was_the_last() {
    let store = Store::empty();
    let registry = Registry::start(&store);
    let image = Image::new(b"layer");
    let name = registry.push("team/app", "1", &image);
    registry.push("team/app", "2", &image);

    assert_eq!(store.data_of(&["rm", "team/app:1"]), "untagged team/app:1\n");
    assert_eq!(registry.get("/v2/team/app/manifests/1").status, 404);
    assert_eq!(registry.get("/v2/team/app/manifests/2").body, image.manifest);
    assert_eq!(
        store.data_of(&["rm", "team/app:2"]),
        format!("untagged team/app:2\nremoved team/app@{name}\n")
    );
    assert_eq!(registry.get(&format!("/v2/team/app/manifests/{name}")).status, 404);
    assert_eq!(store.json_of(&["images"]), json!([]));
}

#[test]
fn a_digest_is_refused_while_tags_name_it() {
    let store = Store::empty();
    let registry = Registry::start(&store);
    let name = registry.push("app", "1", &Image::new(b"layer"));
    registry.push("app", "stable", &Image::new(b"layer"));
    let reference = format!("app@{name}");
    store.pier(&["rm", &reference]).refused(
        1,
        &format!(
            "error: manifest `app@{name}` is in use: tagged `1`, `stable`\nhint: remove what names it first\n"
        ),
    );
    assert_eq!(registry.get("/v2/app/manifests/1").status, 200);
}

#[test]
fn a_digest_is_refused_while_an_index_names_it_and_goes_with_the_index() {
    let store = Store::empty();
    let registry = Registry::start(&store);
    let child = Image::new(b"layer");
    let name = registry.push("app", &digest(&child.manifest), &child);
    let index = registry.push_manifest("app", "all", &index(&[&child.manifest]));
    store.pier(&["rm", &format!("app@{name}")]).refused(
        1,
        &format!("error: manifest `app@{name}` is in use: index `{index}` names it\nhint: remove what names it first\n"),
    );
    assert_eq!(
        store.json_of(&["rm", "app:all"]),
        json!([{ "reference": "app:all", "repository": "app", "tags": ["all"], "manifests": [index, name] }])
    );
}

#[test]
fn what_is_not_there_is_said_and_what_came_before_it_is_done() {
    let store = Store::empty();
    let registry = Registry::start(&store);
    let name = registry.push("app", "1", &Image::new(b"layer"));
    let said = store.pier(&["rm", "app:1", "app:2"]);
    assert_eq!(said.status, 1);
    assert_eq!(said.stdout, format!("untagged app:1\nremoved app@{name}\n"));
    assert_eq!(
        said.stderr,
        "error: manifest `app:2` is not there\nhint: `pier images` lists what is in the store\n"
    );
}

#[test]
fn a_name_without_a_tag_is_latest() {
    let store = Store::empty();
    let registry = Registry::start(&store);
    let image = Image::new(b"layer");
    registry.push("app", "latest", &image);
    registry.push("app", "1", &image);
    assert_eq!(store.data_of(&["rm", "app"]), "untagged app:latest\n");
}
