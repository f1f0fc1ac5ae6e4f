//! What went wrong in earlier software for the same work, each as a test that it does not go wrong here.

use std::path::Path;
use std::process::Stdio;

use http::StatusCode;
use pier_oci::{Digest, Reference};
use pier_testkit::faults::{Canned, Fault, Kind, RetryAfter, Script, Seen, When};
use pier_testkit::image::{BuiltImage, Hostile, ImageBuilder, IndexBuilder, Layer};
use pier_testkit::mock;
use serde_json::json;

use crate::pier::{Said, Store, command, text, write};
use crate::registry::Registry;
use crate::remote::{Multi, Remote, image, image_of, layer, wait};

const SIZE: usize = 5_000_000;

fn pull(store: &Store, arguments: &[&str]) -> Said {
    store.pier(&[&["pull", "--progress", "none"], arguments].concat())
}

/// Gives up at the first attempt that brings nothing.
fn pull_impatiently(store: &Store, name: &str) -> Said {
    let config = write(store, "pier.toml", "[client]\nattempts = 1\n");
    pull(store, &["--config", text(&config), name])
}

/// Every blob is stored, and is what its name says.
#[track_caller]
fn holds(store: &Store, image: &BuiltImage) {
    for blob in &image.blobs {
        let bytes = std::fs::read(store.blob(&blob.descriptor.digest.to_string())).unwrap();
        assert_eq!(Digest::sha256(&bytes), blob.descriptor.digest);
    }
}

/// The manifest that a client of this store's server gets, byte for byte.
fn served(store: &Store, remote: &Remote, name: &str, digest: &Digest) -> Vec<u8> {
    let reply = Registry::start(store).get(&format!("/v2/{}/manifests/{digest}", remote.local(name)));
    assert_eq!(reply.status, 200);
    reply.body
}

#[test]
fn pull_by_digest_works() {
    let (store, remote, image) = (Store::empty(), Remote::start(), image(1));
    remote.push(&image, "team/app:1");
    let digest = image.root.digest;
    let line = format!("{}@{digest}\n", remote.name("team/app"));
    for name in ["team/app", "team/app:1", "team/app:anything"] {
        assert_eq!(pull(&store, &[&format!("{}@{digest}", remote.name(name))]).data(0), line);
    }
    let path = format!("/v2/team/app/manifests/{digest}");
    let asked = remote.proxy.requests();
    assert!(asked.iter().filter(|seen| seen.kind == Kind::Manifest).all(|seen| seen.path == path));
    holds(&store, &image);
}

#[test]
fn an_error_body_is_never_appended_to_a_layer() {
    let image = image_of(1, SIZE);
    for answer in [
        Canned::html(StatusCode::UNAUTHORIZED),
        Canned::html(StatusCode::FORBIDDEN),
        Canned::html(StatusCode::NOT_FOUND),
        Canned::range_not_satisfiable(),
        Canned::too_many_requests(RetryAfter::Seconds(0)),
        Canned::html(StatusCode::BAD_GATEWAY),
    ] {
        let blob = || When::get(Kind::Blob).digest(layer(&image).digest);
        let script = Script::new()
            .rule(blob().once(), Fault::Truncate { after: 3_000_000 })
            .answer(blob().skip(1), answer.clone());
        let (store, remote) = (Store::empty(), Remote::scripted(script));
        let name = remote.push(&image, "app:1");
        let said = pull_impatiently(&store, &name);
        assert!(said.status != 0 && said.stdout.is_empty(), "{answer:?}: {said:?}");
        assert!(!store.blob(&layer(&image).digest.to_string()).exists(), "{answer:?}");
        remote.proxy.set_script(Script::new());
        assert_eq!(pull(&store, &[&name]).status, 0, "{answer:?}");
        holds(&store, &image);
    }
}

