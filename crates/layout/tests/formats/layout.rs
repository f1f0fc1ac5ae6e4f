//! A folder in the OCI image layout: what is read from it, and what writing to it does and leaves alone.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use pier_content::{
    ByteRange, Completeness, CopyOptions, Error, Event, Opened, Origin, Platforms, Progress, Result, Source,
    Subject, Target, copy,
};
use pier_layout::OciLayout;
use pier_oci::{Descriptor, Digest, Manifest, MediaType, Platform, Reference, Repository, Selector};
use pier_testkit::image::layer::random;
use pier_testkit::image::{BuiltImage, ImageBuilder};
use pier_testkit::skip::or_skip;
use pier_testkit::small_disk::SmallDisk;
use serde_json::{Value, json};

use crate::work::{
    all_of, copied, flat, folder, image, index_of, large, names_in, nested, reason, reference, repository,
    stored, tag, verified_blobs, written,
};

async fn open(path: &Path) -> OciLayout {
    OciLayout::open(path).await.unwrap()
}

/// Writes an index of these entries over a layout's own.
fn list(path: &Path, entries: &Value) {
    let index = json!({ "schemaVersion": 2, "manifests": entries });
    fs::write(path.join("index.json"), index.to_string()).unwrap();
}

fn entry(image: &BuiltImage, annotations: &Value) -> Value {
    let root = &image.root;
    json!({ "mediaType": root.media_type, "digest": root.digest, "size": root.size, "annotations": annotations })
}

/// A layout with several images, listed as `entries` says.
fn layout_of(images: &[&BuiltImage], entries: &Value) -> tempfile::TempDir {
    let folder = folder();
    for image in images {
        image.write_oci_layout(folder.path(), "x").unwrap();
    }
    list(folder.path(), entries);
    folder
}

fn place(layout: &Path, digest: &Digest) -> std::path::PathBuf {
    layout.join("blobs").join(digest.algorithm().as_str()).join(digest.hex())
}

#[tokio::test]
async fn what_is_copied_in_comes_out_again_byte_for_byte() {
    for image in
        [image("a"), flat(), nested(), ImageBuilder::new().algorithm(pier_oci::Algorithm::Sha512).build()]
    {
        let (source, from) = stored(&image).await;
        let there = folder();
        let layout = OciLayout::create(there.path()).await.unwrap();
        copied(&source, &from, &layout, &["v1"]).await.unwrap();
        assert_eq!(verified_blobs(there.path()), all_of(&image));
        assert_eq!(names_in(there.path()), ["blobs", "index.json", "oci-layout"]);
        let reopened = open(there.path()).await;
        let reference = reopened.reference(Some("v1")).await.unwrap();
        assert_eq!(reference.digest, Some(image.root.digest));
        let back = folder();
        copied(&reopened, &reference, &OciLayout::create(back.path()).await.unwrap(), &["v1"]).await.unwrap();
        assert_eq!(verified_blobs(back.path()), all_of(&image));
        assert_eq!(index_of(back.path()), index_of(there.path()));
    }
}

#[tokio::test]
async fn one_platform_of_an_index_is_copied_without_the_others() {
    let image = flat();
    let (source, from) = stored(&image).await;
    let there = folder();
    let layout = OciLayout::create(there.path()).await.unwrap();
    let options = CopyOptions {
        platforms: Platforms::One(Platform::new("linux", "arm64", None)),
        ..CopyOptions::default()
    };
    let copied = copy(&source, &from, &layout, &repository(), &[tag("v1")], &options, &Progress::default())
        .await
        .unwrap();
    assert_eq!(copied.completeness, Completeness::Sparse);
    assert_eq!(copied.root.digest, image.root.digest);
    // The index, one manifest, its config and its layer.
    assert_eq!(verified_blobs(there.path()).len(), 4);
}

