//! `pier fsck`

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::pier::Store;
use crate::registry::{Image, Registry, digest};

/// A store with one image, whose server has ended.
fn store_with(image: &Image) -> Store {
    let store = Store::empty();
    let registry = Registry::start(&store);
    registry.push("app", "1", image);
    store
}

/// Flips one bit of a file that is read-only by design.
fn flip(store: &Store, blob: &str) -> String {
    let path = store.blob(blob);
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, &bytes).unwrap();
    digest(&bytes)
}

/// Pushing the same image again makes everything right.
fn mends_by_a_push(store: &Store, image: &Image) {
    let registry = Registry::start(store);
    let layer = format!("/v2/app/blobs/{}", digest(&image.layer));
    assert_eq!(registry.get(&layer).status, 404);
    registry.push("app", "1", image);
    assert_eq!(registry.get(&layer).body, image.layer);
    let size = image.config.len() + image.layer.len();
    assert_eq!(
        store.json_of(&["fsck"]),
        json!({ "blobs": 2, "hashed_bytes": size, "manifests": 1, "findings": [], "repaired": 0 })
    );
    assert_eq!(store.json_of(&["images"])[0]["absent"], 0);
}

#[test]
fn a_sound_store_is_well() {
    let image = Image::new(b"layer");
    let store = store_with(&image);
    let hashed = image.config.len() + image.layer.len();
    assert_eq!(
        store.data_of(&["fsck"]),
        format!("checked 2 blobs ({hashed} B hashed) and 1 manifest: all is well\n")
    );
    assert_eq!(
        store.data_of(&["fsck", "--quick"]),
        "checked 2 blobs (0 B hashed) and 1 manifest: all is well\n"
    );
}

#[test]
fn a_flipped_bit_is_found_and_mended() {
    let image = Image::new(b"layer");
    let store = store_with(&image);
    let layer = digest(b"layer");
    let actual = flip(&store, &layer);
    let hashed = image.config.len() + image.layer.len();
    let checked = format!("checked 2 blobs ({hashed} B hashed) and 1 manifest");
    let finding = format!("corrupt  {layer}: its bytes hash to {actual}");
    assert_eq!(store.pier(&["fsck"]).data(4), format!("{finding}\n{checked}: 1 problem\n"));
    // The size is still right, and more is not looked at.
    assert_eq!(store.pier(&["fsck", "--quick"]).status, 0);
    assert_eq!(
        store.pier(&["fsck", "--repair"]).data(4),
        format!("{finding}\n{checked}: 1 problem, 1 repaired\n")
    );
    assert!(!store.blob(&layer).exists());
    assert_eq!(store.pier(&["fsck"]).status, 0);
    mends_by_a_push(&store, &image);
}

#[test]
fn a_missing_file_is_found_and_mended() {
    let image = Image::new(b"layer");
    let store = store_with(&image);
    let layer = digest(b"layer");
    fs::remove_file(store.blob(&layer)).unwrap();
    let report = json!({
        "blobs": 2,
        "hashed_bytes": image.config.len(),
        "manifests": 1,
        "findings": [{ "finding": "file-missing", "digest": layer }],
        "repaired": 0,
    });
    let said = store.pier(&["fsck", "--json"]).data(4);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap(), report);
    let said = store.pier(&["fsck", "--quick"]).data(4);
    assert!(said.starts_with(&format!("missing  {layer}: its file is gone\n")), "{said}");
    assert_eq!(store.pier(&["fsck", "--repair"]).status, 4);
    mends_by_a_push(&store, &image);
}

#[test]
fn a_truncated_file_is_found_by_a_quick_look() {
    let store = store_with(&Image::new(b"layer"));
    let layer = digest(b"layer");
    let path = store.blob(&layer);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, b"lay").unwrap();
    let said = store.pier(&["fsck", "--quick"]).data(4);
    assert_eq!(
        said,
        format!(
            "corrupt  {layer}: it has 3 bytes, the catalog says 5\n\
             checked 2 blobs (0 B hashed) and 1 manifest: 1 problem\n"
        )
    );
}

#[test]
fn a_file_that_nothing_knows_of_is_harmless_and_removed() {
    let store = store_with(&Image::new(b"layer"));
    let stray = store.blob(&digest(b"stray"));
    fs::write(&stray, b"stray").unwrap();
    let said = store.pier(&["fsck", "--quick"]).data(1);
    let finding = format!("unknown  DATA/blobs/{}", digest(b"stray").replace(':', "/"));
    assert_eq!(said, format!("{finding}\nchecked 2 blobs (0 B hashed) and 1 manifest: 1 problem\n"));
    assert_eq!(store.pier(&["fsck", "--quick", "--repair"]).status, 1);
    assert!(!stray.exists());
    assert_eq!(store.pier(&["fsck"]).status, 0);
}

#[test]
fn a_damaged_manifest_is_found() {
    let image = Image::new(b"layer");
    let store = store_with(&image);
    // The last to close the database writes its log back into the file itself.
    store.data_of(&["images"]);
    let path = store.data().join("catalog.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(image.manifest.len()).position(|window| window == image.manifest).unwrap();
    let name = br#""schemaVersion":2"#;
    let at = at + image.manifest.windows(name.len()).position(|window| window == name).unwrap() + 1;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let said = store.pier(&["fsck"]).data(4);
    assert!(said.starts_with(&format!("corrupt  manifest {}\n", digest(&image.manifest))), "{said}");
}