#[test]
fn s19_a_whole_answer_to_a_range_is_not_appended() {
    let image = image_of(1, SIZE);
    let blob = || When::get(Kind::Blob).digest(layer(&image).digest);
    let script = Script::new()
        .rule(blob().once(), Fault::Truncate { after: 3_000_000 })
        .rule(blob().ranged(), Fault::IgnoresRange);
    let (store, remote) = (Store::empty(), Remote::scripted(script));
    let name = remote.push(&image, "app:1");
    assert_eq!(pull(&store, &[&name]).status, 0);
    let whole = |seen: &Seen| seen.range.is_some() && seen.status == Some(200);
    assert!(remote.proxy.requests().iter().any(whole), "no range was answered with the whole");
    holds(&store, &image);
}

#[test]
fn a_pull_goes_on_in_another_process() {
    let image = image_of(1, SIZE);
    let blob = || When::get(Kind::Blob).digest(layer(&image).digest);
    let script = Script::new()
        .rule(blob().once(), Fault::Truncate { after: 3_000_000 })
        .rule(blob().skip(1), Fault::CutBefore);
    let (store, remote) = (Store::empty(), Remote::scripted(script));
    let name = remote.push(&image, "app:1");
    assert_eq!(pull_impatiently(&store, &name).status, 3);
    remote.proxy.set_script(Script::new());
    assert_eq!(pull(&store, &[&name]).status, 0);
    assert_eq!(remote.fetched(layer(&image)), layer(&image).size);
    holds(&store, &image);
}

#[test]
fn a_layer_of_the_right_size_is_not_taken_for_the_right_one() {
    let image = image_of(1, SIZE);
    let wrong = When::get(Kind::Blob).digest(layer(&image).digest);
    let (store, remote) =
        (Store::empty(), Remote::scripted(Script::new().rule(wrong, Fault::Flip { at: 4_000_000 })));
    let name = remote.push(&image, "app:1");
    assert_eq!(pull(&store, &[&name]).status, 4);
    assert!(!store.blob(&layer(&image).digest.to_string()).exists());
    remote.proxy.set_script(Script::new());
    assert_eq!(pull(&store, &[&name]).status, 0);
    holds(&store, &image);
}

#[test]
fn a_layer_that_is_too_long_is_not_stored() {
    let image = image(1);
    let long = When::get(Kind::Blob).digest(layer(&image).digest);
    let (store, remote) =
        (Store::empty(), Remote::scripted(Script::new().rule(long, Fault::TooLong { extra: 7 })));
    let name = remote.push(&image, "app:1");
    assert_eq!(pull(&store, &[&name]).status, 4);
    assert!(!store.blob(&layer(&image).digest.to_string()).exists());
}

#[test]
fn layers_keep_their_order() {
    // The first is the last to arrive.
    let mut built = ImageBuilder::new().layer(Layer::random(1, SIZE));
    for seed in 2..30 {
        built = built.layer(Layer::random(seed, 1000 - usize::try_from(seed).unwrap()));
    }
    let image = built.build();
    let (store, remote) = (Store::empty(), Remote::start());
    let name = remote.push(&image, "app:1");
    assert_eq!(pull(&store, &[&name]).status, 0);
    assert_eq!(served(&store, &remote, "app", &image.root.digest), image.manifests[0].bytes);
}

#[test]
fn duplicate_layers_stay_duplicate() {
    let image = Hostile::DuplicateLayers.build();
    let (store, remote) = (Store::empty(), Remote::start());
    let name = remote.push(&image, "app:1");
    assert_eq!(pull(&store, &[&name]).status, 0);
    assert_eq!(served(&store, &remote, "app", &image.root.digest), image.manifests[0].bytes);
    assert_eq!(remote.fetched(layer(&image)), layer(&image).size);
}

#[test]
fn a_manifest_that_is_not_what_its_digest_says_is_not_stored() {
    let image = image(1);
    let script = Script::new().rule(When::get(Kind::Manifest), Fault::Flip { at: 30 });
    let (store, remote) = (Store::empty(), Remote::scripted(script));
    remote.push(&image, "app:1");
    let said = pull(&store, &[&format!("{}@{}", remote.name("app"), image.root.digest)]);
    assert_eq!((said.status, said.stdout.as_str()), (4, ""), "{said:?}");
    assert_eq!(store.json_of(&["images"]), json!([]));
}

