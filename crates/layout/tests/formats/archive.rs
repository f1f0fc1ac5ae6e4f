//! OCI archives: what is written is read again, from files, from streams, packed or not.

use std::fs;
use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};

use pier_content::{Error, Source as _, Subject};
use pier_layout::{
    ArchiveInput, ArchiveOutput, DockerArchiveWriter, OciArchive, OciArchiveWriter, OciLayout, Spool,
};
use pier_testkit::image::BuiltImage;

use crate::work::{
    all_of, copied, folder, image, names_in, nested, oci_archive, output, reason, spool, stored,
    verified_blobs,
};

/// The archive of images, each under its tags.
async fn written(images: &[(&BuiltImage, &[&str])]) -> Vec<u8> {
    let place = folder();
    let path = place.path().join("image.tar");
    let writer = OciArchiveWriter::create(output(&path)).await.unwrap();
    for (image, tags) in images {
        let (source, from) = stored(image).await;
        copied(&source, &from, &writer, tags).await.unwrap();
    }
    assert!(!path.exists(), "nothing is there before the end");
    writer.finish().await.unwrap();
    assert_eq!(names_in(place.path()), ["image.tar"]);
    fs::read(path).unwrap()
}

async fn read(bytes: Vec<u8>) -> OciArchive {
    OciArchive::read(ArchiveInput::Stream(Box::new(Cursor::new(bytes))), spool()).await.unwrap()
}

async fn comes_out(archive: &OciArchive, name: Option<&str>, image: &BuiltImage) {
    let reference = archive.reference(name).await.unwrap();
    assert_eq!(reference.digest, Some(image.root.digest));
    let back = folder();
    let layout = OciLayout::create(back.path()).await.unwrap();
    copied(archive, &reference, &layout, &["v1"]).await.unwrap();
    assert_eq!(verified_blobs(back.path()), all_of(image));
}

#[tokio::test]
async fn what_is_written_is_read_again_from_files_and_streams() {
    let image = nested();
    let bytes = written(&[(&image, &["v1"])]).await;
    comes_out(&read(bytes.clone()).await, Some("v1"), &image).await;

    let place = folder();
    let path = place.path().join("image.tar");
    fs::write(&path, &bytes).unwrap();
    let archive = oci_archive(&path).await.unwrap();
    assert_eq!(archive.name(), format!("oci-archive:{}", path.display()));
    comes_out(&archive, Some("v1"), &image).await;

    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&bytes).unwrap();
    let packed = packed.finish().unwrap();
    comes_out(&read(packed.clone()).await, None, &image).await;
    fs::write(&path, &packed).unwrap();
    comes_out(&oci_archive(&path).await.unwrap(), None, &image).await;
}

#[tokio::test]
async fn the_same_images_make_the_same_archive() {
    let (one, two) = (image("one"), nested());
    let images: &[(&BuiltImage, &[&str])] = &[(&one, &["one", "uno"]), (&two, &["two"])];
    let bytes = written(images).await;
    assert!(written(images).await == bytes);
    let archive = read(bytes.clone()).await;
    let names: Vec<String> =
        archive.entries().await.unwrap().into_iter().flat_map(|entry| entry.names).collect();
    assert_eq!(names, ["one", "uno", "two"]);
    comes_out(&archive, Some("uno"), &one).await;
    comes_out(&archive, Some("two"), &two).await;

    let mut tar = tar::Archive::new(Cursor::new(bytes));
    let entries: Vec<(String, u64, u32)> = tar
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            (entry.path().unwrap().display().to_string(), header.mtime().unwrap(), header.mode().unwrap())
        })
        .collect();
    let first: Vec<&str> = entries.iter().take(4).map(|(name, ..)| name.as_str()).collect();
    assert_eq!(first, ["oci-layout", "index.json", "blobs/", "blobs/sha256/"]);
    assert!(entries[4..].is_sorted());
    assert!(
        entries
            .iter()
            .all(|(name, time, mode)| (*time, *mode) == (0, if name.ends_with('/') { 0o755 } else { 0o644 }))
    );
}

#[tokio::test]
async fn an_image_without_a_tag_is_the_one_image() {
    let image = image("a");
    let archive = read(written(&[(&image, &[])]).await).await;
    assert_eq!(archive.entries().await.unwrap()[0].names, [""; 0]);
    comes_out(&archive, None, &image).await;
}

