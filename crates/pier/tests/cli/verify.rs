//! `pier verify`: yes, no, and could not say, each with its own exit status.

use pier_oci::{Descriptor, Digest};
use pier_testkit::{
    faults::{Canned, Fault, Kind, Script, When},
    image::{BuiltImage, IndexBuilder},
};
use serde_json::{Value, json};

use crate::site::{Site, digest_of_nothing, image, index, missing};

/// An image for every machine that tests run on, in an index.
struct Published {
    index: BuiltImage,
    here: BuiltImage,
}

fn published() -> Published {
    let here = std::env::consts::ARCH;
    let here = pier_oci::Platform::from_rust("linux", here).architecture;
    let there = if here == "amd64" { "arm64" } else { "amd64" };
    let (here, there) = (image("here", &here), image("there", there));
    let index = IndexBuilder::new().child(&here).child(&there).attestation(&here).build();
    Published { index, here }
}

impl Published {
    fn digests(&self) -> [(&'static str, Digest); 3] {
        [
            ("index", self.index.root.digest),
            ("manifest", self.here.root.digest),
            ("config", config(&self.here)),
        ]
    }
}

fn config(image: &BuiltImage) -> Digest {
    image.blobs[0].descriptor.digest
}

fn layer(image: &BuiltImage) -> Descriptor {
    image.blobs[1].descriptor.clone()
}

async fn site() -> (Site, Published) {
    let (site, published) = (Site::start().await, published());
    site.registry.push(&published.index, "app:1").await.unwrap();
    (site, published)
}

#[tokio::test]
async fn an_approved_digest_of_each_kind_gives_the_image_by_its_manifest() {
    let (site, published) = site().await;
    let expected = format!("HOST/app@{}\n", published.here.root.digest);
    for (kind, digest) in published.digests() {
        let digest = digest.to_string();
        assert_eq!(site.pier(&["verify", "HOST/app:1", "--approve", &digest]).data(0), expected);
        let of_kind = ["verify", "HOST/app:1", "--approve", &digest, "--kind", kind];
        let report = site.json_of(&of_kind);
        assert_eq!(report["approved"], json!({ "digest": digest, "kind": kind }));
        assert_eq!((&report["verdict"], &report["reason"]), (&json!("approved"), &Value::Null));
    }
}

#[tokio::test]
async fn what_is_not_approved_ends_with_1_and_says_what_it_is() {
    let (site, published) = site().await;
    let [(_, index), (_, manifest), (_, config)] = published.digests();
    let said = site.pier(&["verify", "HOST/app:1", "--approve", &digest_of_nothing()]);
    said.refused(
        1,
        &format!(
            "error: `HOST/app:1` is not approved: none of its digests is approved\n\
             hint: it is index `{index}`, manifest `{manifest}`, config `{config}`\n"
        ),
    );
    let wrong_kind = ["verify", "HOST/app:1", "--approve", &config.to_string(), "--kind", "manifest"];
    let said = site.pier(&wrong_kind);
    assert_eq!((said.status, said.stdout.as_str()), (1, ""));
    let reason = format!("`{config}` is approved as manifest, and is the digest of the config");
    assert!(said.stderr.contains(&reason), "{}", said.stderr);
    // For programs the report is data, whatever the answer.
    let said = site.pier(&[&wrong_kind[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&said.data(1)).unwrap();
    assert_eq!((&report["verdict"], &report["reason"]), (&json!("refused"), &json!(reason)));
    assert_eq!(report["image"], Value::Null);
}

#[tokio::test]
async fn a_tag_that_is_not_there_is_no_and_a_registry_that_is_not_there_is_no_answer() {
    let (site, published) = site().await;
    let approved = published.here.root.digest.to_string();
    site.pier(&["verify", "HOST/app:2", "--approve", &approved]).refused(1, &missing("app:2"));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reference = format!("{nobody}/app:1");
    let said = site.pier(&["verify", &reference, "--approve", &approved, "--attempts", "1"]);
    assert_eq!((said.status, said.stdout.as_str()), (3, ""), "{}", said.stderr);
}

#[tokio::test]
async fn a_layer_that_was_changed_ends_with_4_when_layers_are_looked_at() {
    let published = published();
    let layer = layer(&published.here).digest;
    let script = Script::new().rule(When::get(Kind::Blob).digest(layer), Fault::Flip { at: 20 });
    let site = Site::behind(script).await;
    site.registry.push(&published.index, "app:1").await.unwrap();
    let approved = published.index.root.digest.to_string();
    assert_eq!(site.pier(&["verify", "HOST/app:1", "--approve", &approved]).status, 0);
    for depth in ["layers", "diff-ids"] {
        let said = site.pier(&[
            "verify",
            "HOST/app:1",
            "--approve",
            &approved,
            "--depth",
            depth,
            "--progress",
            "none",
        ]);
        assert_eq!((said.status, said.stdout.as_str()), (4, ""), "{}", said.stderr);
        assert!(said.stderr.contains(&format!("expected `{layer}`")), "{}", said.stderr);
    }
}

#[tokio::test]
async fn what_is_pulled_is_what_was_verified_and_is_verified_again_offline() {
    let (site, published) = site().await;
    let approved = published.index.root.digest.to_string();
    let layer = layer(&published.here).digest;
    let verify = ["verify", "HOST/app:1", "--approve", &approved, "--progress", "none"];
    let pulled = site.json_of(&[&verify[..], &["--pull"]].concat());
    assert_eq!(pulled["image"], format!("HOST/app@{}", published.here.root.digest));
    assert_eq!(pulled["depth"], "layers");
    for entry in pulled["chain"].as_array().unwrap() {
        let expected = if entry["kind"] == "diff-id" { Value::Null } else { json!("HOST") };
        assert_eq!(entry["from"], expected, "{entry}");
    }

    let offline = [&verify[..], &["--offline"]].concat();
    let report = site.json_of(&offline);
    let stored = format!("store:{}/app@{}", site.host().replace(':', "_"), published.here.root.digest);
    assert_eq!(report["image"], stored);
    assert_eq!(report["chain"][3]["from"], "the local store");

    // One byte of what is on the disk, its length the same.
    let path = site.store.blob(&layer.to_string());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let said = site.pier(&offline);
    assert_eq!((said.status, said.stdout.as_str()), (4, ""), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("expected `{layer}`")), "{}", said.stderr);
    // What was there before is not taken for what was pulled.
    assert_eq!(site.pier(&[&verify[..], &["--pull"]].concat()).status, 4);
    // Nor one that has lost its end.
    std::fs::write(&path, &bytes[..30]).unwrap();
    assert_eq!(site.pier(&offline).status, 4);
}

#[tokio::test]
async fn trap_a_tag_that_moves_between_resolve_and_pull_changes_nothing() {
    let published = published();
    let site = Site::behind(Script::new()).await;
    site.registry.push(&published.index, "app:1").await.unwrap();
    let approved = published.index.root.digest.to_string();
    let verify = ["verify", "HOST/app:1", "--approve", &approved, "--pull", "--progress", "none"];
    assert_eq!(site.pier(&verify).status, 0);
    // The tag is asked for once; whatever it names afterwards, all else is asked for by digest.
    let proxy = site.proxy.as_ref().unwrap();
    let by_tag = proxy.requests().iter().filter(|seen| seen.path.ends_with("/manifests/1")).count();
    assert_eq!(by_tag, 1);
    let stored = site.json_of(&["inspect", "store:HOST/app:1"]);
    assert_eq!(stored["digest"], approved);

    // Now it has moved, and is not approved any more, while what was pulled is.
    site.registry.push(&index(), "app:1").await.unwrap();
    let said = site.pier(&["verify", "HOST/app:1", "--approve", &approved, "--platform", "linux/s390x"]);
    assert_eq!((said.status, said.stdout.as_str()), (1, ""), "{}", said.stderr);
    let offline = ["verify", "HOST/app:1", "--approve", &approved, "--offline", "--progress", "none"];
    assert_eq!(site.pier(&offline).status, 0);
}

#[tokio::test]
async fn the_image_with_a_config_is_found_through_tags() {
    let (site, published) = site().await;
    site.registry.push(&index(), "app:2").await.unwrap();
    let config = config(&published.here).to_string();
    let find = ["verify", "HOST/app", "--find-config", &config, "--tags", "0,2,1"];
    let expected = format!("HOST/app@{}\n", published.here.root.digest);
    let said = site.pier(&find);
    assert_eq!((said.status, said.stdout), (0, expected));
    assert_eq!(said.stderr, "note: there is no tag `0`\n");
    let report = site.json_of(&["verify", "HOST/app:1", "--find-config", &config]);
    assert_eq!((&report["tag"], &report["approved"]["kind"]), (&json!("1"), &json!("config")));
    let said = site.pier(&["verify", "HOST/app", "--find-config", &config, "--tags", "2"]);
    said.refused(
        1,
        &format!(
            "error: `HOST/app:latest` is not approved: no image among the tags has the config `{config}`\n"
        ),
    );
}

#[tokio::test]
async fn a_registry_is_asked_as_often_as_was_said() {
    let published = published();
    let busy = Fault::Answer(Canned::new(http::StatusCode::SERVICE_UNAVAILABLE));
    let approved = published.index.root.digest.to_string();
    let site = Site::behind(Script::new().rule(When::get(Kind::Manifest), busy)).await;
    let verify = ["verify", "HOST/app:1", "--approve", &approved, "--progress", "none"];
    let insisting = ["--attempts", "4", "--interval", "1ms", "--timeout", "20"];
    assert_eq!(site.pier(&[&verify[..], &insisting].concat()).status, 3);
    let proxy = site.proxy.as_ref().unwrap();
    assert_eq!(proxy.requests().iter().filter(|seen| seen.path.ends_with("/manifests/1")).count(), 4);
}

#[tokio::test]
async fn images_in_folders_and_archives_are_verified_too() {
    let (site, published) = site().await;
    let folder = site.store.data().with_file_name("layout");
    let place = format!("oci:{}:1", folder.display());
    assert_eq!(site.pier(&["copy", "HOST/app:1", &place, "--progress", "none"]).status, 0);
    let approved = config(&published.here).to_string();
    let verify = ["verify", &place, "--approve", &approved, "--depth", "diff-ids", "--progress", "none"];
    let expected = format!("oci:{}@{}\n", folder.display(), published.here.root.digest);
    assert_eq!(site.pier(&verify).data(0), expected);
}

#[test]
fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let store = crate::pier::Store::empty();
    let digest = digest_of_nothing();
    for arguments in [
        &["verify", "a/b:1"][..],
        &["verify", "a/b:1", "--approve", "sha256:00"],
        &["verify", "A/B:1", "--approve", &digest],
        &["verify", "https://a/b", "--approve", &digest],
        &["verify", "a b", "--approve", &digest],
        &["verify", "a/b:1;rm", "--approve", &digest],
        &["verify", "", "--approve", &digest],
        &["verify", "a/b:1", "--approve", &digest, "--pull", "--offline"],
        &["verify", "oci:a", "--approve", &digest, "--pull"],
        &["verify", "a/b:1", "--approve", &digest, "--tags", "1"],
        &["verify", "a/b:1", "--approve", &digest, "--timeout", "0"],
        &["verify", "a/b:1", "--approve", &digest, "--attempts", "0"],
        &["verify", "a/b:1", "--approve", &digest, "--key", "k"],
        &["verify", "a/b:1", "--approve", &digest, "--min-version", "2"],
        &["verify", "a/b:1", "--approve", &digest, "--override", &digest],
        &["verify", "a/b:1", "--approved", "list", "--min-version", "2"],
    ] {
        let said = store.pier(arguments);
        assert_eq!((said.status, said.stdout.as_str()), (2, ""), "{arguments:?}: {}", said.stderr);
    }
}
