//! The storage folder of distribution: written here and read by `docker-registry`, the other way round, and hostile.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use pier_content::{
    BlobStore, ByteRange, Catalog, Claim, Completeness, Error, ImmutableTags, Ingest, IngestKey, Memory,
    Mounted, PutManifest, ReferrersOf, Result, Source, Subject, TagRules, Target,
};
use pier_layout::DistributionFolder;
use pier_oci::{Descriptor, Digest, MediaType, Repository, RepositoryName, Selector};
use pier_testkit::engine::{DockerRegistry, Skopeo};
use pier_testkit::image::{BuiltImage, ImageBuilder, IndexBuilder, Layer};
use pier_testkit::skip::or_skip;

use crate::work::{
    all_of, copied_as, flat, folder, image, large, names_in, nested, reason, reference, stored, tag,
    verified_blobs, written,
};

/// A blob that is larger than what is read into memory.
const LARGE: usize = 2_500_000;

fn place(name: &str) -> Repository {
    reference(&format!("localhost/{name}")).repository
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

/// Copies an image into the folder.
async fn write(to: &DistributionFolder, image: &BuiltImage, repository: &str, tags: &[&str]) {
    let (source, from) = stored(image).await;
    copied_as(&source, &from, to, &place(repository), tags).await.unwrap();
}

/// A folder with one image, written here.
async fn one(image: &BuiltImage) -> (tempfile::TempDir, DistributionFolder) {
    let place = folder();
    let written = DistributionFolder::create(place.path()).await.unwrap();
    write(&written, image, "team/app", &["v1"]).await;
    // Opened anew: nothing of what the writer knows is known.
    let opened = DistributionFolder::open(place.path()).await.unwrap();
    (place, opened)
}

fn v2(folder: &Path) -> PathBuf {
    folder.join("docker/registry/v2")
}

fn data(folder: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    v2(folder).join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
}

fn link(folder: &Path, shown: &str, digest: &Digest) -> PathBuf {
    v2(folder).join("repositories/team/app").join(shown).join("sha256").join(digest.hex()).join("link")
}

async fn bytes_of(store: &dyn BlobStore, digest: &Digest) -> Result<Vec<u8>> {
    let stream = store.open(digest).await?.read(ByteRange::ALL).await?;
    stream
        .try_fold(Vec::new(), |mut all, bytes| async move {
            all.extend(bytes);
            Ok(all)
        })
        .await
}

/// Digests and sizes of all blobs of the folder; one that is not what it is called fails the test.
fn verified_data(folder: &Path) -> BTreeMap<Digest, u64> {
    let mut found = BTreeMap::new();
    for beginning in fs::read_dir(v2(folder).join("blobs/sha256")).unwrap().map(|entry| entry.unwrap()) {
        for blob in fs::read_dir(beginning.path()).unwrap().map(|entry| entry.unwrap()) {
            let bytes = fs::read(blob.path().join("data")).unwrap();
            let digest = Digest::sha256(&bytes);
            assert_eq!(blob.file_name().to_str().unwrap(), digest.hex());
            assert_eq!(beginning.file_name().to_str().unwrap(), &digest.hex()[..2]);
            found.insert(digest, bytes.len() as u64);
        }
    }
    found
}

#[tokio::test]
async fn what_is_written_is_what_distribution_writes() {
    let image = image("a");
    let (place, _) = one(&image).await;
    let config = &image.blobs[0].descriptor.digest;
    let root = image.root.digest;
    assert_eq!(names_in(place.path()), ["docker"]);
    assert_eq!(verified_data(place.path()), all_of(&image));
    for blob in &image.blobs {
        let digest = blob.descriptor.digest;
        assert_eq!(fs::read_to_string(link(place.path(), "_layers", &digest)).unwrap(), digest.to_string());
    }
    assert!(!link(place.path(), "_layers", &root).exists());
    assert!(!link(place.path(), "_manifests/revisions", config).exists());
    for way in ["_manifests/revisions", "_manifests/tags/v1/index"] {
        let text = fs::read_to_string(link(place.path(), way, &root)).unwrap();
        assert_eq!((text.as_str(), text.len()), (root.to_string().as_str(), 71), "{way}");
    }
    let current = v2(place.path()).join("repositories/team/app/_manifests/tags/v1/current");
    assert_eq!(fs::read_to_string(current.join("link")).unwrap(), root.to_string());
    assert_eq!(names_in(&current), ["link"]);
}

#[tokio::test]
async fn what_was_written_is_read_back_byte_for_byte() {
    for image in [image("a"), flat(), nested(), large(7, LARGE)] {
        let (_place, folder) = one(&image).await;
        let repository = place("team/app");
        for manifest in &image.manifests {
            let selector = Selector::Digest(manifest.descriptor.digest);
            let read = Source::manifest(&folder, &repository, &selector, 1 << 20).await.unwrap();
            assert_eq!(*read.bytes(), manifest.bytes);
            assert_eq!(read.media_type(), &manifest.descriptor.media_type);
        }
        let resolved = Source::resolve(&folder, &reference("localhost/team/app:v1")).await.unwrap();
        assert_eq!((resolved.digest, resolved.size), (image.root.digest, image.root.size));
        for blob in &image.blobs {
            let bytes = bytes_of(&folder, &blob.descriptor.digest).await.unwrap();
            assert_eq!(bytes, blob.content.bytes().unwrap());
        }
        let all = folder.walk(None, 99).await.unwrap();
        let all: BTreeMap<Digest, u64> = all.iter().map(|blob| (blob.digest, blob.size)).collect();
        assert_eq!(all, all_of(&image));
    }
}

#[tokio::test]
async fn a_range_of_a_large_blob_is_that_range() {
    let image = large(7, LARGE);
    let (_place, folder) = one(&image).await;
    let layer = &image.blobs[1];
    let content = layer.content.bytes().unwrap();
    for range in [0..1, 1_048_575..1_048_577, 5..2_400_000, 2_499_999..2_500_000] {
        let blob = BlobStore::open(&folder, &layer.descriptor.digest).await.unwrap();
        let stream = blob.read(range.clone().into()).await.unwrap();
        let read: Vec<_> = stream.try_collect().await.unwrap();
        let indices = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert_eq!(read.concat(), content[indices], "{range:?}");
    }
}

#[tokio::test]
async fn repositories_and_tags_come_in_order() {
    let place = folder();
    let written = DistributionFolder::create(place.path()).await.unwrap();
    for (repository, tags) in
        [("b/c", &["z", "a", "10", "9"][..]), ("b-c", &["v1"]), ("b", &["v1"]), ("a/b/c/d", &[])]
    {
        write(&written, &image(repository), repository, tags).await;
    }
    let folder = DistributionFolder::open(place.path()).await.unwrap();
    let listed = |after, limit| {
        let folder = folder.clone();
        async move {
            let page = folder.repositories(after, limit).await.unwrap();
            (page.items.iter().map(ToString::to_string).collect::<Vec<_>>(), page.more)
        }
    };
    assert_eq!(listed(None, 9).await, (["a/b/c/d", "b", "b-c", "b/c"].map(String::from).to_vec(), false));
    assert_eq!(listed(Some("b"), 1).await, (vec!["b-c".to_owned()], true));
    let tags = folder.tags(&name("b/c"), None, 9).await.unwrap();
    assert_eq!(tags.items, ["10", "9", "a", "z"].map(tag));
    let tags = folder.tags(&name("b/c"), Some("10"), 1).await.unwrap();
    assert_eq!((tags.items, tags.more), (vec![tag("9")], true));
    assert_eq!(folder.tags(&name("a/b/c/d"), None, 9).await.unwrap().items, []);
    let missing = folder.tags(&name("a/b"), None, 9).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { subject: Subject::Repository(_) }), "{missing}");
}

