//! `pier prune`

use serde_json::json;

use crate::pier::{Store, text, write};
use crate::registry::{Image, Registry, digest};

#[test]
fn what_was_just_pushed_stays_until_its_lease_ends_or_is_ignored() {
    let store = Store::empty();
    let registry = Registry::start(&store);
    let blob = registry.push_blob("app", &[1; 2048]);
    let image = Image::new(b"named");
    registry.push("app", "1", &image);

    assert_eq!(store.data_of(&["prune"]), "removed 0 blobs (0 B) and 0 unfinished transfers\n");
    assert_eq!(registry.get(&format!("/v2/app/blobs/{blob}")).status, 200);
    assert_eq!(
        store.data_of(&["prune", "--ignore-leases"]),
        "removed 1 blob (2.0 kB) and 0 unfinished transfers\n"
    );
    assert!(!store.blob(&blob).exists());
    assert_eq!(registry.get(&format!("/v2/app/blobs/{blob}")).status, 404);
    // What a manifest names is not a matter of leases.
    for kept in [&image.config, &image.layer] {
        assert_eq!(registry.get(&format!("/v2/app/blobs/{}", digest(kept))).body, *kept);
    }
}

#[test]
fn what_rm_has_taken_the_name_of_goes_with_the_next_prune() {
    let store = Store::empty();
    let file = write(&store, "pier.toml", "[store]\nlease = \"0s\"\n");
    let registry = Registry::start_with(&store.data(), &["--listen", "127.0.0.1:0", "--config", text(&file)]);
    let image = Image::new(&[3; 700]);
    registry.push("app", "1", &image);
    store.data_of(&["rm", "app:1"]);
    let bytes = image.config.len() + image.layer.len();
    assert_eq!(store.json_of(&["prune"]), json!({ "blobs": 2, "bytes": bytes, "links": 2, "parts": 0 }));
    assert_eq!(store.json_of(&["prune"]), json!({ "blobs": 0, "bytes": 0, "links": 0, "parts": 0 }));
    assert_eq!(store.json_of(&["fsck"])["blobs"], 0);
}