#[tokio::test]
async fn finds_images_by_tag_by_whole_name_and_by_digest() {
    let (one, two) = (image("one"), image("two"));
    let ctr = |image, name: &str| {
        let tag = name.rsplit(':').next();
        entry(image, &json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag }))
    };
    let entries = json!([
        ctr(&one, "docker.io/library/one:latest"),
        ctr(&two, "quay.io/team/two:latest"),
        entry(&two, &json!({ "org.opencontainers.image.ref.name": "3.22" })),
        entry(&one, &json!({ "org.opencontainers.image.ref.name": "docker.io/other/one:stable" })),
    ]);
    let there = layout_of(&[&one, &two], &entries);
    let layout = open(there.path()).await;
    for (name, image) in [
        ("docker.io/library/one:latest", &one),
        ("one:latest", &one),
        ("one", &one),
        ("quay.io/team/two", &two),
        ("3.22", &two),
        ("stable", &one),
        (&one.root.digest.to_string(), &one),
        (&format!("@{}", two.root.digest), &two),
        (&format!("anything@{}", two.root.digest), &two),
    ] {
        let found = layout.reference(Some(name)).await.unwrap();
        assert_eq!(found.digest, Some(image.root.digest), "{name}");
    }
    let resolved = layout.resolve(&reference("quay.io/team/two:latest")).await.unwrap();
    assert_eq!(resolved, Descriptor::new(MediaType::OCI_MANIFEST, two.root.digest, two.root.size));

    let Err(Error::Ambiguous { place, available }) = layout.reference(Some("latest")).await else { panic!() };
    assert_eq!(place, there.path());
    assert_eq!(available, ["3.22", "docker.io/library/one:latest", "quay.io/team/two:latest"][1..]);
    let error = layout.reference(Some("4")).await.unwrap_err();
    assert_eq!(
        (error.code(), error.hint().as_deref()),
        ("no-such-image", Some("name one of these behind the path"))
    );
    assert_eq!(
        error.to_string(),
        format!(
            "`{}` has no image `4`, there is `3.22`, `docker.io/library/one:latest`, `docker.io/other/one:stable`, \
             `quay.io/team/two:latest`",
            there.path().display()
        )
    );
}

#[tokio::test]
async fn the_one_image_needs_no_name() {
    let (one, two) = (image("one"), image("two"));
    let signature = ImageBuilder::new().artifact_type("application/vnd.example").subject(&one.root).build();
    let nameless = json!({});
    let check = |entries: Value| {
        let there = layout_of(&[&one, &two, &signature], &entries);
        async move { open(there.path()).await.reference(None).await }
    };
    let only = check(json!([entry(&one, &nameless)])).await.unwrap();
    assert_eq!(only.digest, Some(one.root.digest));
    let twice = json!({ "org.opencontainers.image.ref.name": "a" });
    assert_eq!(check(json!([entry(&one, &nameless), entry(&one, &twice)])).await.unwrap(), only);
    assert_eq!(check(json!([entry(&signature, &nameless), entry(&one, &nameless)])).await.unwrap(), only);

    let Err(Error::Ambiguous { available, .. }) =
        check(json!([entry(&one, &twice), entry(&two, &nameless)])).await
    else {
        panic!()
    };
    assert_eq!(available, [format!("@{}", two.root.digest), "a".to_owned()]);
    let Err(Error::NoSuchImage { available, .. }) = check(json!([])).await else { panic!() };
    assert_eq!(available, [""; 0]);
}

#[tokio::test]
async fn children_that_are_not_listed_are_found_by_digest() {
    let image = nested();
    let there = written(&image, "v1");
    let layout = open(there.path()).await;
    for manifest in &image.manifests {
        let selector = Selector::Digest(manifest.descriptor.digest);
        let found = layout.manifest(&repository(), &selector, 1 << 20).await.unwrap();
        assert_eq!(found.bytes(), &manifest.bytes);
        let reference =
            Reference { repository: repository(), tag: None, digest: Some(manifest.descriptor.digest) };
        assert_eq!(layout.resolve(&reference).await.unwrap(), found.descriptor());
    }
    let absent = Digest::sha256(b"absent");
    let error = layout.manifest(&repository(), &Selector::Digest(absent), 1 << 20).await.unwrap_err();
    let Error::NotFound { subject } = error else { panic!("{error}") };
    assert_eq!(subject, Subject::BlobIn(there.path().to_owned(), absent));
}

