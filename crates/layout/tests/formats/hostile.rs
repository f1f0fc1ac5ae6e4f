//! What nobody should have made: links out of a layout, sizes that lie, archives that lead elsewhere or say two things.

use std::fs;
use std::os::unix::fs::symlink;

use pier_content::{ByteRange, Error, Source as _, Subject, Target as _};
use pier_layout::OciLayout;
use pier_oci::{Descriptor, Digest, MediaType, Selector};
use pier_testkit::image::{BuiltImage, ImageBuilder};
use tar::{EntryType, Header};

use crate::work::{docker_archive, folder, image, oci_archive, reason, repository, tag, written};

/// A tar that is made member by member, as it should not be.
#[derive(Clone)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(EntryType::Regular, name, "", content)
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.member(EntryType::Symlink, name, target, b"")
    }

    pub(crate) fn member(self, kind: EntryType, name: &str, target: &str, content: &[u8]) -> Self {
        self.announced(kind, name, target, content.len() as u64, content)
    }

    /// The name is written as it is, whatever the library thinks of it, and the size as it is said.
    pub(crate) fn announced(
        mut self,
        kind: EntryType,
        name: &str,
        target: &str,
        size: u64,
        content: &[u8],
    ) -> Self {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn place(layout: &std::path::Path, image: &BuiltImage, blob: usize) -> std::path::PathBuf {
    layout.join("blobs/sha256").join(image.blobs[blob].descriptor.digest.hex())
}

#[tokio::test]
async fn s15_links_in_a_layout_are_not_followed() {
    let image = image("a");
    let layer = &image.blobs[1].descriptor;
    let outside = folder();
    let secret = outside.path().join("secret");
    fs::write(&secret, image.blobs[1].content.bytes().unwrap()).unwrap();

    let there = written(&image, "v1");
    let path = place(there.path(), &image, 1);
    fs::remove_file(&path).unwrap();
    symlink(&secret, &path).unwrap();
    let layout = OciLayout::open(there.path()).await.unwrap();
    let opened = layout.open(&repository(), layer, ByteRange::ALL).await.map(|_| ());
    assert_eq!(reason(opened), "is a symbolic link, which is not followed");
    // Not even what is right behind a link counts as there.
    assert_eq!(reason(layout.has(&repository(), layer).await), "is a symbolic link, which is not followed");

    // A manifest, the folders and the index.
    let root = there.path().join("blobs/sha256").join(image.root.digest.hex());
    fs::rename(&root, outside.path().join("manifest")).unwrap();
    symlink(outside.path().join("manifest"), &root).unwrap();
    let asked = layout.manifest(&repository(), &Selector::Tag(tag("v1")), 1 << 20).await;
    assert_eq!(reason(asked), "is a symbolic link, which is not followed");
    for name in ["blobs/sha256", "blobs"] {
        let there = written(&image, "v1");
        let moved = outside.path().join(name.replace('/', "-"));
        fs::rename(there.path().join(name), &moved).unwrap();
        symlink(&moved, there.path().join(name)).unwrap();
        let layout = OciLayout::open(there.path()).await.unwrap();
        let asked = layout.manifest(&repository(), &Selector::Tag(tag("v1")), 1 << 20).await;
        assert_eq!(reason(asked), "is not a folder; links are not followed", "{name}");
    }
    for name in ["index.json", "oci-layout"] {
        let there = written(&image, "v1");
        let moved = outside.path().join(name);
        fs::rename(there.path().join(name), &moved).unwrap();
        symlink(&moved, there.path().join(name)).unwrap();
        assert_eq!(
            reason(OciLayout::open(there.path()).await),
            "is a symbolic link, which is not followed",
            "{name}"
        );
    }
}

#[tokio::test]
async fn s15_only_regular_files_are_blobs() {
    let image = image("a");
    let there = written(&image, "v1");
    let layer = &image.blobs[1].descriptor;
    let path = place(there.path(), &image, 1);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let layout = OciLayout::open(there.path()).await.unwrap();
    let opened = layout.open(&repository(), layer, ByteRange::ALL).await.map(|_| ());
    assert_eq!(reason(opened), "is not a regular file");
    // A pipe does not keep its reader waiting.
    fs::remove_dir(&path).unwrap();
    let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(status.success());
    let opened = layout.open(&repository(), layer, ByteRange::ALL).await.map(|_| ());
    assert_eq!(reason(opened), "is not a regular file");
}

#[tokio::test]
async fn s15_parts_are_not_written_through_links() {
    let image = image("a");
    let there = folder();
    let layout = OciLayout::create(there.path()).await.unwrap();
    let outside = folder();
    let victim = outside.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    fs::create_dir(there.path().join(".pier")).unwrap();
    let manifest = image.manifests[0].parse().unwrap();
    let part = there.path().join(format!(".pier/sha256-{}", manifest.digest().hex()));
    symlink(&victim, &part).unwrap();
    let put = layout.put_manifest(&repository(), &manifest, &[], pier_content::Completeness::Sparse).await;
    assert_eq!(reason(put), "is not a regular file");
    assert_eq!(fs::read(&victim).unwrap(), b"precious");

    let there = folder();
    let layout = OciLayout::create(there.path()).await.unwrap();
    symlink(outside.path(), there.path().join(".pier")).unwrap();
    let put = layout.put_manifest(&repository(), &manifest, &[], pier_content::Completeness::Sparse).await;
    assert_eq!(reason(put), "is not a folder; links are not followed");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn s9_documents_have_their_limits() {
    let there = written(&image("a"), "v1");
    let index = there.path().join("index.json");
    let file = fs::OpenOptions::new().write(true).open(&index).unwrap();
    file.set_len((4 << 20) + 1).unwrap();
    let error = OciLayout::open(there.path()).await.unwrap_err();
    let Error::Size { subject, expected, actual, .. } = error else { panic!("{error}") };
    assert_eq!((subject, expected, actual), (Subject::File(index), 4 << 20, (4 << 20) + 1));

    let large = ImageBuilder::new().annotation("a", &"x".repeat(1 << 20)).build();
    let there = written(&large, "v1");
    let layout = OciLayout::open(there.path()).await.unwrap();
    let error = layout.manifest(&repository(), &Selector::Tag(tag("v1")), 1 << 20).await.unwrap_err();
    let Error::Size { expected, actual, .. } = error else { panic!("{error}") };
    assert_eq!((expected, actual), (1 << 20, large.root.size));
}

#[tokio::test]
async fn s9_an_index_whose_sizes_lie_is_found_out() {
    let image = image("a");
    let there = written(&image, "v1");
    let index = there.path().join("index.json");
    let text = fs::read_to_string(&index).unwrap();
    let size = image.root.size;
    for (lie, says) in
        [("-1", "expected u64"), ("1e3", "expected u64"), ("18446744073709551615", "more than there can be")]
    {
        fs::write(&index, text.replace(&format!("\"size\":{size}"), &format!("\"size\":{lie}"))).unwrap();
        let found = reason(OciLayout::open(there.path()).await);
        assert!(found.contains(says), "{lie}: {found}");
    }
    fs::write(&index, text.replace(&format!("\"size\":{size}"), &format!("\"size\":{}", size + 1))).unwrap();
    let layout = OciLayout::open(there.path()).await.unwrap();
    let error = layout.manifest(&repository(), &Selector::Tag(tag("v1")), 1 << 20).await.unwrap_err();
    let Error::Size { expected, actual, .. } = error else { panic!("{error}") };
    assert_eq!((expected, actual), (size + 1, size));
}

/// What both readers say to an archive.
async fn refused(tar: Vec<u8>) -> [String; 2] {
    let place = folder();
    let path = place.path().join("image.tar");
    fs::write(&path, tar).unwrap();
    [reason(oci_archive(&path).await), reason(docker_archive(&path).await)]
}

#[track_caller]
fn both(found: &[String; 2], expected: &str) {
    assert_eq!(found, &[expected, expected]);
}

#[tokio::test]
async fn traversal_in_an_archive_is_refused() {
    for (name, why) in [
        ("/etc/passwd", "is absolute"),
        ("../x", "leads out of its folder"),
        ("blobs/../../x", "leads out of its folder"),
        ("blobs/..", "leads out of its folder"),
    ] {
        let found = refused(Tar::new().file(name, b"x").bytes()).await;
        both(&found, &format!("its member `{name}` {why}"));
    }
    // By the name in front of the header as well.
    let long = Tar::new().member(EntryType::GNULongName, "././@LongLink", "", b"../../x\0").file("x", b"x");
    both(&refused(long.bytes()).await, "its member `../../x` leads out of its folder");
    let pax = Tar::new().member(EntryType::XHeader, "x", "", b"13 path=/etc\n").file("x", b"x");
    both(&refused(pax.bytes()).await, "its member `/etc` is absolute");
}

#[tokio::test]
async fn links_and_devices_in_an_archive_are_refused() {
    let link = |target| Tar::new().link("blobs/x", target).bytes();
    let [oci, docker] = refused(link("../y")).await;
    assert_eq!(oci, "its member `blobs/x` is a symbolic link");
    assert_eq!(
        docker, "is no Docker archive: it has no `manifest.json`",
        "links within the archive are Docker's way"
    );
    for target in ["/etc/passwd", "../../x", "../a/../../x"] {
        let [oci, docker] = refused(link(target)).await;
        assert_eq!(oci, "its member `blobs/x` is a symbolic link");
        assert_eq!(docker, "its member `blobs/x` is a link out of the archive", "{target}");
    }
    let hard = Tar::new().member(EntryType::Link, "x", "y", b"");
    both(&refused(hard.bytes()).await, "its member `x` is a hard link");
    for kind in
        [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::GNUSparse, EntryType::new(b'Z')]
    {
        let odd = Tar::new().member(kind, "x", "", b"");
        both(&refused(odd.bytes()).await, "its member `x` is neither a file nor a folder");
    }
    // Links in a circle end.
    let circle = Tar::new().link("manifest.json", "a").link("a", "manifest.json");
    let [_, docker] = refused(circle.bytes()).await;
    assert_eq!(docker, "is behind more than 8 links");
}

#[tokio::test]
async fn an_archive_that_says_two_things_is_refused() {
    let twice = Tar::new().file("index.json", b"a").file("./index.json", b"b");
    both(&refused(twice.bytes()).await, "its member `index.json` comes twice");
    let folder = Tar::new().file("blobs", b"").member(EntryType::Directory, "blobs/", "", b"");
    both(&refused(folder.bytes()).await, "its member `blobs` comes twice");
    let content = Tar::new().member(EntryType::Directory, "blobs/", "", b"hidden");
    both(&refused(content.bytes()).await, "its member `blobs` has content and is no file");
    let mut lone = Tar::new().file("a", b"a").0;
    lone.resize(lone.len() + 512, 0);
    lone.extend_from_slice(&Tar::new().file("b", b"b").bytes());
    both(&refused(lone).await, "is no tar that can be read: at byte 1024, a block of zeros stands alone");
    let mut sum = Tar::new().file("a", b"a").bytes();
    sum[0] = b'b';
    both(&refused(sum).await, "is no tar that can be read: at byte 0, its sum is wrong");
}

#[tokio::test]
async fn s9_sizes_in_an_archive_are_checked() {
    for size in [514, u64::MAX >> 1, u64::MAX] {
        let tar = Tar::new().announced(EntryType::Regular, "a", "", size, b"");
        both(&refused(tar.0).await, "is no tar that can be read: at byte 0, the archive is cut short");
    }
    let pax = Tar::new().member(EntryType::XHeader, "x", "", b"28 size=9223372036854775807\n").file("a", b"");
    both(&refused(pax.bytes()).await, "is no tar that can be read: at byte 1024, the archive is cut short");
    let odd = Tar::new().member(EntryType::XHeader, "x", "", b"11 size=-1\n").file("a", b"");
    both(&refused(odd.bytes()).await, "is no tar that can be read: at byte 0, its size is no number");
    let long = Tar::new().member(EntryType::GNULongName, "x", "", &vec![b'a'; (64 << 10) + 1]).file("a", b"");
    both(&refused(long.bytes()).await, "is no tar that can be read: at byte 0, what extends it is too long");
    let named = Tar::new().member(EntryType::GNULongName, "x", "", &[b'a'; 1025]).file("a", b"");
    let [oci, _] = refused(named.bytes()).await;
    assert!(oci.ends_with("has too long a name"), "{oci}");
    let all = Tar::new().member(EntryType::XGlobalHeader, "x", "", b"10 path=a\n").file("b", b"");
    both(
        &refused(all.bytes()).await,
        "is no tar that can be read: at byte 0, it gives all members one name or size",
    );
}

#[tokio::test]
async fn an_archive_that_is_cut_short_anywhere_is_refused_or_lacks_content() {
    let image = image("a");
    let layout = written(&image, "v1");
    let mut whole = Tar::new();
    for name in ["oci-layout", "index.json"] {
        whole = whole.file(name, &fs::read(layout.path().join(name)).unwrap());
    }
    for digest in image.blobs.iter().map(|blob| blob.descriptor.digest).chain([image.root.digest]) {
        let name = format!("blobs/sha256/{}", digest.hex());
        whole = whole.file(&name, &fs::read(layout.path().join(&name)).unwrap());
    }
    let bytes = whole.bytes();
    let place = folder();
    let path = place.path().join("image.tar");
    let root = Selector::Digest(image.root.digest);
    let mut readable = 0;
    for length in (0..bytes.len()).step_by(128) {
        fs::write(&path, &bytes[..length]).unwrap();
        match oci_archive(&path).await {
            Err(error) => assert!(matches!(error, Error::Invalid { .. }), "{length}: {error}"),
            // Cut between two members, it says nothing of what is missing; who wants that is told.
            Ok(archive) => match archive.manifest(&repository(), &root, 1 << 20).await {
                Ok(manifest) => {
                    assert_eq!(manifest.digest(), image.root.digest);
                    readable += 1;
                }
                Err(error) => assert!(matches!(error, Error::NotFound { .. }), "{length}: {error}"),
            },
        }
    }
    // Only what ends an archive is missing from these.
    assert!(readable <= 12, "{readable}");
    let packed = {
        use std::io::Write as _;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&bytes).unwrap();
        packed.finish().unwrap()
    };
    both(&refused(packed[..packed.len() / 2].to_vec()).await, "is cut short");
    let mut broken = packed.clone();
    broken[packed.len() / 2] ^= 0xff;
    assert!(refused(broken).await[0].starts_with("is no gzip file that can be read"));
}

#[tokio::test]
async fn an_archives_blob_of_another_size_than_announced_is_refused() {
    let digest = Digest::sha256(b"content");
    let name = format!("blobs/sha256/{}", digest.hex());
    let tar = Tar::new()
        .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", br#"{"schemaVersion":2,"manifests":[]}"#)
        .file(&name, b"content and more");
    let place = folder();
    let path = place.path().join("image.tar");
    fs::write(&path, tar.bytes()).unwrap();
    let archive = oci_archive(&path).await.unwrap();
    let there = folder();
    let layout = OciLayout::create(there.path()).await.unwrap();
    let descriptor = Descriptor::new(MediaType::OCI_LAYER, digest, 7);
    let repository = repository();
    let origin = pier_content::Origin { source: &archive, repository: &repository };
    let progress = pier_content::Progress::default();
    let error = layout.upload(&repository, &descriptor, origin, &progress).await.unwrap_err();
    let Error::Size { expected, actual, .. } = error else { panic!("{error}") };
    assert_eq!((expected, actual), (7, 16));
}