#[test]
fn a_second_pull_fetches_nothing_and_lists_nothing_twice() {
    let (store, remote, image) = (Store::empty(), Remote::start(), image(1));
    let name = remote.push(&image, "app:1");
    assert_eq!(pull(&store, &[&name]).status, 0);
    let (listed, fetched) = (store.json_of(&["images"]), remote.proxy.downloaded_blobs());
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(pull(&store, &[&name]).status, 0);
    assert_eq!((store.json_of(&["images"]), remote.proxy.downloaded_blobs()), (listed, fetched));
}

#[test]
fn what_is_no_json_does_not_hide_the_status() {
    let script = Script::new().answer(When::get(Kind::Manifest), Canned::html(StatusCode::BAD_GATEWAY));
    let remote = Remote::scripted(script);
    let said = pull_impatiently(&Store::empty(), &remote.name("app:1"));
    assert_eq!(said.status, 3);
    assert!(said.stderr.contains("502"), "{said:?}");
    assert!(!said.stderr.contains('<'), "{said:?}");
}

#[test]
fn an_image_without_an_index_is_pulled() {
    let (store, remote, image) = (Store::empty(), Remote::start(), image(1));
    let name = remote.push(&image, "app:1");
    assert_eq!(pull(&store, &[&name]).status, 0);
    holds(&store, &image);
}

#[test]
fn a_variant_is_not_taken_for_another() {
    let of = |variant, seed| {
        ImageBuilder::new().platform("linux", "arm", Some(variant)).layer(Layer::random(seed, 3000)).build()
    };
    let (six, seven) = (of("v6", 1), of("v7", 2));
    // Whoever looks at the architecture alone takes the first.
    for index in [
        IndexBuilder::new().child(&six).child(&seven).build(),
        IndexBuilder::new().child(&seven).child(&six).build(),
    ] {
        for (platform, wanted, other) in [("linux/arm/v6", &six, &seven), ("linux/arm/v7", &seven, &six)] {
            let (store, remote) = (Store::empty(), Remote::start());
            let name = remote.push(&index, "app:1");
            assert_eq!(pull(&store, &["--platform", platform, &name]).status, 0);
            holds(&store, wanted);
            assert_eq!(remote.fetched(layer(other)), 0);
        }
    }
}

#[test]
fn library_is_for_docker_hub_only() {
    for (given, name) in
        [("alpine", "library/alpine"), ("docker.io/alpine", "library/alpine"), ("ghcr.io/app", "app")]
    {
        let reference: Reference = given.parse().unwrap();
        assert_eq!(reference.repository.name.to_string(), name);
    }
    let (store, remote) = (Store::empty(), Remote::start());
    let name = remote.push(&image(1), "app:1");
    assert_eq!(pull(&store, &[&name]).status, 0);
    assert!(remote.proxy.requests().iter().all(|seen| !seen.path.contains("library")));
}

#[test]
fn the_size_of_an_image_is_that_of_its_content() {
    let (store, remote, image) = (Store::empty(), Remote::start(), image_of(1, 70_000));
    let name = remote.push(&image, "app:1");
    assert_eq!(pull(&store, &[&name]).status, 0);
    let size = store.json_of(&["images"])[0]["size"].as_u64().unwrap();
    assert!(size >= image.blob_bytes(), "{size}");
    assert!(size <= image.blob_bytes() + image.root.size, "{size}");
}

#[test]
fn no_file_name_has_a_colon() {
    fn look(folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.file_name().unwrap().to_str().unwrap().contains(':'), "{}", path.display());
            if path.is_dir() {
                look(&path);
            }
        }
    }
    let (store, remote) = (Store::empty(), Remote::start());
    let name = remote.push(&image(1), "team/app:1");
    assert_eq!(pull(&store, &[&name]).status, 0);
    look(&store.data());
}

#[test]
fn s5_what_is_no_digest_leads_nowhere() {
    let (store, remote) = (Store::empty(), Remote::start());
    for digest in [
        "sha256:../../../etc/passwd",
        "sha256:abc",
        &format!("sha256:{}", "A".repeat(64)),
        "md5:0123",
        "sha256:",
    ] {
        let said = pull(&store, &[&format!("{}@{digest}", remote.name("app"))]);
        assert_eq!((said.status, said.stdout.as_str()), (2, ""), "{said:?}");
    }
    assert!(remote.proxy.requests().is_empty());
}

