//! Real engines against a real registry: what one of them pushes, the others pull, byte for byte, and run.
//!
//! Every test starts the peers that it needs and no more, on sockets and ports of their own, so that they run side by side. A machine that
//! lacks a peer skips, loudly; CI does not let it.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

mod containerd;
mod docker;
mod image;
mod nginx;
mod registry;
mod secured;
mod skopeo;

use std::collections::BTreeMap;

use pier_testkit::engine::{Containerd, Dockerd, Skopeo, static_busybox};
use pier_testkit::image::{GREETING, ImageBuilder, IndexBuilder, Layer, Packing, busybox, busybox_for};
use pier_testkit::skip::or_skip;

use crate::image::Layout;
use crate::registry::Registry;

/// Pushed under this repository and digest, every peer gives back the same bytes and prints the image's greeting.
#[track_caller]
fn all_pull_and_run(registry: &Registry, repository: &str, digest: &str, peers: &Peers) {
    let reference = registry.reference(&format!("{repository}@{digest}"));
    let blobs = skopeo::pull(&peers.skopeo, &reference, digest);
    assert_eq!(containerd::pull(&peers.containerd, &reference, digest), blobs);
    docker::pull(&peers.docker, &reference, digest);
    assert_eq!(containerd::run(&peers.containerd, &reference), GREETING);
    assert_eq!(docker::run(&peers.docker, &reference), GREETING);
}

struct Peers {
    skopeo: Skopeo,
    docker: Dockerd,
    containerd: Containerd,
}

impl Peers {
    fn start() -> Option<Self> {
        Some(Self {
            skopeo: or_skip(Skopeo::find())?,
            docker: or_skip(Dockerd::start())?,
            containerd: or_skip(Containerd::start())?,
        })
    }
}

#[test]
fn what_skopeo_pushes_all_pull_and_run() {
    let (Some(peers), Some(image)) = (Peers::start(), or_skip(busybox())) else {
        return;
    };
    let registry = Registry::start();
    let layout = Layout::of(&image, "busybox");
    let digest = image.root.digest.to_string();
    skopeo::push(&peers.skopeo, &layout.source("busybox"), &registry.reference("from/skopeo:1"));
    all_pull_and_run(&registry, "from/skopeo", &digest, &peers);
}

#[test]
fn what_containerd_pushes_all_pull_and_run() {
    let (Some(peers), Some(image)) = (Peers::start(), or_skip(busybox())) else {
        return;
    };
    let registry = Registry::start();
    let reference = registry.reference("from/containerd:1");
    let layout = Layout::of(&image, &reference);
    let digest = image.root.digest.to_string();
    containerd::push(&peers.containerd, &layout, &reference);
    all_pull_and_run(&registry, "from/containerd", &digest, &peers);
}

#[test]
fn what_docker_builds_and_pushes_all_pull_and_run() {
    let (Some(peers), Some(busybox)) = (Peers::start(), or_skip(static_busybox())) else {
        return;
    };
    let registry = Registry::start();
    let reference = registry.reference("from/docker:1");
    docker::build(&peers.docker, &busybox, &reference);
    let digest = docker::push(&peers.docker, &reference);
    // Nothing of the image is left: the pull below has to bring every layer back from the registry.
    peers.docker.docker(&["image", "rm", "--force", &reference]).unwrap();
    peers.docker.docker(&["system", "prune", "--all", "--force"]).unwrap();
    assert_eq!(peers.docker.docker(&["images", "--all", "--quiet"]).unwrap().stdout, b"");
    all_pull_and_run(&registry, "from/docker", &digest, &peers);
}

#[test]
fn a_folder_of_test_images_is_served_to_all_as_it_is() {
    let (Some(peers), Some(image)) = (Peers::start(), or_skip(busybox())) else {
        return;
    };
    let layout = Layout::of(&image, "busybox");
    let registry = Registry::over_testdata(&layout.source("busybox"), "test/busybox:1");
    all_pull_and_run(&registry, "test/busybox", &image.root.digest.to_string(), &peers);
}

#[test]
fn an_index_comes_back_whole() {
    let (Some(skopeo), Some(amd64), Some(arm64)) =
        (or_skip(Skopeo::find()), or_skip(busybox()), or_skip(busybox_for("arm64")))
    else {
        return;
    };
    let registry = Registry::start();
    let index = IndexBuilder::new().child(&amd64).child(&arm64).attestation(&amd64).build();
    let layout = Layout::of(&index, "all");
    let there = format!("docker://{}", registry.reference("whole/index:1"));
    skopeo::copy_all(&skopeo, &layout.source("all"), &there);

    let back = Layout::new();
    skopeo::copy_all(&skopeo, &there, &back.source("all"));
    assert_eq!(back.named("all"), index.root.digest.to_string());
    assert_eq!(back.verified_blobs(), layout.verified_blobs());
    // The index, two manifests with a configuration each over one layer, and an attestation of three.
    assert_eq!(back.verified_blobs().len(), 9);
}

#[test]
fn an_image_of_several_hundred_megabytes_comes_back() {
    let (Some(skopeo), Some(containerd)) = (or_skip(Skopeo::find()), or_skip(Containerd::start())) else {
        return;
    };
    let registry = Registry::start();
    let layer = |folder: &str, bytes, packing| Layer::from_folder(folder.as_ref(), bytes, packing).unwrap();
    let image = ImageBuilder::new()
        .layer(layer("/usr/lib", 200 << 20, Packing::Tar))
        .layer(layer("/usr/share", 150 << 20, Packing::Gzip))
        .build();
    let digest = image.root.digest.to_string();
    let layout = Layout::of(&image, "large");
    let pushed = layout.verified_blobs();
    let packed: u64 = pushed.values().sum();
    assert!(packed > 200 << 20, "this machine's folders make an image of only {packed} bytes");

    skopeo::push(&skopeo, &layout.source("large"), &registry.reference("large/image:1"));
    let reference = registry.reference(&format!("large/image@{digest}"));
    assert_eq!(skopeo::pull(&skopeo, &reference, &digest), pushed);
    assert_eq!(containerd::pull(&containerd, &reference, &digest), pushed);
    let again = registry.reference("large/again:1");
    containerd.ctr(&["images", "push", "--plain-http", &again, &reference]).unwrap();
    assert_eq!(skopeo::pull(&skopeo, &again, &digest), pushed);
}

/// Digests and sizes of what was given back, each hashed by the test itself.
type Blobs = BTreeMap<String, u64>;
