//! `pier push`

use pier_testkit::engine::Skopeo;
use pier_testkit::skip::or_skip;
use serde_json::json;

use crate::pier::{Said, Store, text};
use crate::registry::{Image, Registry};
use crate::remote::{Multi, Remote, image, layer};

fn pushed(store: &Store, arguments: &[&str]) -> Said {
    store.pier(&[&["push", "--progress", "none"], arguments].concat())
}

#[track_caller]
fn pull(store: &Store, arguments: &[&str]) {
    store.data_of(&[&["pull", "--progress", "none"], arguments].concat());
}

#[test]
fn what_was_pulled_is_pushed_under_another_name_with_its_digest() {
    let (store, from, to) = (Store::empty(), Remote::start(), Remote::start());
    let image = image(1);
    let name = from.push(&image, "team/app:1");
    pull(&store, &[&name]);
    let there = to.name("mirror/app:2");
    let line = format!("{}@{}\n", to.name("mirror/app"), image.root.digest);
    // By the name that was pulled, and by the one that `pier images` prints.
    assert_eq!(pushed(&store, &[&name, &there]).data(0), line);
    assert_eq!(pushed(&store, &[&format!("{}:1", from.local("team/app")), &there]).data(0), line);
    // Once is enough.
    assert_eq!(to.proxy.uploaded(&layer(&image).digest), 3000);
}

#[test]
fn what_was_pushed_to_this_store_is_pushed_on() {
    let (store, to) = (Store::empty(), Remote::start());
    let registry = Registry::start(&store);
    let digest = registry.push("team/app", "1", &Image::new(b"layer"));
    let said = pushed(&store, &["team/app:1", &to.name("app:1")]).data(0);
    assert_eq!(said, format!("{}@{digest}\n", to.name("app")));
}

#[test]
fn what_the_registry_has_in_another_repository_is_mounted() {
    let (store, remote) = (Store::empty(), Remote::start());
    let (one, two) = (image(1), image(2));
    let names = [remote.push(&one, "one:1"), remote.push(&two, "two:1")];
    pull(&store, &names.each_ref().map(String::as_str));
    for (name, image) in names.iter().zip([&one, &two]) {
        let said = pushed(&store, &[name, &remote.name("copies:1"), "--json"]).data(0);
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["sent_bytes"], &said["mounted_bytes"]), (&json!(0), &json!(image.blob_bytes())));
    }
    assert_eq!(remote.proxy.uploaded_blobs(), 0);
}

#[test]
fn a_store_that_has_one_platform_of_an_index_says_so() {
    let (store, remote, multi) = (Store::empty(), Remote::start(), Multi::new());
    let name = remote.push(&multi.index, "app:1");
    pull(&store, &[&name]);
    let here = multi.here.root.platform.as_ref().unwrap().to_string();
    let there = remote.name("other:1");
    pushed(&store, &[&name, &there]).refused(
        1,
        &format!(
            "error: the store has 1 of the 3 manifests that the index `{}:1` lists: `{here}`\n\
             hint: choose one with `--platform {here}`, or bring the rest with `pier pull --all-platforms {name}`\n",
            remote.local("app")
        ),
    );
    // The image by itself has its own digest.
    let said = pushed(&store, &[&name, &there, "--platform", &here]).data(0);
    assert_eq!(said, format!("{}@{}\n", remote.name("other"), multi.here.root.digest));

    pull(&store, &["--all-platforms", &name]);
    let said = pushed(&store, &[&name, &remote.name("whole:1")]).data(0);
    assert_eq!(said, format!("{}@{}\n", remote.name("whole"), multi.digest()));
}

#[test]
fn skopeo_reads_what_was_pushed() {
    let Some(skopeo) = or_skip(Skopeo::find()) else { return };
    let (store, from, to) = (Store::empty(), Remote::start(), Remote::start());
    let multi = Multi::new();
    let name = from.push(&multi.index, "app:1");
    pull(&store, &["--all-platforms", &name]);
    let there = to.name("app:1");
    pushed(&store, &[&name, &there]).data(0);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let arguments = ["copy", "--all", "--preserve-digests", "--src-tls-verify=false"];
    let layout = format!("oci:{}:1", text(&copy));
    skopeo.run(&[&arguments[..], &[&format!("docker://{there}"), &layout]].concat()).unwrap();
    let index = std::fs::read_to_string(copy.join("index.json")).unwrap();
    assert!(index.contains(&multi.digest().to_string()), "{index}");
}

#[test]
fn only_registries_are_pushed_to_and_only_what_is_there() {
    let store = Store::empty();
    pushed(&store, &["app:1", "oci:folder"]).refused(
        2,
        "error: `oci:folder` is no image of a registry\nhint: `pier copy` writes to other places\n",
    );
    pushed(&store, &["app:1", "localhost:1/app:1"])
        .refused(1, "error: manifest `app:1` is not there\nhint: `pier images` lists what is in the store\n");
}