#[tokio::test]
async fn a_repository_shows_what_it_links_and_nothing_else() {
    let place_a = folder();
    let folder = DistributionFolder::create(place_a.path()).await.unwrap();
    let (one, other) = (image("a"), large(3, 500));
    write(&folder, &one, "team/app", &["v1"]).await;
    write(&folder, &other, "other", &["v1"]).await;
    let layer = other.blobs[1].descriptor.clone();
    assert_eq!(folder.linked(&name("team/app"), &layer.digest).await.unwrap(), None);
    assert_eq!(folder.linked(&name("other"), &layer.digest).await.unwrap(), Some(500));
    let opened =
        Source::open(&folder, &place("team/app"), &layer, ByteRange::ALL).await.map(|_| ()).unwrap_err();
    assert!(matches!(opened, Error::NotFound { subject: Subject::RepositoryBlob(..) }), "{opened}");
    let by_digest = Selector::Digest(other.root.digest);
    let missing = Catalog::resolve(&folder, &name("team/app"), &by_digest).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { subject: Subject::Manifest(..) }), "{missing}");

    assert_eq!(
        folder.mount(&place("team/app"), &layer.digest, &place("team/app")).await.unwrap(),
        Mounted::No
    );
    assert_eq!(folder.mount(&place("team/app"), &layer.digest, &place("other")).await.unwrap(), Mounted::Yes);
    assert_eq!(folder.linked(&name("team/app"), &layer.digest).await.unwrap(), Some(500));
}

