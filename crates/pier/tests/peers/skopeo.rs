//! What the tests ask of skopeo.

use std::fs;

use pier_testkit::engine::Skopeo;

use crate::Blobs;
use crate::image::{digest, verified_files};

/// From a layout to a registry, as it is. Left alone, skopeo compresses layers that are plain tars, and so makes another image.
#[track_caller]
pub(crate) fn push(skopeo: &Skopeo, source: &str, reference: &str) {
    skopeo
        .run(&[
            "copy",
            "--preserve-digests",
            "--dest-tls-verify=false",
            source,
            &format!("docker://{reference}"),
        ])
        .unwrap();
}

/// Everything that an index names, with no more than the one option that people use for it.
#[track_caller]
pub(crate) fn copy_all(skopeo: &Skopeo, source: &str, destination: &str) {
    skopeo
        .run(&["copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", source, destination])
        .unwrap();
}

/// Everything of one image, hashed here: the manifest has this digest, and each blob its own.
#[track_caller]
pub(crate) fn pull(skopeo: &Skopeo, reference: &str, manifest: &str) -> Blobs {
    let folder = tempfile::tempdir().unwrap();
    let destination = format!("dir:{}", folder.path().display());
    skopeo.run(&["copy", "--src-tls-verify=false", &format!("docker://{reference}"), &destination]).unwrap();
    let bytes = fs::read(folder.path().join("manifest.json")).unwrap();
    assert_eq!(digest(&bytes), manifest);
    let mut blobs = verified_files(folder.path());
    blobs.insert(manifest.to_owned(), bytes.len() as u64);
    blobs
}
