//! `pier verify`: yes, no, and could not say, each with its own exit status.

use std::sync::Arc;

use pier_oci::{Descriptor, Digest};
use pier_testkit::{
    faults::{Canned, Fault, Kind, Script, When},
    image::{BuiltImage, BuiltManifest, IndexBuilder},
};
use serde_json::{Value, json};

use crate::site::{Site, digest_of_nothing, image, index, missing};

/// What is said where the approval says nothing of the layers.
const NOT_LOOKED_AT: &str =
    "note: only the config is approved, and nobody has looked at the layers: see --depth diff-ids\n";

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
        let said = site.pier(&["verify", "HOST/app:1", "--approve", &digest]);
        let talk = if kind == "config" { NOT_LOOKED_AT } else { "" };
        assert_eq!((said.status, said.stdout.as_str(), said.stderr.as_str()), (0, &*expected, talk));
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

    // It moves in the midst of it: the tag has been answered for, and the config is not there yet.
    let second = IndexBuilder::new().child(&image("second", "amd64")).build();
    let slow = Script::new().rule(When::get(Kind::Blob).digest(config(&published.here)), Fault::StallHead);
    let moving = Arc::new(Site::behind(slow).await);
    moving.registry.push(&published.index, "app:1").await.unwrap();
    let verifying = tokio::task::spawn_blocking({
        let (site, approved) = (Arc::clone(&moving), approved.clone());
        move || site.pier(&["verify", "HOST/app:1", "--approve", &approved, "--pull", "--progress", "none"])
    });
    let proxy = moving.proxy.as_ref().unwrap();
    proxy.wait_for(|seen| seen.iter().any(|seen| seen.kind == Kind::Blob)).await.unwrap();
    moving.registry.push(&second, "app:1").await.unwrap();
    proxy.set_script(Script::new());
    proxy.release();
    let said = verifying.await.unwrap();
    assert_eq!(said.data(0), format!("HOST/app@{}\n", published.here.root.digest));
    assert_eq!(moving.json_of(&["inspect", "store:HOST/app:1"])["digest"], approved);
    assert_eq!(moving.pier(&verify).status, 1, "it has moved");

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
    assert_eq!(said.stderr, format!("note: there is no tag `0`\n{NOT_LOOKED_AT}"));
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

/// What a hostile registry makes of an image: the same config, said to be of this type, beside other layers. Every digest is right.
fn evil(image: &BuiltImage, config_type: &str) -> BuiltImage {
    let other = crate::site::image("evil", "amd64");
    let mut document: Value = serde_json::from_slice(&image.manifests[0].bytes).unwrap();
    document["layers"] = json!([layer(&other)]);
    document["config"]["mediaType"] = config_type.into();
    let bytes = document.to_string().into_bytes();
    let mut root = Descriptor::new(
        image.root.media_type.clone(),
        Digest::sha256(&bytes),
        bytes.len().try_into().unwrap(),
    );
    root.platform.clone_from(&image.root.platform);
    BuiltImage {
        blobs: vec![image.blobs[0].clone(), other.blobs[1].clone()],
        manifests: vec![BuiltManifest { descriptor: root.clone(), bytes: bytes.into() }],
        root,
    }
}