/// An image whose config tells of another number of layers than its manifest. Whoever pairs them up until one list ends loses the rest.
fn uneven(layers: usize) -> BuiltImage {
    let mut image = ImageBuilder::new().layer(Layer::random(1, 100)).layer(Layer::random(2, 100)).build();
    let mut document: serde_json::Value = serde_json::from_slice(&image.manifests[0].bytes).unwrap();
    let list = document["layers"].as_array_mut().unwrap();
    let last = list.last().cloned().unwrap();
    list.resize(layers, last);
    let bytes = document.to_string();
    let descriptor = &mut image.manifests[0].descriptor;
    (descriptor.digest, descriptor.size) = (Digest::sha256(bytes.as_bytes()), bytes.len() as u64);
    image.root = descriptor.clone();
    image.manifests[0].bytes = bytes.into();
    image
}

#[test]
fn layers_and_diff_ids_are_not_paired_up_where_their_numbers_differ() {
    for layers in [1, 3] {
        let (store, remote) = (Store::empty(), Remote::start());
        let name = remote.push(&uneven(layers), "app:1");
        let said = store.pier(&["inspect", &name]);
        assert_eq!((said.status, said.stdout.as_str()), (2, ""), "{said:?}");
        assert!(said.stderr.contains(&format!("it has 2 diff ids for {layers} layers")), "{said:?}");
    }
}

/// Some say `token`, some `access_token`, and few when it was issued; all of that at a registry that is not Docker Hub.
#[test]
fn a_token_that_says_nothing_of_itself_is_good_at_any_registry() {
    for manners in [mock::GHCR, mock::NVCR, mock::HARBOR, mock::QUAY] {
        let (store, registry) = (Store::empty(), wait(mock::Registry::start(manners)).unwrap());
        let image = image(1);
        wait(registry.push(&image, "team/app:1")).unwrap();
        assert_eq!(pull(&store, &[&registry.image_ref("team/app:1")]).status, 0, "{}", manners.name);
        holds(&store, &image);
        assert!(registry.count(mock::Place::TokenServer) > 0, "{}", manners.name);
        assert_eq!(registry.violations(), [], "{}", manners.name);
    }
}

/// What is not whole yet has another name than what is, so that nobody takes it for the layer; power loss is `store/tests/hostile_disk`.
#[test]
fn s18_a_layer_on_its_way_does_not_have_its_name() {
    let image = image_of(1, SIZE);
    let when = When::get(Kind::Blob).digest(layer(&image).digest);
    let (store, remote) =
        (Store::empty(), Remote::scripted(Script::new().rule(when, Fault::Stall { after: 4_000_000 })));
    let name = remote.push(&image, "app:1");
    let mut child = command(&["pull", "--progress", "none", &name])
        .env("PIER_DATA", store.data())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let digest = layer(&image).digest;
    let arrived =
        |seen: &[Seen]| seen.iter().any(|seen| seen.digest == Some(digest) && seen.downloaded >= 4_000_000);
    wait(remote.proxy.wait_for(arrived)).unwrap();
    assert!(!store.blob(&digest.to_string()).exists());
    remote.proxy.release();
    assert!(child.wait().unwrap().success());
    holds(&store, &image);
}

#[test]
fn the_size_of_an_index_is_that_of_what_is_here_and_not_of_its_attestations() {
    let (store, remote, multi) = (Store::empty(), Remote::start(), Multi::new());
    let name = remote.push(&multi.index, "app:1");
    assert_eq!(pull(&store, &[&name]).status, 0);
    let size = store.json_of(&["images"])[0]["size"].as_u64().unwrap();
    let here = multi.here.blob_bytes() + multi.here.root.size;
    assert!(size >= multi.here.blob_bytes(), "{size}");
    assert!(size <= here + multi.index.root.size, "{size} of {here}");
}