#[tokio::test]
async fn a_new_tag_keeps_all_else_in_the_index() {
    let (old, new) = (image("old"), image("new"));
    let there = written(&old, "v1");
    let mut index = index_of(there.path());
    index["annotations"] = json!({ "of": "another tool" });
    index["unknown"] = json!([1, { "a": null }]);
    index["manifests"][0]["unknown"] = json!("kept");
    let other = json!({ "mediaType": "application/vnd.example", "digest": Digest::sha256(b"x"), "size": 1 });
    index["manifests"].as_array_mut().unwrap().push(other);
    fs::write(there.path().join("index.json"), index.to_string()).unwrap();

    let (source, from) = stored(&new).await;
    let layout = open(there.path()).await;
    copied(&source, &from, &layout, &["v2"]).await.unwrap();
    let mut expected = index.clone();
    let added = json!({
        "mediaType": MediaType::OCI_MANIFEST, "digest": new.root.digest, "size": new.root.size,
        "annotations": { "org.opencontainers.image.ref.name": "v2" },
    });
    expected["manifests"].as_array_mut().unwrap().push(added.clone());
    assert_eq!(index_of(there.path()), expected);

    // The same tag again changes nothing, whatever others have added; another image under it takes its place.
    let mut noted = expected.clone();
    noted["manifests"][2]["annotations"]["added"] = json!("by another tool");
    fs::write(there.path().join("index.json"), noted.to_string()).unwrap();
    copied(&source, &from, &layout, &["v2"]).await.unwrap();
    assert_eq!(index_of(there.path()), noted);
    let (source, from) = stored(&image("newer")).await;
    copied(&source, &from, &layout, &["v2"]).await.unwrap();
    let digest = from_digest(&source, &from).await;
    expected["manifests"][2]["digest"] = json!(digest);
    expected["manifests"][2]["size"] = index_of(there.path())["manifests"][2]["size"].clone();
    assert_eq!(index_of(there.path()), expected);
}

async fn from_digest(source: &dyn Source, reference: &Reference) -> Digest {
    source.resolve(reference).await.unwrap().digest
}

#[tokio::test]
async fn an_entry_without_a_name_is_given_one() {
    let image = image("a");
    let there = layout_of(&[&image], &json!([entry(&image, &json!({ "kept": "yes" }))]));
    let layout = open(there.path()).await;
    let (source, from) = stored(&image).await;
    copied(&source, &from, &layout, &["a", "b"]).await.unwrap();
    let entries = index_of(there.path())["manifests"].clone();
    let name = |tag: &str| json!({ "kept": "yes", "org.opencontainers.image.ref.name": tag });
    assert_eq!(entries, json!([entry(&image, &name("a")), entry(&image, &name("b"))]));
}

#[tokio::test]
async fn a_tag_that_several_names_share_is_not_moved() {
    let (one, two) = (image("one"), image("two"));
    let ctr = |image, name: &str| {
        entry(image, &json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": "1" }))
    };
    let there = layout_of(&[&one, &two], &json!([ctr(&one, "a.example/x:1"), ctr(&two, "b.example/y:1")]));
    let before = index_of(there.path());
    let (source, from) = stored(&image("three")).await;
    let error = copied(&source, &from, &open(there.path()).await, &["1"]).await.unwrap_err();
    let Error::Ambiguous { available, .. } = error else { panic!("{error}") };
    assert_eq!(available, ["a.example/x:1", "b.example/y:1"]);
    assert_eq!(index_of(there.path()), before);
}

#[tokio::test]
async fn what_comes_without_a_tag_is_stored_and_listed_on_demand() {
    let image = image("a");
    let (source, from) = stored(&image).await;
    let there = folder();
    let layout = OciLayout::create(there.path()).await.unwrap();
    let copied = copied(&source, &from, &layout, &[]).await.unwrap();
    assert_eq!(layout.entries().await.unwrap(), []);
    layout.list(&copied.root).await.unwrap();
    layout.list(&copied.root).await.unwrap();
    let entries = layout.entries().await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].names.len(), &entries[0].descriptor), (0, &copied.root));
    assert_eq!(layout.reference(None).await.unwrap().digest, Some(image.root.digest));
}

