//! `pier manifest`

use pier_oci::Digest;

use crate::site::{Site, hashed, image, index, missing};

#[tokio::test]
async fn what_is_printed_has_the_digest() {
    let site = Site::start().await;
    let index = index();
    site.registry.push(&index, "app:1").await.unwrap();
    let printed = site.pier(&["manifest", "HOST/app:1"]).data(0);
    assert_eq!(Digest::sha256(printed.as_bytes()), hashed(&index));
    let printed = site.pier(&["manifest", "HOST/app:1", "--platform", "linux/riscv64"]).data(0);
    assert_eq!(Digest::sha256(printed.as_bytes()), hashed(&image("second", "riscv64")));
}

#[tokio::test]
async fn in_json_it_is_a_text_that_still_has_the_digest() {
    let site = Site::start().await;
    let index = index();
    site.registry.push(&index, "app:1").await.unwrap();
    let entry = site.json_of(&["manifest", "HOST/app:1"]);
    let text = entry["manifest"].as_str().unwrap();
    assert_eq!(Digest::sha256(text.as_bytes()), hashed(&index));
    assert_eq!(entry["digest"], hashed(&index).to_string());
    assert_eq!(entry["size"], text.len());
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let site = Site::start().await;
    site.pier(&["manifest", "HOST/app:1"]).refused(1, &missing("app:1"));
    site.registry.push(&index(), "app:1").await.unwrap();
    let said = site.pier(&["manifest", "HOST/app:1", "--platform", "linux/arm64"]);
    assert_eq!((said.status, said.stdout.as_str()), (1, ""));
}