#[tokio::test]
async fn a_tag_moves_and_its_past_is_kept() {
    let place = folder();
    let folder = DistributionFolder::create(place.path()).await.unwrap();
    let (old, new) = (image("old"), image("new"));
    write(&folder, &old, "team/app", &["v1"]).await;
    write(&folder, &new, "team/app", &["v1"]).await;
    let found = Catalog::resolve(&folder, &name("team/app"), &Selector::Tag(tag("v1"))).await.unwrap();
    assert_eq!(found.digest(), new.root.digest);
    let history = folder.tag_history(&name("team/app"), &tag("v1"), 9).await.unwrap();
    assert_eq!(history.iter().map(|moved| moved.digest).collect::<Vec<_>>(), [Some(new.root.digest)]);
    for image in [&old, &new] {
        assert!(link(place.path(), "_manifests/tags/v1/index", &image.root.digest).exists());
    }
}

#[tokio::test]
async fn a_served_folder_is_only_read() {
    let image = image("a");
    let (place, folder) = one(&image).await;
    let layer = image.blobs[1].descriptor.digest;
    let before = verified_data(place.path());
    let (repository, unknown) = (name("team/app"), Digest::sha256(b"unknown"));
    let key = |digest| IngestKey::Blob { digest, size: None };
    assert!(matches!(folder.ingest(key(layer)).await.unwrap(), Ingest::Present(_)));
    // As a HEAD asks.
    let shown = folder.link(&repository, &layer, Claim::From(repository.clone())).await.unwrap();
    assert_eq!(shown, image.blobs[1].descriptor.size);
    let put = PutManifest {
        repository: repository.clone(),
        manifest: Arc::new(image.manifests[0].parse().unwrap()),
        tags: vec![tag("v2")],
        completeness: Completeness::Strict,
        rules: TagRules::default(),
    };
    let session = "00000000-0000-4000-8000-000000000000".parse().unwrap();
    for refused in [
        folder.ingest(key(unknown)).await.map(drop),
        folder.ingest(IngestKey::NewUpload(session)).await.map(drop),
        BlobStore::delete(&folder, &layer).await,
        Catalog::put_manifest(&folder, put).await.map(drop),
        folder.untag(&repository, &tag("v1"), &TagRules::default()).await,
        folder.delete_manifest(&repository, &image.root.digest, &ImmutableTags::default()).await,
        folder.link(&repository, &unknown, Claim::Proven).await.map(drop),
        folder.unlink(&repository, &layer).await,
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
    assert_eq!(verified_data(place.path()), before);
    assert_eq!(names_in(place.path()), ["docker"]);
}

#[tokio::test]
async fn all_names_go_into_another_catalog() {
    let (place, folder) = one(&flat()).await;
    let memory = Memory::over(Arc::new(folder.clone()));
    folder.names_into(&memory).await.unwrap();
    let page = memory.repositories(None, 9).await.unwrap();
    assert_eq!(page.items, [name("team/app")]);
    let found = Catalog::resolve(&memory, &name("team/app"), &Selector::Tag(tag("v1"))).await.unwrap();
    assert_eq!(found.digest(), flat().root.digest);
    for blob in &flat().blobs {
        let bytes = bytes_of(&memory, &blob.descriptor.digest).await.unwrap();
        assert_eq!(bytes, blob.content.bytes().unwrap());
    }
    memory.delete_manifest(&name("team/app"), &flat().root.digest, &ImmutableTags::default()).await.unwrap();
    assert_eq!(verified_data(place.path()), all_of(&flat()));
}

#[tokio::test]
async fn referrers_are_found_by_subject_and_by_tag() {
    let place_a = folder();
    let folder = DistributionFolder::create(place_a.path()).await.unwrap();
    let image = image("a");
    write(&folder, &image, "team/app", &["v1"]).await;
    let signature = |seed| {
        let layer = Layer::random(seed, 100);
        ImageBuilder::new().subject(&image.root).artifact_type("application/vnd.example").layer(layer).build()
    };
    let (one, two) = (signature(1), signature(2));
    write(&folder, &one, "team/app", &[]).await;
    write(&folder, &two, "team/app", &[]).await;
    // Without a subject, in a list as clients keep it at registries without the referrers API.
    let other = ImageBuilder::new().layer(Layer::random(3, 100)).build();
    let listed = IndexBuilder::new().child(&other).child(&one).build();
    let schema = format!("sha256-{}", image.root.digest.hex());
    write(&folder, &listed, "team/app", &[&schema]).await;
    let all = Source::referrers(&folder, &place("team/app"), &image.root.digest).await.unwrap();
    let all: Vec<Digest> = all.iter().map(|descriptor| descriptor.digest).collect();
    let mut found = [one.root.digest, two.root.digest];
    found.sort();
    assert_eq!(all, [found[0], found[1], other.root.digest]);
    // As a registry asks: lists under tags are its own to look for.
    let of = |artifact_type: &str, after, limit| ReferrersOf {
        subject: image.root.digest,
        artifact_type: Some(artifact_type.to_owned()),
        after,
        limit,
    };
    let type_of_all = "application/vnd.example";
    for (of, expected) in [
        (of(type_of_all, None, 9), &found[..]),
        (of(type_of_all, None, 1), &found[..1]),
        (of(type_of_all, Some(found[0]), 9), &found[1..]),
        (of("application/vnd.other", None, 9), &[]),
    ] {
        let page = Catalog::referrers(&folder, &name("team/app"), &of).await.unwrap();
        let items: Vec<Digest> = page.items.iter().map(|descriptor| descriptor.digest).collect();
        assert_eq!((items.as_slice(), page.more), (expected, of.limit == 1), "{of:?}");
    }
}

// What strangers may have done to the folder.

#[tokio::test]
async fn no_byte_is_given_under_a_digest_that_it_was_not_hashed_to() {
    let image = large(7, LARGE);
    let (place, folder) = one(&image).await;
    let (small, layer) = (image.blobs[0].descriptor.clone(), image.blobs[1].descriptor.clone());
    for descriptor in [&small, &layer] {
        let path = data(place.path(), &descriptor.digest);
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = bytes_of(&folder, &descriptor.digest).await.unwrap_err();
        let Error::Integrity { expected, actual, origin } = error else { panic!("{error}") };
        assert_eq!((expected, actual), (descriptor.digest, Digest::sha256(&bytes)));
        assert_eq!(origin, Some(format!("`{}`", path.display())));
        // What it says is still there, so a size can be told; put right it is given.
        assert_eq!(folder.stat(&descriptor.digest).await.unwrap().unwrap().size, descriptor.size);
        bytes[0] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(bytes_of(&folder, &descriptor.digest).await.unwrap(), bytes);
    }
    let root = data(place.path(), &image.root.digest);
    fs::write(&root, b"{}").unwrap();
    let error = Catalog::resolve(&folder, &name("team/app"), &Selector::Tag(tag("v1"))).await.unwrap_err();
    assert!(matches!(error, Error::Integrity { .. }), "{error}");
}

#[tokio::test]
async fn a_large_file_that_changes_while_it_is_read_ends_early() {
    let image = large(7, LARGE);
    let (place, folder) = one(&image).await;
    let digest = image.blobs[1].descriptor.digest;
    let mut stream = BlobStore::open(&folder, &digest).await.unwrap().read(ByteRange::ALL).await.unwrap();
    let first = stream.try_next().await.unwrap().unwrap();
    assert_eq!(first, image.blobs[1].content.bytes().unwrap()[..first.len()]);
    let path = data(place.path(), &digest);
    let held = fs::OpenOptions::new().write(true).open(&path).unwrap();
    held.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let error = stream.try_next().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    // It is hashed anew then.
    assert_eq!(bytes_of(&folder, &digest).await.unwrap().len(), LARGE);
}

#[tokio::test]
async fn a_folder_that_is_no_storage_is_refused() {
    let empty = folder();
    assert_eq!(
        reason(DistributionFolder::open(empty.path()).await),
        "is no storage folder of a registry: it has no `docker/registry/v2`"
    );
    fs::write(empty.path().join("notes"), "x").unwrap();
    assert_eq!(
        reason(DistributionFolder::create(empty.path()).await),
        "is no storage folder of a registry and holds other things, such as `notes`"
    );
    let error = DistributionFolder::open(empty.path().join("none")).await.unwrap_err();
    assert!(matches!(&error, Error::Io { .. }), "{error}");
}

#[tokio::test]
async fn links_that_lie_are_refused() {
    let image = image("a");
    let layer = image.blobs[1].descriptor.clone();
    let repository = name("team/app");
    let other = Digest::sha256(b"other");
    for (says, why) in [
        (other.to_string(), format!("is the link of `{}` and says `{other}`", layer.digest)),
        (
            format!("{}\n", layer.digest),
            "is no link: a sha256 digest has 64 hexadecimal digits, this one has 65".to_owned(),
        ),
        (
            "../../../etc/passwd".to_owned(),
            "is no link: `../../../etc/passwd` is not a digest: it has no `:`".to_owned(),
        ),
        (String::new(), "is no link: `` is not a digest: it has no `:`".to_owned()),
        (
            "md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(),
            "is no link: `md5` is not a digest algorithm that is known".to_owned(),
        ),
    ] {
        let (place, folder) = one(&image).await;
        fs::write(link(place.path(), "_layers", &layer.digest), says).unwrap();
        assert_eq!(reason(folder.linked(&repository, &layer.digest).await), why);
        let opened =
            Source::open(&folder, &crate::distribution::place("team/app"), &layer, ByteRange::ALL).await;
        assert_eq!(reason(opened.map(drop)), why);
        assert_eq!(reason(folder.names_into(&Memory::default()).await), why);
    }
    // A manifest and a tag likewise.
    let (place, folder) = one(&image).await;
    fs::write(link(place.path(), "_manifests/revisions", &image.root.digest), other.to_string()).unwrap();
    let asked = Catalog::resolve(&folder, &repository, &Selector::Tag(tag("v1"))).await;
    assert_eq!(reason(asked), format!("is the link of `{}` and says `{other}`", image.root.digest));
    let (place, folder) = one(&image).await;
    let current = v2(place.path()).join("repositories/team/app/_manifests/tags/v1/current/link");
    fs::write(&current, "latest").unwrap();
    let asked = Catalog::resolve(&folder, &repository, &Selector::Tag(tag("v1"))).await;
    assert_eq!(reason(asked), "is no link: `latest` is not a digest: it has no `:`");
    // To a manifest that the repository does not show.
    fs::write(&current, other.to_string()).unwrap();
    let asked = Catalog::resolve(&folder, &repository, &Selector::Tag(tag("v1"))).await.unwrap_err();
    assert!(matches!(asked, Error::NotFound { .. }), "{asked}");
    // To a blob that is no manifest.
    let (place, folder) = one(&image).await;
    let shown = link(place.path(), "_manifests/revisions", &layer.digest);
    fs::create_dir_all(shown.parent().unwrap()).unwrap();
    fs::write(&shown, layer.digest.to_string()).unwrap();
    let asked = Catalog::resolve(&folder, &repository, &Selector::Digest(layer.digest)).await;
    assert!(reason(asked).starts_with("not a manifest: "));
}

#[tokio::test]
async fn a_huge_link_is_not_read() {
    let image = image("a");
    let (place, folder) = one(&image).await;
    let path = link(place.path(), "_layers", &image.blobs[1].descriptor.digest);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    let error = folder.linked(&name("team/app"), &image.blobs[1].descriptor.digest).await.unwrap_err();
    let Error::Size { subject, expected, actual, .. } = error else { panic!("{error}") };
    assert_eq!((subject, expected, actual), (Subject::File(path), 256, 1 << 40));
    // Nor is a manifest that is none.
    let path = data(place.path(), &image.root.digest);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    let error = Catalog::resolve(&folder, &name("team/app"), &Selector::Tag(tag("v1"))).await.unwrap_err();
    assert!(matches!(error, Error::Size { actual: 1_099_511_627_776, .. }), "{error}");
}

#[tokio::test]
async fn s15_links_of_the_file_system_are_not_followed() {
    let image = image("a");
    let layer = image.blobs[1].descriptor.digest;
    let outside = folder();
    let link_refused = "is a symbolic link, which is not followed";
    let folder_refused = "is not a folder; links are not followed";
    // What is read through them is right, and still refused.
    let moved = |from: &Path, name: &str| {
        let to = outside.path().join(name);
        fs::rename(from, &to).unwrap();
        symlink(&to, from).unwrap();
    };
    let (place, folder) = one(&image).await;
    moved(&data(place.path(), &layer), "data");
    assert_eq!(reason(bytes_of(&folder, &layer).await), link_refused);
    moved(&link(place.path(), "_layers", &layer), "link");
    assert_eq!(reason(folder.linked(&name("team/app"), &layer).await), link_refused);
    moved(&v2(place.path()).join("repositories/team/app"), "app");
    assert_eq!(reason(folder.tags(&name("team/app"), None, 9).await), folder_refused);
    assert_eq!(reason(folder.repositories(None, 9).await), folder_refused);
    assert_eq!(reason(folder.names_into(&Memory::default()).await), folder_refused);
    moved(&v2(place.path()).join("blobs"), "blobs");
    assert_eq!(reason(folder.walk(None, 9).await), folder_refused);
    moved(&place.path().join("docker"), "docker");
    assert_eq!(reason(DistributionFolder::open(place.path()).await), folder_refused);
}

#[tokio::test]
async fn s15_only_regular_files_are_read() {
    let image = image("a");
    let layer = image.blobs[1].descriptor.digest;
    let (place, folder) = one(&image).await;
    for path in [data(place.path(), &layer), link(place.path(), "_layers", &layer)] {
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let asked = folder.linked(&name("team/app"), &layer).await;
        assert_eq!(reason(asked), "is not a regular file");
    }
}

#[tokio::test]
async fn names_that_are_none_are_passed_over() {
    let image = image("a");
    let (place, folder) = one(&image).await;
    let repositories = v2(place.path()).join("repositories");
    for odd in ["Upper", ".git", "a..b", "-a", "team/_uploads", "team/app/_uploads"] {
        let below = repositories.join(odd).join("_manifests/revisions/sha256").join(image.root.digest.hex());
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("link"), image.root.digest.to_string()).unwrap();
    }
    fs::write(repositories.join("README.md"), "x").unwrap();
    let tags = repositories.join("team/app/_manifests/tags");
    for odd in ["-v", ".v", "a b", "untagged/current"] {
        fs::create_dir_all(tags.join(odd)).unwrap();
    }
    for odd in ["short", "Z".repeat(64).as_str()] {
        fs::create_dir_all(repositories.join("team/app/_layers/sha256").join(odd)).unwrap();
        fs::create_dir_all(v2(place.path()).join("blobs/sha256/zz").join(odd)).unwrap();
    }
    assert_eq!(folder.repositories(None, 9).await.unwrap().items, [name("team/app")]);
    assert_eq!(folder.tags(&name("team/app"), None, 9).await.unwrap().items, [tag("v1")]);
    assert_eq!(folder.walk(None, 99).await.unwrap().len(), all_of(&image).len());
    folder.names_into(&Memory::over(Arc::new(folder.clone()))).await.unwrap();
}