#[tokio::test]
async fn referrers_are_listed_and_found() {
    let image = image("a");
    let signature = ImageBuilder::new().artifact_type("application/vnd.example").subject(&image.root).build();
    let there = folder();
    let layout = OciLayout::create(there.path()).await.unwrap();
    for (built, tags) in [(&image, &["v1"][..]), (&signature, &[][..])] {
        let (source, from) = stored(built).await;
        copied(&source, &from, &layout, tags).await.unwrap();
    }
    let found = layout.referrers(&repository(), &image.root.digest).await.unwrap();
    let expected = Manifest::parse(signature.manifests[0].bytes.clone(), None).unwrap().referrer_descriptor();
    assert_eq!(found, [expected]);
    assert_eq!(found[0].artifact_type.as_deref(), Some("application/vnd.example"));
    assert_eq!(layout.referrers(&repository(), &signature.root.digest).await.unwrap(), []);
    // Its referrer does not stand in the way of the one image.
    assert_eq!(layout.reference(None).await.unwrap().digest, Some(image.root.digest));
}

#[tokio::test]
async fn referrers_of_the_tag_schema_are_found() {
    let image = image("a");
    let about = Descriptor::new(MediaType::OCI_MANIFEST, Digest::sha256(b"about"), 5);
    let fallback = pier_testkit::image::IndexBuilder::new().absent(about.clone()).build();
    let schema = format!("sha256-{}", image.root.digest.hex());
    let entries = json!([
        entry(&image, &json!({ "org.opencontainers.image.ref.name": "v1" })),
        entry(&fallback, &json!({ "org.opencontainers.image.ref.name": schema })),
    ]);
    let there = layout_of(&[&image, &fallback], &entries);
    let layout = open(there.path()).await;
    assert_eq!(layout.referrers(&repository(), &image.root.digest).await.unwrap(), [about]);
    // They do not stand in the way of the one image.
    assert_eq!(layout.reference(None).await.unwrap().digest, Some(image.root.digest));
}

#[tokio::test]
async fn a_wrong_blob_does_not_count_and_is_replaced() {
    let image = image("a");
    let layer = &image.blobs[1].descriptor;
    for wrong in [b"short".to_vec(), vec![0; usize::try_from(layer.size).unwrap()], Vec::new()] {
        let there = written(&image, "v1");
        fs::write(place(there.path(), &layer.digest), &wrong).unwrap();
        let layout = open(there.path()).await;
        assert!(!layout.has(&repository(), layer).await.unwrap());
        assert!(!layout.has(&repository(), &image.root).await.unwrap(), "its manifest does not count either");
        let (source, from) = stored(&image).await;
        copied(&source, &from, &layout, &["v1"]).await.unwrap();
        assert_eq!(verified_blobs(there.path()), all_of(&image));
        assert!(layout.has(&repository(), &image.root).await.unwrap());
        // It is looked at again once it changes.
        fs::write(place(there.path(), &layer.digest), &wrong).unwrap();
        assert!(!layout.has(&repository(), layer).await.unwrap());
    }
}

#[tokio::test]
async fn a_wrong_blob_is_an_integrity_error_to_who_reads_it() {
    let image = image("a");
    let there = written(&image, "v1");
    let layer = &image.blobs[1].descriptor;
    fs::write(place(there.path(), &layer.digest), vec![0; usize::try_from(layer.size).unwrap()]).unwrap();
    let layout = open(there.path()).await;
    let back = folder();
    let target = OciLayout::create(back.path()).await.unwrap();
    let error = copied(&layout, &layout.reference(None).await.unwrap(), &target, &["v1"]).await.unwrap_err();
    let Error::Integrity { expected, origin, .. } = error else { panic!("{error}") };
    assert_eq!((expected, origin), (layer.digest, Some(layout_name(&there))));
    assert_eq!(target.entries().await.unwrap(), []);
    assert!(!place(back.path(), &layer.digest).exists());

    fs::write(place(there.path(), &image.root.digest), "{}").unwrap();
    let error = layout.manifest(&repository(), &Selector::Tag(tag("v1")), 1 << 20).await.unwrap_err();
    assert!(matches!(error, Error::Integrity { expected, .. } if expected == image.root.digest), "{error}");
}

