//! `pier inspect`

use pier_oci::Digest;
use pier_testkit::{
    faults::{Fault, Kind, Script, When},
    image::{Content, ImageBuilder},
};
use serde_json::json;

use crate::site::{Site, hashed, image, index, missing, pretty};

#[tokio::test]
async fn every_digest_of_the_chain_is_shown_by_its_name() {
    let site = Site::start().await;
    let image = image("first", "amd64");
    site.registry.push(&image, "app:1").await.unwrap();
    let report = site.json_of(&["inspect", "HOST/app:1"]);
    // What the parts hash to, computed here.
    let [config, layer] = [0, 1].map(|part| {
        let Content::Memory(bytes) = &image.blobs[part].content else { panic!() };
        Digest::sha256(bytes).to_string()
    });
    assert_eq!(report["digest"], hashed(&image).to_string());
    let found = &report["image"];
    assert_eq!(found["manifest"]["digest"], hashed(&image).to_string());
    assert_eq!(found["config"]["digest"], config);
    assert_eq!(found["layers"][0]["digest"], layer);
    let config: serde_json::Value = serde_json::from_slice(&image.blobs[0].content.bytes().unwrap()).unwrap();
    assert_eq!(found["layers"][0]["diff_id"], config["rootfs"]["diff_ids"][0]);
    assert_eq!(found["ids"], json!({ "docker": found["config"]["digest"], "containerd": report["digest"] }));
    insta::assert_snapshot!("inspect_image_json", pretty(&report));
    insta::assert_snapshot!("inspect_image", site.pier(&["inspect", "HOST/app:1"]).data(0));
}

#[tokio::test]
async fn an_index_is_listed_and_one_image_of_it_is_shown() {
    let site = Site::start().await;
    site.registry.push(&index(), "app:1").await.unwrap();
    // No image is for this machine, and nobody asked for one.
    let report = site.json_of(&["inspect", "HOST/app:1"]);
    assert_eq!(report["image"], json!(null));
    assert_eq!(report["digest"], hashed(&index()).to_string());
    insta::assert_snapshot!("inspect_index", site.pier(&["inspect", "HOST/app:1"]).data(0));

    let of_platform = ["inspect", "HOST/app:1", "--platform", "linux/s390x"];
    let report = site.json_of(&of_platform);
    assert_eq!(report["image"]["manifest"]["digest"], hashed(&image("first", "s390x")).to_string());
    assert_eq!(report["image"]["indexes"][0]["digest"], report["digest"]);
    assert_eq!(report["image"]["ids"]["containerd"], report["digest"]);
    insta::assert_snapshot!("inspect_platform_json", pretty(&report));
    insta::assert_snapshot!("inspect_platform", site.pier(&of_platform).data(0));

    let said = site.pier(&["inspect", "HOST/app:1", "--platform", "linux/arm64"]);
    said.refused(
        1,
        "error: no image for platform `linux/arm64`, there is `linux/s390x`, `linux/riscv64`\n\
         hint: choose one of these platforms with `--platform`\n",
    );
}

#[tokio::test]
async fn an_artifact_has_no_image_id() {
    let site = Site::start().await;
    let subject = image("first", "amd64");
    let artifact = ImageBuilder::new().artifact_type("application/vnd.example.sbom").subject(&subject.root);
    site.registry.push(&artifact.build(), "app:sbom").await.unwrap();
    insta::assert_snapshot!("inspect_artifact", site.pier(&["inspect", "HOST/app:sbom"]).data(0));
}

#[tokio::test]
async fn the_same_is_said_of_what_was_pulled() {
    let site = Site::start().await;
    let index = index();
    site.registry.push(&index, "app:1").await.unwrap();
    let at_registry = site.json_of(&["inspect", "HOST/app:1", "--platform", "linux/s390x"]);
    assert_eq!(site.pier(&["pull", "HOST/app:1", "--platform", "linux/s390x"]).status, 0);
    let mut pulled = site.json_of(&["inspect", "store:HOST/app:1", "--platform", "linux/s390x"]);
    assert_ne!(pulled["reference"], at_registry["reference"]);
    pulled["reference"] = at_registry["reference"].clone();
    assert_eq!(pulled, at_registry);
}

#[tokio::test]
async fn content_that_does_not_match_is_not_shown() {
    let image = image("first", "amd64");
    let config = image.blobs[0].descriptor.digest;
    let flip = Fault::Flip { at: 3 };
    let site = Site::behind(Script::new().rule(When::get(Kind::Blob).digest(config), flip)).await;
    site.registry.push(&image, "app:1").await.unwrap();
    let said = site.pier(&["inspect", "HOST/app:1"]);
    assert_eq!((said.status, said.stdout.as_str()), (4, ""));
    assert!(said.stderr.contains(&format!("expected `{config}`")), "{}", said.stderr);
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let site = Site::start().await;
    site.pier(&["inspect", "HOST/app:1"]).refused(1, &missing("app:1"));
}