#[tokio::test]
async fn names_by_sha512_are_longer_than_a_tars_and_come_back() {
    let image = pier_testkit::image::ImageBuilder::new().algorithm(pier_oci::Algorithm::Sha512).build();
    comes_out(&read(written(&[(&image, &["v1"])]).await).await, Some("v1"), &image).await;
}

/// A stream that keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn streams_get_the_same_bytes_and_nothing_before_the_end() {
    let image = nested();
    let (staging, kept) = (folder(), Kept::default());
    let to = ArchiveOutput::Stream { writer: Box::new(kept.clone()), staging: staging.path().to_owned() };
    let writer = OciArchiveWriter::create(to).await.unwrap();
    let (source, from) = stored(&image).await;
    copied(&source, &from, &writer, &["v1"]).await.unwrap();
    assert_eq!(kept.0.lock().unwrap().len(), 0);
    writer.finish().await.unwrap();
    let expected = written(&[(&image, &["v1"])]).await;
    assert!(*kept.0.lock().unwrap() == expected);
    assert_eq!(names_in(staging.path()), [""; 0]);
}

#[tokio::test]
async fn an_archive_that_is_given_up_leaves_the_old_one() {
    let place = folder();
    let path = place.path().join("image.tar");
    fs::write(&path, "old").unwrap();
    let writer = OciArchiveWriter::create(output(&path)).await.unwrap();
    let (source, from) = stored(&image("a")).await;
    copied(&source, &from, &writer, &["v1"]).await.unwrap();
    drop(writer);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    let empty = OciArchiveWriter::create(output(&path)).await.unwrap();
    assert_eq!(reason(empty.finish().await), "nothing was put into the archive");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names_in(place.path()), ["image.tar"]);
}

#[tokio::test]
async fn only_files_are_replaced() {
    let place = folder();
    let create = |name: &str| OciArchiveWriter::create(output(&place.path().join(name)));
    fs::create_dir(place.path().join("folder")).unwrap();
    assert_eq!(reason(create("folder").await), "is a folder");
    // As root, a file in place of `/dev/stdout` would break the machine.
    std::os::unix::fs::symlink("/dev/null", place.path().join("device")).unwrap();
    assert_eq!(
        reason(create("device").await),
        "is neither a file nor a folder; standard output is written `-`"
    );

    let elsewhere = folder();
    let file = elsewhere.path().join("image.tar");
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, place.path().join("link")).unwrap();
    let writer = create("link").await.unwrap();
    let image = image("a");
    let (source, from) = stored(&image).await;
    copied(&source, &from, &writer, &["v1"]).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(fs::read_link(place.path().join("link")).unwrap(), file);
    comes_out(&oci_archive(&file).await.unwrap(), Some("v1"), &image).await;
}

#[tokio::test]
async fn a_spool_has_its_limit() {
    let bytes = written(&[(&image("a"), &["v1"])]).await;
    let limit = bytes.len() as u64 - 1;
    let spool = Spool { folder: std::env::temp_dir(), limit };
    let error =
        OciArchive::read(ArchiveInput::Stream(Box::new(Cursor::new(bytes))), spool).await.unwrap_err();
    let Error::Size { subject, expected, actual, .. } = error else { panic!("{error}") };
    assert_eq!((subject, expected, actual), (Subject::File("-".into()), limit, limit + 1));
}

#[tokio::test]
async fn archives_of_another_kind_are_told_apart() {
    let place = folder();
    let path = place.path().join("image.tar");
    let writer = DockerArchiveWriter::create(output(&path)).await.unwrap();
    let (source, from) = stored(&image("a")).await;
    copied(&source, &from, &writer, &["v1"]).await.unwrap();
    writer.finish().await.unwrap();
    // It is both.
    comes_out(&oci_archive(&path).await.unwrap(), Some("registry.example/team/app:v1"), &image("a")).await;

    for (magic, name) in
        [(&[0x28, 0xb5, 0x2f, 0xfd][..], "zstd"), (b"BZh91AY", "bzip2"), (b"\xfd7zXZ\0", "xz")]
    {
        fs::write(&path, magic).unwrap();
        let expected = format!("is compressed with {name}; only gzip and plain tar are read here");
        assert_eq!(reason(oci_archive(&path).await), expected);
    }
    fs::write(&path, "").unwrap();
    assert_eq!(reason(oci_archive(&path).await), "is no OCI layout: it has no `oci-layout`");
    assert_eq!(reason(oci_archive(place.path()).await), "is a folder and no archive");
}