fn layout_name(there: &tempfile::TempDir) -> String {
    format!("oci:{}", there.path().display())
}

#[tokio::test]
async fn a_manifest_without_its_children_is_refused_unless_sparse() {
    let image = image("a");
    let there = folder();
    let layout = OciLayout::create(there.path()).await.unwrap();
    let manifest = image.manifests[0].parse().unwrap();
    let put = |completeness| layout.put_manifest_of(&manifest, completeness);
    let error = put(Completeness::Strict).await.unwrap_err();
    let Error::Missing { digests, .. } = error else { panic!("{error}") };
    let children: Vec<Digest> = image.blobs.iter().map(|blob| blob.descriptor.digest).collect();
    assert_eq!(digests, children);
    assert_eq!(layout.entries().await.unwrap(), []);
    put(Completeness::Sparse).await.unwrap();
    assert_eq!(layout.entries().await.unwrap()[0].names, ["v1"]);
}

/// Puts a manifest under one tag.
trait Put {
    async fn put_manifest_of(&self, manifest: &Manifest, completeness: Completeness) -> Result<()>;
}

impl Put for OciLayout {
    async fn put_manifest_of(&self, manifest: &Manifest, completeness: Completeness) -> Result<()> {
        self.put_manifest(&repository(), manifest, &[tag("v1")], completeness).await
    }
}

/// Gives so many bytes of some content and then breaks; counts what it gave.
#[derive(Debug)]
struct Breaking {
    content: Bytes,
    /// Where each opening ends.
    ends: Mutex<Vec<u64>>,
    given: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Breaking {
    fn new(content: Bytes, ends: &[u64]) -> Self {
        Self { content, ends: Mutex::new(ends.iter().rev().copied().collect()), given: Arc::default() }
    }
}

#[async_trait]
impl Source for Breaking {
    fn name(&self) -> String {
        "a source that breaks".to_owned()
    }

    async fn resolve(&self, _: &Reference) -> Result<Descriptor> {
        Err(Error::Unsupported { what: "names" })
    }

    async fn manifest(&self, _: &Repository, _: &Selector, _: u64) -> Result<Manifest> {
        Err(Error::Unsupported { what: "manifests" })
    }

    async fn open(&self, _: &Repository, _: &Descriptor, range: ByteRange) -> Result<Opened> {
        let whole = self.content.len() as u64;
        let end = self.ends.lock().unwrap().pop().unwrap_or(whole).min(whole);
        self.given.lock().unwrap().push((range.start, end));
        let bytes = self.content.slice(usize::try_from(range.start).unwrap()..usize::try_from(end).unwrap());
        Ok(Opened { start: range.start, size: None, stream: stream::iter([Ok(bytes)]).boxed() })
    }