#[tokio::test]
async fn a_blob_that_is_wrong_is_written_again() {
    let image = image("a");
    let (place, folder) = one(&image).await;
    let path = data(place.path(), &image.blobs[1].descriptor.digest);
    fs::write(&path, b"rotten").unwrap();
    let layer = &image.blobs[1].descriptor;
    assert!(!Target::has(&folder, &crate::distribution::place("team/app"), layer).await.unwrap());
    assert!(!Target::has(&folder, &crate::distribution::place("team/app"), &image.root).await.unwrap());
    write(&folder, &image, "team/app", &["v1"]).await;
    assert_eq!(verified_data(place.path()), all_of(&image));
    let missing = Descriptor::new(MediaType::OCI_LAYER, Digest::sha256(b"x"), 1);
    assert!(!Target::has(&folder, &crate::distribution::place("team/app"), &missing).await.unwrap());
}

#[tokio::test]
async fn a_manifest_without_its_children_is_refused_unless_that_is_meant() {
    let place_a = folder();
    let folder = DistributionFolder::create(place_a.path()).await.unwrap();
    let index = flat();
    let manifest = index.manifests.last().unwrap().parse().unwrap();
    let (repository, tags) = (place("team/app"), [tag("v1")]);
    let strict = Target::put_manifest(&folder, &repository, &manifest, &tags, Completeness::Strict).await;
    let Err(Error::Missing { digests, .. }) = strict else { panic!("{strict:?}") };
    assert_eq!(digests.len(), 3);
    assert_eq!(folder.repositories(None, 9).await.unwrap().items, []);
    Target::put_manifest(&folder, &repository, &manifest, &tags, Completeness::Sparse).await.unwrap();
    assert_eq!(folder.repositories(None, 9).await.unwrap().items, [name("team/app")]);
}