#[tokio::test]
async fn other_layers_beside_an_approved_config_are_not_approved() {
    let (site, published) = (Site::start().await, published());
    let evil = evil(&published.here, "application/vnd.oci.image.config.v1+json");
    site.registry.push(&evil, "app:1").await.unwrap();
    let approved = config(&published.here).to_string();
    let verify = ["verify", "HOST/app:1", "--approve", &approved, "--progress", "none"];
    for more in [&["--depth", "layers"][..], &["--depth", "diff-ids"], &["--pull"]] {
        let said = site.pier(&[&verify[..], more].concat());
        assert_eq!((said.status, said.stdout.as_str()), (4, ""), "{more:?}: {}", said.stderr);
    }
    // Nothing bears the name of what was approved.
    assert_eq!(site.pier(&["inspect", "store:HOST/app:1"]).status, 1);
    let stored = format!("{}/app:1", site.host().replace(':', "_"));
    assert_eq!(site.pier(&["pull", "HOST/app:1", "--progress", "none"]).status, 0);
    let offline = ["verify", &format!("store:{stored}"), "--approve", &approved, "--progress", "none"];
    assert_eq!(site.pier(&[&offline[..], &["--offline"]].concat()).status, 4);

    // Down to the config only that is held against what is approved, and it is said.
    let said = site.pier(&verify);
    assert_eq!((said.status, said.stdout), (0, format!("HOST/app@{}\n", evil.root.digest)));
    assert_eq!(said.stderr, NOT_LOOKED_AT);
    let said = site.pier(&[&verify[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&said.data(0)).unwrap();
    assert_eq!((&report["binds"], &report["depth"]), (&json!("config"), &json!("config")));
}

#[tokio::test]
async fn what_an_approval_binds_is_said() {
    let (site, published) = site().await;
    let [(_, index), (_, manifest), (_, config)] = published.digests();
    for (approved, depth, binds, looked) in [
        (index, "config", "image", "config"),
        (manifest, "layers", "image", "layers"),
        (config, "config", "config", "config"),
        (config, "layers", "diff-ids", "diff-ids"),
        (config, "diff-ids", "diff-ids", "diff-ids"),
    ] {
        let approved = approved.to_string();
        let verify = ["verify", "HOST/app:1", "--approve", &approved, "--depth", depth, "--progress", "none"];
        let report = site.json_of(&verify);
        assert_eq!((&report["binds"], &report["depth"]), (&json!(binds), &json!(looked)), "{approved}");
    }
    // Of what is refused nobody looks at the layers.
    let nothing = digest_of_nothing();
    let verify = ["verify", "HOST/app:1", "--approve", &nothing, "--depth", "diff-ids", "--json"];
    let said = site.pier(&[&verify[..], &["--progress", "none"]].concat());
    let report: Value = serde_json::from_str(&said.data(1)).unwrap();
    assert_eq!((&report["binds"], &report["depth"]), (&Value::Null, &json!("config")));
}

#[tokio::test]
async fn a_config_of_another_type_does_not_turn_the_checks_off() {
    let (site, published) = (Site::start().await, published());
    let evil = evil(&published.here, "application/vnd.example.thing");
    site.registry.push(&evil, "app:1").await.unwrap();
    let (config, manifest) = (config(&published.here).to_string(), evil.root.digest.to_string());
    let verify = ["verify", "HOST/app:1", "--progress", "none"];
    for (more, reason) in [
        (&["--approve", &*config, "--kind", "config"][..], "nothing ties the layers to it"),
        (
            &["--approve", &config, "--depth", "diff-ids", "--platform", "linux/amd64"],
            "nothing ties the layers to it",
        ),
        (&["--approve", &manifest, "--depth", "diff-ids"], "nothing says what the layers unpack to"),
        (&["--approve", &manifest, "--platform", "linux/amd64"], "nothing says which platform it is for"),
    ] {
        let said = site.pier(&[&verify[..], more].concat());
        assert_eq!((said.status, said.stdout.as_str()), (1, ""), "{more:?}: {}", said.stderr);
        assert!(said.stderr.contains(reason), "{}", said.stderr);
    }
    assert_eq!(site.pier(&[&verify[..], &["--approve", &manifest, "--depth", "layers"]].concat()).status, 0);
}

#[tokio::test]
async fn an_approved_digest_is_found_through_tags() {
    let (site, published) = site().await;
    site.registry.push(&index(), "app:2").await.unwrap();
    let expected = format!("HOST/app@{}\n", published.here.root.digest);
    for (kind, digest) in published.digests() {
        // As older launchers go about it: the newest of a file, or the override, and then the tags.
        let bare = digest.to_string().replace("sha256:", "");
        let list = json!({ "approved_hashes": [bare, digest_of_nothing()] }).to_string();
        let list = crate::pier::write(&site.store, "list.json", &list);
        let find = ["verify", "HOST/app", "--approved", crate::pier::text(&list), "--tags", "0,2,1"];
        let said = site.pier(&find);
        assert_eq!((said.status, said.stdout), (0, expected.clone()), "{}", said.stderr);
        let said = site.pier(&[&find[..], &["--json"]].concat());
        let report: Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!((&report["tag"], &report["approved"]["kind"]), (&json!("1"), &json!(kind)));
        assert_eq!(report["list"]["version"], Value::Null);
        assert_eq!(site.pier(&[&find[..], &["--override", &digest.to_string()]].concat()).status, 0);
        let said = site.pier(&[&find[..], &["--override", &digest_of_nothing()]].concat());
        assert_eq!((said.status, said.stdout.as_str()), (1, ""));
        assert!(
            said.stderr.contains("none of the tags leads to a digest that is approved"),
            "{}",
            said.stderr
        );
        let approve = ["verify", "HOST/app", "--approve", &digest.to_string(), "--tags", "2,1"];
        assert_eq!(site.pier(&approve).status, 0);
    }
}

#[tokio::test]
async fn a_config_is_looked_for_among_images_for_this_machine() {
    let (site, published) = (Site::start().await, published());
    let there = if published.here.root.platform.as_ref().unwrap().architecture == "amd64" {
        image("there", "arm64")
    } else {
        image("there", "amd64")
    };
    site.registry.push(&published.index, "app:1").await.unwrap();
    let config = config(&there).to_string();
    let find = ["verify", "HOST/app:1", "--find-config", &config];
    assert_eq!(site.pier(&find).status, 1);
    let platform = there.root.platform.as_ref().unwrap().to_string();
    assert_eq!(site.pier(&[&find[..], &["--platform", &platform]].concat()).status, 0);
}

/// What may pass is 3, and what stays as it is is 1: a launcher asks again for the one only.
#[tokio::test]
async fn what_nobody_can_read_under_a_tag_is_no_answer() {
    let published = published();
    let approved = published.index.root.digest.to_string();
    let verify = ["verify", "HOST/app:1", "--approve", &approved, "--progress", "none", "--attempts", "1"];
    for answer in [
        Canned::html(http::StatusCode::OK),
        Canned::new(http::StatusCode::OK),
        Canned { body: "{}".to_owned(), ..Canned::new(http::StatusCode::OK) },
    ] {
        let site = Site::behind(Script::new().answer(When::get(Kind::Manifest), answer)).await;
        site.registry.push(&published.index, "app:1").await.unwrap();
        let said = site.pier(&verify);
        assert_eq!((said.status, said.stdout.as_str()), (3, ""), "{}", said.stderr);
    }
    // A config that has its digest and names other layers than the manifest has will never be right.
    let site = Site::start().await;
    let mut image = published.here.clone();
    let mut document: Value = serde_json::from_slice(&image.manifests[0].bytes).unwrap();
    document["layers"] = json!([layer(&image), layer(&image)]);
    let bytes = document.to_string().into_bytes();
    let descriptor = Descriptor::new(
        image.root.media_type.clone(),
        Digest::sha256(&bytes),
        bytes.len().try_into().unwrap(),
    );
    image.root = descriptor.clone();
    image.manifests = vec![BuiltManifest { descriptor, bytes: bytes.into() }];
    site.registry.push(&image, "app:1").await.unwrap();
    let said = site.pier(&verify);
    assert_eq!((said.status, said.stdout.as_str()), (1, ""), "{}", said.stderr);
    assert!(said.stderr.contains("it has 1 diff ids for 2 layers"), "{}", said.stderr);
}

#[tokio::test]
async fn refused_credentials_end_with_5_at_once() {
    let published = published();
    let approved = published.index.root.digest.to_string();
    for status in [http::StatusCode::UNAUTHORIZED, http::StatusCode::FORBIDDEN] {
        let refused = Canned::error(status, "DENIED");
        let site = Site::behind(Script::new().answer(When::get(Kind::Manifest), refused)).await;
        let said = site.pier(&["verify", "HOST/app:1", "--approve", &approved, "--attempts", "20"]);
        assert_eq!((said.status, said.stdout.as_str()), (5, ""), "{}", said.stderr);
        let asked = site.proxy.as_ref().unwrap().requests();
        assert!(asked.iter().filter(|seen| seen.kind == Kind::Manifest).count() <= 2);
    }
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

/// The references that the launchers before refused, and what could have been slipped into a command or a file by one.
#[test]
fn malformed_references_and_injections_are_refused_before_anybody_is_asked() {
    let store = crate::pier::Store::empty();
    let digest = digest_of_nothing();
    for reference in [
        "",
        " ",
        "a b",
        " app:1",
        "app:1 ",
        "app:",
        ":1",
        "app:1:2",
        "app:-1",
        "app:.1",
        "app@",
        "app@sha256:",
        "app@sha256:zz",
        "app@md5:d41d8cd98f00b204e9800998ecf8427e",
        "app@sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        "App:1",
        "-app:1",
        "host:port/app",
        "host:99999/app",
        "host//app",
        "host/app/",
        "/app",
        "host/../app",
        "host/app..b/./c",
        "https://host/app:1",
        "host/app?x=1",
        "host/app#x",
        "user@host/app:1",
        "app:1;reboot",
        "app:$(reboot)",
        "app:`reboot`",
        "app:1|cat",
        "app:1&",
        "app:1\nimage: evil",
        "app:1\r\nHost: evil",
        "app:1\tb",
        "app:\"1\"",
        "app:'1'",
        "app:{{.}}",
        "app:%0a",
        "app:1\\",
        "app:\u{202e}1",
        "äpp:1",
        &format!("app:{}", "x".repeat(129)),
        &format!("host/{}", "x".repeat(256)),
    ] {
        let said = store.pier(&["verify", "--approve", &digest, "--attempts", "1", "--", reference]);
        assert_eq!((said.status, said.stdout.as_str()), (2, ""), "{reference:?}: {}", said.stderr);
        assert_eq!(said.stderr.chars().find(|c| c.is_control() && *c != '\n'), None, "{:?}", said.stderr);
    }
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
        &["verify", "a/b:1", "--tags", "1"],
        &["verify", "a/b", "--approve", &digest, "--tags", "a b"],
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