    async fn referrers(&self, _: &Repository, _: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }
}

async fn upload(layout: &OciLayout, source: &Breaking, descriptor: &Descriptor) -> Result<()> {
    let repository = repository();
    let origin = Origin { source, repository: &repository };
    layout.upload(&repository, descriptor, origin, &Progress::default()).await
}

fn blob(content: &Bytes) -> Descriptor {
    Descriptor::new(MediaType::OCI_LAYER, Digest::sha256(content), content.len() as u64)
}

#[tokio::test]
async fn a_broken_copy_is_continued_where_it_stopped() {
    let content = random(7, 3 << 20);
    let wanted = blob(&content);
    let there = folder();
    let source = Breaking::new(content, &[1_000_000]);
    let error = upload(&OciLayout::create(there.path()).await.unwrap(), &source, &wanted).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(!place(there.path(), &wanted.digest).exists());
    assert_eq!(names_in(&there.path().join(".pier")), [format!("sha256-{}", wanted.digest.hex())]);

    // Another process: nothing is known but the file.
    let done = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&done);
    let progress = Progress::to(move |event| {
        if let Event::Started { done, .. } = event {
            *seen.lock().unwrap() = Some(done);
        }
    });
    let repository = repository();
    let origin = Origin { source: &source, repository: &repository };
    open(there.path()).await.upload(&repository, &wanted, origin, &progress).await.unwrap();
    assert_eq!(*done.lock().unwrap(), Some(1_000_000));
    assert_eq!(*source.given.lock().unwrap(), [(0, 1_000_000), (1_000_000, 3 << 20)]);
    assert_eq!(verified_blobs(there.path()), [(wanted.digest, wanted.size)].into());
    assert_eq!(names_in(there.path()), ["blobs", "index.json", "oci-layout"]);
}

#[tokio::test]
async fn s18_a_part_is_not_trusted_for_its_size() {
    let content = random(8, 1 << 20);
    let wanted = blob(&content);
    for (left, asked) in [
        // As long as the blob, and wrong: hashed, thrown away, fetched anew.
        (vec![0; 1 << 20], vec![(0, 1 << 20)]),
        (vec![0; 1000], vec![(1000, 1 << 20), (0, 1 << 20)]),
        // Longer than the blob can be.
        (vec![0; (1 << 20) + 1], vec![(0, 1 << 20)]),
    ] {
        let there = folder();
        let layout = OciLayout::create(there.path()).await.unwrap();
        fs::create_dir(there.path().join(".pier")).unwrap();
        fs::write(there.path().join(format!(".pier/sha256-{}", wanted.digest.hex())), left).unwrap();
        let source = Breaking::new(content.clone(), &[]);
        upload(&layout, &source, &wanted).await.unwrap();
        assert_eq!(*source.given.lock().unwrap(), asked);
        assert_eq!(verified_blobs(there.path()), [(wanted.digest, wanted.size)].into());
    }
}

#[tokio::test]
async fn s9_content_of_another_size_than_announced_is_refused() {
    let content = random(9, 100_000);
    let there = folder();
    let layout = OciLayout::create(there.path()).await.unwrap();
    // One byte more than announced: what fits is taken, hashed and found wrong; the source did not say its size.
    let short = Descriptor { size: 99_999, ..blob(&content) };
    let error = upload(&layout, &Breaking::new(content.clone(), &[]), &short).await.unwrap_err();
    assert!(error.is_integrity(), "{error}");
    let long = Descriptor { size: 100_001, ..blob(&content) };
    let error = upload(&layout, &Breaking::new(content.clone(), &[]), &long).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    // A layout says what it has.
    let image = image("a");
    let from = written(&image, "v1");
    let layer = image.blobs[1].descriptor.clone();
    let mut bytes = fs::read(place(from.path(), &layer.digest)).unwrap();
    bytes.push(0);
    fs::write(place(from.path(), &layer.digest), bytes).unwrap();
    let source = open(from.path()).await;
    let error = copied(&source, &source.reference(None).await.unwrap(), &layout, &["v1"]).await.unwrap_err();
    let Error::Size { expected, actual, origin, .. } = error else { panic!("{error}") };
    assert_eq!((expected, actual, origin), (layer.size, layer.size + 1, Some(layout_name(&from))));
    assert!(!place(there.path(), &layer.digest).exists());
}

