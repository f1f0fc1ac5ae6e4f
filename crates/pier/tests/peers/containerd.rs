//! What the tests ask of containerd.

use std::process::Command;

use pier_testkit::engine::Containerd;
use serde_json::Value;

use crate::Blobs;
use crate::image::{Layout, digest};

/// Imports a layout whose one name is the reference, and pushes it.
#[track_caller]
pub(crate) fn push(containerd: &Containerd, layout: &Layout, reference: &str) {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("image.tar");
    let packed = Command::new("tar")
        .arg("--create")
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(layout.path())
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
    containerd.ctr(&["images", "import", archive.to_str().unwrap()]).unwrap();
    containerd.ctr(&["images", "push", "--plain-http", reference]).unwrap();
}

/// Everything of one image as containerd's store holds it, hashed here.
#[track_caller]
pub(crate) fn pull(containerd: &Containerd, reference: &str, manifest: &str) -> Blobs {
    containerd.ctr(&["images", "pull", "--plain-http", reference]).unwrap();
    let read = |name: &str| {
        let bytes = containerd.ctr(&["content", "get", name]).unwrap().stdout;
        assert_eq!(digest(&bytes), name);
        bytes
    };
    let bytes = read(manifest);
    let parsed: Value = serde_json::from_slice(&bytes).unwrap();
    let parts = std::iter::once(&parsed["config"]).chain(parsed["layers"].as_array().unwrap());
    let names = parts.map(|part| part["digest"].as_str().unwrap().to_owned());
    let mut blobs: Blobs =
        names.map(|name| (read(&name).len() as u64, name)).map(|(size, name)| (name, size)).collect();
    blobs.insert(manifest.to_owned(), bytes.len() as u64);
    blobs
}

/// What the image prints.
#[track_caller]
pub(crate) fn run(containerd: &Containerd, reference: &str) -> String {
    String::from_utf8(containerd.ctr(&["run", "--rm", reference, "greeting"]).unwrap().stdout).unwrap()
}
