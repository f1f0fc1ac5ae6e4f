//! Collection while serving: what nothing names goes by itself, and nothing else does.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::pier::{Store, text, write};
use crate::registry::{Image, Registry, digest, index};

/// How long a collector that looks twenty times a second may need.
const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for a push on a busy machine, short enough to be waited for.
const SHORT: &str = "lease = \"2s\"\nupload-expiry = \"2s\"";

const LONG: &str = "lease = \"1h\"";

fn serve(store: &Store, section: &str) -> Registry {
    let file = write(store, "pier.toml", &format!("[serve]\ncollect-every = \"50ms\"\n[store]\n{section}\n"));
    Registry::start_with(&store.data(), &["--listen", "127.0.0.1:0", "--config", text(&file)])
}

/// Waits for another process to have done something.
#[track_caller]
fn until(what: &str, is_done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_done() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Waits until the collector has been at work after this was called: a blob that is not wanted any more goes at once.
#[track_caller]
fn until_collected(store: &Store, registry: &Registry, bytes: &[u8]) {
    let blob = registry.push_blob("marker", bytes);
    delete(registry, &format!("/v2/marker/blobs/{blob}"));
    until("the marker goes", || !store.blob(&blob).exists());
}

#[track_caller]
fn delete(registry: &Registry, path: &str) {
    let reply = registry.send("DELETE", path, &format!("Host: {}\r\n", registry.address()), b"");
    assert_eq!(reply.status, 202, "{path}: {reply:?}");
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_deleted_image_gives_its_space_back_by_itself() {
    let store = Store::empty();
    let registry = serve(&store, SHORT);
    let image = Image::new(&[7; 5000]);
    let name = registry.push("app", "1", &image);
    delete(&registry, &format!("/v2/app/manifests/{name}"));
    for blob in [&image.config, &image.layer] {
        until("the bytes of a deleted image go", || !store.blob(&digest(blob)).exists());
        assert_eq!(registry.get(&format!("/v2/app/blobs/{}", digest(blob))).status, 404);
    }
    until("the trash is emptied", || entries(&store.data().join("trash")) == 0);
    assert_eq!(
        store.json_of(&["prune"]),
        json!({ "blobs": 0, "bytes": 0, "links": 0, "parts": 0 }),
        "nothing is left to be pruned by hand"
    );
}

#[test]
fn what_was_just_pushed_is_left_alone_for_its_lease() {
    let store = Store::empty();
    let registry = serve(&store, LONG);
    let blob = registry.push_blob("app", b"leased");
    until_collected(&store, &registry, b"marker");
    assert_eq!(registry.get(&format!("/v2/app/blobs/{blob}")).body, b"leased");
}

#[test]
fn whatever_is_named_outlives_its_lease() {
    let store = Store::empty();
    let registry = serve(&store, SHORT);
    let (tagged, by_digest, child) = (Image::new(b"tagged"), Image::new(b"by digest"), Image::new(b"child"));
    registry.push("app", "1", &tagged);
    let untagged = registry.push("app", &digest(&by_digest.manifest), &by_digest);
    let platform = registry.push("app", &digest(&child.manifest), &child);
    let index = index(&[&child.manifest]);
    let index = registry.push_manifest("app", "multi", &index);
    let subject: Value = serde_json::from_slice(&tagged.manifest).unwrap();
    let mut referrer: Value =
        serde_json::from_slice(&Image::new(b"what is said of an image").manifest).unwrap();
    registry.push_blob("app", b"what is said of an image");
    referrer["subject"] = json!({
        "mediaType": subject["mediaType"], "digest": digest(&tagged.manifest), "size": tagged.manifest.len(),
    });
    let referrer = referrer.to_string().into_bytes();
    let referrer = registry.push_manifest("app", &digest(&referrer), &referrer);
    let unnamed = registry.push_blob("app", b"nothing names this");

    // The last lease of all ends last.
    until("a blob that nothing names goes", || !store.blob(&unnamed).exists());
    for name in ["1", "multi", &untagged, &platform, &index, &referrer] {
        assert_eq!(registry.get(&format!("/v2/app/manifests/{name}")).status, 200, "{name}");
    }
    for bytes in [
        &tagged.layer,
        &by_digest.layer,
        &child.layer,
        &child.config,
        &b"what is said of an image"[..].to_vec(),
    ] {
        assert_eq!(registry.get(&format!("/v2/app/blobs/{}", digest(bytes))).body, *bytes);
    }
    let referrers: Value = serde_json::from_slice(
        &registry.get(&format!("/v2/app/referrers/{}", digest(&tagged.manifest))).body,
    )
    .unwrap();
    assert_eq!(referrers["manifests"][0]["digest"], referrer);
}

#[test]
fn deleting_an_index_or_a_subject_takes_neither_children_nor_referrers_along() {
    let store = Store::empty();
    let registry = serve(&store, SHORT);
    let child = Image::new(b"child");
    let platform = registry.push("app", &digest(&child.manifest), &child);
    let index = registry.push_manifest("app", "multi", &index(&[&child.manifest]));
    delete(&registry, &format!("/v2/app/manifests/{index}"));
    let unnamed = registry.push_blob("app", b"nothing names this");
    until("a blob that nothing names goes", || !store.blob(&unnamed).exists());
    // Somebody may run it by its digest.
    assert_eq!(registry.get(&format!("/v2/app/manifests/{platform}")).body, child.manifest);
    assert_eq!(registry.get(&format!("/v2/app/blobs/{}", digest(b"child"))).body, b"child");
    // It is listed as what nothing names, and goes when somebody says so.
    assert_eq!(store.json_of(&["images"])[0]["tag"], Value::Null);
    store.data_of(&["rm", &format!("app@{platform}")]);
    until("the bytes of the child go", || !store.blob(&digest(b"child")).exists());
}

#[test]
fn an_upload_that_nobody_finishes_goes() {
    let store = Store::empty();
    let registry = serve(&store, SHORT);
    let host = format!("Host: {}\r\n", registry.address());
    let begun = registry.send("POST", "/v2/app/blobs/uploads/", &host, b"");
    assert_eq!(begun.status, 202);
    let location = begun.header("location");
    assert_eq!(registry.send("PATCH", &location, &host, b"half of it").status, 202);
    assert_eq!(entries(&store.data().join("uploads")), 1);
    until("the upload expires", || entries(&store.data().join("uploads")) == 0);
    assert_eq!(registry.get(&location).status, 404);
}

#[test]
fn two_servers_on_one_store_collect_side_by_side() {
    let store = Store::empty();
    let servers = [serve(&store, SHORT), serve(&store, SHORT)];
    let kept = Image::new(b"kept");
    let mut gone = Vec::new();
    for (number, server) in servers.iter().cycle().take(20).enumerate() {
        server.push(&format!("app/{number}"), "kept", &kept);
        gone.push(server.push_blob(&format!("app/{number}"), format!("unnamed {number}").as_bytes()));
    }
    for blob in gone {
        until("what nothing names goes", || !store.blob(&blob).exists());
    }
    for server in servers {
        assert_eq!(server.get(&format!("/v2/app/19/blobs/{}", digest(&kept.layer))).body, kept.layer);
    }
    assert_eq!(store.json_of(&["fsck"])["findings"], json!([]));
    assert_eq!(store.json_of(&["fsck"])["blobs"], 2);
}

#[test]
fn the_log_says_what_was_collected_and_nothing_when_it_was_nothing() {
    let store = Store::empty();
    let mut registry = serve(&store, LONG);
    until_collected(&store, &registry, b"marker");
    assert_eq!(registry.process().terminate(PATIENCE).unwrap().code(), Some(0));
    let log = registry.process().stderr();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("collected")).collect();
    let [line] = lines[..] else { panic!("{log}") };
    assert!(line.contains("blobs=1") && line.contains("bytes=6") && line.contains("parts=0"), "{line}");
    assert!(!log.contains("nothing to collect") && !log.contains("cannot collect"), "{log}");
}