#[tokio::test]
async fn two_writers_of_one_blob_both_succeed() {
    let content = random(10, 2 << 20);
    let wanted = blob(&content);
    let there = folder();
    let layouts = [OciLayout::create(there.path()).await.unwrap(), open(there.path()).await];
    let source = Breaking::new(content, &[]);
    let (one, two) =
        futures_util::join!(upload(&layouts[0], &source, &wanted), upload(&layouts[1], &source, &wanted));
    one.unwrap();
    two.unwrap();
    assert_eq!(verified_blobs(there.path()), [(wanted.digest, wanted.size)].into());
    assert_eq!(names_in(there.path()), ["blobs", "index.json", "oci-layout"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_of_one_index_lose_nothing() {
    let there = folder();
    OciLayout::create(there.path()).await.unwrap();
    let tasks: Vec<_> = (0..24)
        .map(|number| {
            let path = there.path().to_owned();
            tokio::spawn(async move {
                let (source, from) = stored(&image(&number.to_string())).await;
                let layout = OciLayout::create(&path).await.unwrap();
                copied(&source, &from, &layout, &[&format!("v{number}")]).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let entries = open(there.path()).await.entries().await.unwrap();
    let mut names: Vec<String> = entries.into_iter().flat_map(|entry| entry.names).collect();
    names.sort();
    let mut expected: Vec<String> = (0..24).map(|number| format!("v{number}")).collect();
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!(names_in(there.path()), ["blobs", "index.json", "oci-layout"]);
}

#[tokio::test]
async fn a_full_disk_is_said_and_the_copy_goes_on_once_there_is_room() {
    let Some(disk) = or_skip(SmallDisk::mount(32 << 20)) else { return };
    disk.fill_leaving(5 << 20).unwrap();
    let image = large(5, 12 << 20);
    let (source, from) = stored(&image).await;
    let there = disk.path().join("layout");
    let layout = OciLayout::create(&there).await.unwrap();
    let error = copied(&source, &from, &layout, &["v1"]).await.unwrap_err();
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    assert_eq!(layout.entries().await.unwrap(), []);
    disk.free_all().unwrap();
    copied(&source, &from, &layout, &["v1"]).await.unwrap();
    assert_eq!(verified_blobs(&there), all_of(&image));
    assert_eq!(names_in(&there), ["blobs", "index.json", "oci-layout"]);
}

#[tokio::test]
async fn a_folder_with_other_things_is_not_made_a_layout() {
    let there = folder();
    fs::write(there.path().join("letter.txt"), "dear").unwrap();
    assert_eq!(
        reason(OciLayout::create(there.path()).await),
        "is no OCI layout and holds other things, such as `letter.txt`"
    );
    assert_eq!(names_in(there.path()), ["letter.txt"]);
    assert_eq!(reason(OciLayout::open(there.path()).await), "is no OCI layout: it has no `oci-layout`");
    // A making that was cut short is finished.
    let there = folder();
    fs::create_dir(there.path().join("blobs")).unwrap();
    OciLayout::create(there.path()).await.unwrap();
    assert_eq!(names_in(there.path()), ["blobs", "index.json", "oci-layout"]);
}

#[tokio::test]
async fn layouts_of_another_version_are_refused() {
    let there = written(&image("a"), "v1");
    fs::write(there.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert_eq!(reason(OciLayout::open(there.path()).await), "is of layout version `2.0.0` and not 1");
    assert_eq!(reason(OciLayout::create(there.path()).await), "is of layout version `2.0.0` and not 1");
}

#[tokio::test]
async fn blobs_are_read_from_any_position() {
    let image = large(3, 5 << 20);
    let there = written(&image, "v1");
    let layout = open(there.path()).await;
    let layer = &image.blobs[1];
    let whole = layer.content.bytes().unwrap();
    for (start, end) in
        [(0, None), (1, Some(2)), (1 << 20, Some((4 << 20) + 1)), (5 << 20, None), (7, Some(7))]
    {
        let opened = layout.open(&repository(), &layer.descriptor, ByteRange { start, end }).await.unwrap();
        assert_eq!((opened.start, opened.size), (start, Some(5 << 20)));
        let pieces: Vec<Result<Bytes>> = opened.stream.collect().await;
        let bytes: Vec<u8> = pieces.into_iter().flat_map(Result::unwrap).collect();
        let end = end.map_or(whole.len(), |end| usize::try_from(end).unwrap());
        assert!(bytes == whole[usize::try_from(start).unwrap()..end], "{start} {end}");
    }
}