// With the registry whose folder it is.

/// Everything that a registry gives of `reference`, as a layout.
#[track_caller]
fn pulled(skopeo: &Skopeo, address: std::net::SocketAddr, reference: &str) -> BTreeMap<Digest, u64> {
    let back = folder();
    let from = format!("docker://{address}/{reference}");
    let to = format!("oci:{}:v1", back.path().display());
    skopeo.run(&["copy", "--all", "--preserve-digests", "--src-tls-verify=false", &from, &to]).unwrap();
    verified_blobs(back.path())
}

#[tokio::test]
async fn docker_registry_serves_what_was_written_here() {
    let (Some(skopeo), place) = (or_skip(Skopeo::find()), folder()) else { return };
    let folder = DistributionFolder::create(place.path()).await.unwrap();
    for (image, repository) in [(image("a"), "team/app"), (flat(), "index"), (large(7, LARGE), "a/b/c")] {
        write(&folder, &image, repository, &["v1", "latest"]).await;
        let Some(registry) = or_skip(DockerRegistry::start_over(place.path())) else { return };
        for selector in [":v1".to_owned(), ":latest".to_owned(), format!("@{}", image.root.digest)] {
            let found = pulled(&skopeo, registry.address(), &format!("{repository}{selector}"));
            assert_eq!(found, all_of(&image), "{repository}{selector}");
        }
    }
    // And it writes on.
    let registry = DockerRegistry::start_over(place.path()).unwrap();
    let layout = written(&image("b"), "it");
    let to = format!("docker://{}/team/app:v2", registry.address());
    let from = format!("oci:{}:it", layout.path().display());
    skopeo.run(&["copy", "--preserve-digests", "--dest-tls-verify=false", &from, &to]).unwrap();
    let tags = folder.tags(&name("team/app"), None, 9).await.unwrap();
    assert_eq!(tags.items, ["latest", "v1", "v2"].map(tag));
}

