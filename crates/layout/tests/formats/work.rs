//! What the tests share: images, copies between places, and our own judge of what a folder holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pier_content::{
    Copied, CopyOptions, Error, Memory, Progress, Result, Source, StoreSource, StoreTarget, Target, copy,
};
use pier_layout::{ArchiveInput, ArchiveOutput, DockerArchive, OciArchive, Spool};
use pier_oci::{Digest, Reference, Repository, Tag};
use pier_testkit::image::{BuiltImage, ImageBuilder, IndexBuilder, Layer, Packing, Tree};
use serde_json::Value;
use std::sync::Arc;
use tempfile::TempDir;

/// An image of two layers, one packed and one not.
pub(crate) fn image(name: &str) -> BuiltImage {
    ImageBuilder::new()
        .layer(Tree::new().file("base", "the same in all").pack(Packing::Tar))
        .layer(Tree::new().file("name", name.to_owned()).pack(Packing::Gzip))
        .command(&["/name"])
        .build()
}

/// An index of two platforms and an attestation.
pub(crate) fn flat() -> BuiltImage {
    let of = |architecture: &str| {
        let layer = Tree::new().file("etc/arch", architecture.to_owned()).pack(Packing::Gzip);
        ImageBuilder::new().platform("linux", architecture, None).layer(layer).build()
    };
    let (amd64, arm64) = (of("amd64"), of("arm64"));
    IndexBuilder::new().child(&amd64).child(&arm64).attestation(&amd64).build()
}

/// The same in a further index.
pub(crate) fn nested() -> BuiltImage {
    IndexBuilder::new().child(&flat()).build()
}

/// An image with a layer of so many bytes.
pub(crate) fn large(seed: u64, bytes: usize) -> BuiltImage {
    ImageBuilder::new().layer(Layer::random(seed, bytes)).build()
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

pub(crate) fn repository() -> Repository {
    reference("registry.example/team/app").repository
}

/// A layout on disk that the testkit wrote.
pub(crate) fn written(image: &BuiltImage, name: &str) -> TempDir {
    let folder = folder();
    image.write_oci_layout(folder.path(), name).unwrap();
    folder
}

pub(crate) fn input(path: &Path) -> ArchiveInput {
    ArchiveInput::File(path.to_owned())
}

pub(crate) fn output(path: &Path) -> ArchiveOutput {
    ArchiveOutput::File(path.to_owned())
}

pub(crate) fn spool() -> Spool {
    Spool::in_folder(std::env::temp_dir())
}

pub(crate) async fn oci_archive(path: &Path) -> Result<OciArchive> {
    OciArchive::read(input(path), spool()).await
}

pub(crate) async fn docker_archive(path: &Path) -> Result<DockerArchive> {
    DockerArchive::read(input(path), spool()).await
}

/// Copies everything that a reference names, under tags of [`repository`].
pub(crate) async fn copied(
    source: &dyn Source,
    reference: &Reference,
    target: &dyn Target,
    tags: &[&str],
) -> Result<Copied> {
    copied_as(source, reference, target, &repository(), tags).await
}

/// The same under tags of a repository.
pub(crate) async fn copied_as(
    source: &dyn Source,
    reference: &Reference,
    target: &dyn Target,
    repository: &Repository,
    tags: &[&str],
) -> Result<Copied> {
    let tags: Vec<Tag> = tags.iter().map(|text| tag(text)).collect();
    copy(source, reference, target, repository, &tags, &CopyOptions::default(), &Progress::default()).await
}

/// An image in a store in memory, and the reference to it there.
pub(crate) async fn stored(image: &BuiltImage) -> (StoreSource, Reference) {
    let (source, target) = store();
    let folder = written(image, "it");
    let layout = pier_layout::OciLayout::open(folder.path()).await.unwrap();
    let from = layout.reference(Some("it")).await.unwrap();
    copied(&layout, &from, &target, &["it"]).await.unwrap();
    let reference = Reference { repository: repository(), tag: Some(tag("it")), digest: None };
    (source, reference)
}

/// An empty store in memory, as both.
pub(crate) fn store() -> (StoreSource, StoreTarget) {
    let memory = Arc::new(Memory::default());
    let source = StoreSource { blobs: memory.clone(), catalog: memory.clone() };
    (source, StoreTarget { blobs: memory.clone(), catalog: memory })
}

/// Digests and sizes of the blobs in a layout; one that is not what it is called fails the test.
#[track_caller]
pub(crate) fn verified_blobs(layout: &Path) -> BTreeMap<Digest, u64> {
    let mut found = BTreeMap::new();
    for algorithm in fs::read_dir(layout.join("blobs")).unwrap().map(|entry| entry.unwrap()) {
        for file in fs::read_dir(algorithm.path()).unwrap().map(|entry| entry.unwrap()) {
            let called = format!("{}:{}", algorithm.file_name().display(), file.file_name().display());
            let called: Digest = called.parse().unwrap();
            let bytes = fs::read(file.path()).unwrap();
            assert_eq!(Digest::of(called.algorithm(), &bytes), called);
            found.insert(called, bytes.len() as u64);
        }
    }
    found
}

/// Digests and sizes of all that an image has.
pub(crate) fn all_of(image: &BuiltImage) -> BTreeMap<Digest, u64> {
    let blobs = image.blobs.iter().map(|blob| &blob.descriptor);
    let manifests = image.manifests.iter().map(|manifest| &manifest.descriptor);
    blobs.chain(manifests).map(|descriptor| (descriptor.digest, descriptor.size)).collect()
}

pub(crate) fn index_of(layout: &Path) -> Value {
    serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap()
}

/// The names of a layout's files, but for its blobs.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The reason of an [`Error::Invalid`].
#[track_caller]
pub(crate) fn reason<T: std::fmt::Debug>(outcome: Result<T>) -> String {
    match outcome {
        Err(Error::Invalid { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}