#[tokio::test]
async fn what_docker_registry_wrote_is_read_here() {
    let (Some(skopeo), Some(registry)) = (or_skip(Skopeo::find()), or_skip(DockerRegistry::start())) else {
        return;
    };
    for (image, repository) in [(image("a"), "team/app"), (flat(), "index"), (large(7, LARGE), "a/b/c")] {
        let layout = written(&image, "it");
        let to = format!("docker://{}/{repository}:v1", registry.address());
        let from = format!("oci:{}:it", layout.path().display());
        skopeo.run(&["copy", "--all", "--preserve-digests", "--dest-tls-verify=false", &from, &to]).unwrap();
        let folder = DistributionFolder::open(registry.storage()).await.unwrap();
        let back = crate::work::folder();
        let layout = pier_layout::OciLayout::create(back.path()).await.unwrap();
        let from = reference(&format!("localhost/{repository}:v1"));
        let copied = copied_as(&folder, &from, &layout, &place(repository), &["v1"]).await.unwrap();
        assert_eq!(copied.root.digest, image.root.digest);
        assert_eq!(verified_blobs(back.path()), all_of(&image));
        let memory = Memory::over(Arc::new(folder.clone()));
        folder.names_into(&memory).await.unwrap();
    }
    let folder = DistributionFolder::open(registry.storage()).await.unwrap();
    let page = folder.repositories(None, 9).await.unwrap();
    assert_eq!(page.items, ["a/b/c", "index", "team/app"].map(name));
}
