//! Built images are what they say: right digests, the same bytes every time, and lies that are caught where they should be.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;
use std::process::Command;

use pier_oci::{Algorithm, Digest, ManifestError, MediaType, View};
use pier_testkit::engine::Skopeo;
use pier_testkit::image::{
    self, BuiltImage, Content, Format, GREETING, Hostile, ImageBuilder, IndexBuilder, Layer, Packing, Tree,
};
use pier_testkit::skip::or_skip;

fn small(packing: Packing) -> Layer {
    Tree::new()
        .folder("etc")
        .file("etc/motd", "hello")
        .program("bin/run", "#!/bin/sh\n")
        .link("motd", "etc/motd")
        .whiteout("etc/shadow")
        .pack(packing)
}

/// Every descriptor is right about its content, and each manifest names only what comes before it.
#[track_caller]
fn assert_sound(image: &BuiltImage) {
    let mut known = HashSet::new();
    for blob in &image.blobs {
        let descriptor = &blob.descriptor;
        let measured = blob.content.measure(descriptor.digest.algorithm()).unwrap();
        assert_eq!(measured, (descriptor.digest, descriptor.size));
        assert!(known.insert(descriptor.digest), "{} is there twice", descriptor.digest);
    }
    for manifest in &image.manifests {
        let parsed = manifest.parse().unwrap();
        assert_eq!(parsed.size(), manifest.descriptor.size);
        assert_eq!(*parsed.media_type(), manifest.descriptor.media_type);
        assert!(parsed.children().all(|(_, child)| known.contains(&child.digest)));
        assert!(known.insert(parsed.digest()), "{} is there twice", parsed.digest());
    }
    assert_eq!(image.manifests.last().unwrap().descriptor.digest, image.root.digest);
}

fn unpacked(layer: &Layer, packing: Packing) -> Vec<u8> {
    let bytes = layer.content().bytes().unwrap();
    let mut tar = Vec::new();
    match packing {
        Packing::Tar => tar = bytes.to_vec(),
        Packing::Gzip => drop(flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut tar).unwrap()),
        Packing::Zstd => tar = zstd::decode_all(&bytes[..]).unwrap(),
    }
    tar
}

#[test]
fn layers_hold_their_files_whatever_they_are_packed_in() {
    for packing in [Packing::Tar, Packing::Gzip, Packing::Zstd] {
        let layer = small(packing);
        let tar = unpacked(&layer, packing);
        assert_eq!(Digest::sha256(&tar), layer.diff_id());
        let mut archive = tar::Archive::new(&tar[..]);
        let entries: Vec<(String, u32, u64, Vec<u8>)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                let header = entry.header();
                let path = entry.path().unwrap().display().to_string();
                (path, header.mode().unwrap(), header.mtime().unwrap(), content)
            })
            .collect();
        let expected = [
            ("etc", 0o755, ""),
            ("etc/motd", 0o644, "hello"),
            ("bin/run", 0o755, "#!/bin/sh\n"),
            ("motd", 0o777, ""),
            ("etc/.wh.shadow", 0o644, ""),
        ];
        let expected =
            expected.map(|(path, mode, content)| (path.to_owned(), mode, 0, content.as_bytes().to_vec()));
        assert_eq!(entries, expected);
    }
}

#[test]
fn the_same_calls_give_the_same_digest() {
    let image = || ImageBuilder::new().layer(small(Packing::Gzip)).layer(small(Packing::Zstd)).build();
    assert_eq!(image().root.digest, image().root.digest);
    assert_eq!(Layer::random(7, 1000).diff_id(), Layer::random(7, 1000).diff_id());
    assert_ne!(Layer::random(7, 1000).diff_id(), Layer::random(8, 1000).diff_id());
}

#[test]
fn images_are_sound_in_every_format_and_algorithm() {
    for format in [Format::Oci, Format::Docker] {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut builder = ImageBuilder::new().format(format).algorithm(algorithm).annotation("a", "b");
            for packing in [Packing::Tar, Packing::Gzip, Packing::Zstd] {
                builder = builder.layer(small(packing));
            }
            let image = builder.platform("linux", "arm", Some("v7")).layer(Layer::random(1, 70_000)).build();
            assert_sound(&image);
            assert_eq!(image.root.digest.algorithm(), algorithm);
            assert_eq!(image.root.platform.as_ref().unwrap().to_string(), "linux/arm/v7");
            assert_eq!(image.blobs.len(), 5);
            let View::Image(parsed) = image.manifests[0].parse().unwrap().view().clone() else { panic!() };
            assert_eq!(parsed.annotations, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        }
    }
}

#[test]
fn an_index_has_its_children_once_and_before_it() {
    let image = |architecture| {
        ImageBuilder::new().platform("linux", architecture, None).layer(small(Packing::Gzip)).build()
    };
    let (amd64, arm64) = (image("amd64"), image("arm64"));
    let inner = IndexBuilder::new().child(&amd64).child(&arm64).attestation(&amd64).build();
    let outer = IndexBuilder::new().child(&inner).child(&amd64).annotation("a", "b").build();
    assert_sound(&outer);
    // Two images, an attestation, two indexes; two configs over one layer, a config and a statement.
    assert_eq!((outer.manifests.len(), outer.blobs.len()), (5, 5));

    let View::Index(index) = inner.manifests.last().unwrap().parse().unwrap().view().clone() else {
        panic!()
    };
    let attestation = &index.manifests[2];
    assert_eq!(attestation.platform.as_ref().unwrap().to_string(), "unknown/unknown");
    assert_eq!(attestation.annotations["vnd.docker.reference.type"], "attestation-manifest");
    assert_eq!(attestation.annotations["vnd.docker.reference.digest"], amd64.root.digest.to_string());
}

#[test]
fn artifacts_name_their_subject_and_type() {
    let image = ImageBuilder::new().build();
    let artifact = ImageBuilder::new()
        .artifact_type("application/vnd.example")
        .subject(&image.root)
        .layer(Layer::random(1, 10))
        .build();
    assert_sound(&artifact);
    let parsed = artifact.manifests[0].parse().unwrap();
    assert_eq!(parsed.subject().unwrap().digest, image.root.digest);
    assert_eq!(parsed.artifact_type(), Some("application/vnd.example"));
    assert_eq!(artifact.blobs[0].descriptor.media_type, MediaType::OCI_EMPTY);
}

#[test]
fn hostile_images_are_caught_where_they_should_be() {
    for hostile in Hostile::ALL {
        let image = hostile.build();
        let parsed = image.manifests.last().unwrap().parse();
        match hostile {
            Hostile::LayersAndManifests => {
                assert!(matches!(parsed, Err(ManifestError::Confused { .. })), "{parsed:?}");
            }
            Hostile::DuplicateKey => {
                assert!(matches!(parsed, Err(ManifestError::Malformed { .. })), "{parsed:?}");
            }
            Hostile::Oversize => {
                assert_eq!(parsed, Err(ManifestError::TooLarge { found: (4 << 20) + 1 }));
            }
            Hostile::WrongManifest => {
                assert!(matches!(parsed, Err(ManifestError::Mismatch { .. })), "{parsed:?}");
            }
            Hostile::NoMediaType | Hostile::DuplicateLayers | Hostile::DeepNesting => assert_sound(&image),
            Hostile::WrongLayer | Hostile::LongLayer | Hostile::ShortLayer | Hostile::LyingSize => {
                let layer = &image.blobs[1];
                let described = parsed.unwrap().children().nth(1).unwrap().1.clone();
                let measured = layer.content.measure(Algorithm::Sha256).unwrap();
                assert_ne!(measured, (described.digest, described.size), "{hostile:?} tells the truth");
            }
            other => panic!("{other:?} has no expectation"),
        }
    }
}

#[test]
fn a_real_folder_goes_through_a_file_and_keeps_its_tree() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    std::fs::create_dir(at("sub")).unwrap();
    std::fs::write(at("sub/b"), vec![7; 100_000]).unwrap();
    std::fs::write(at("a"), "first").unwrap();
    std::os::unix::fs::symlink("a", at("link")).unwrap();
    let image = image::from_folder(folder.path()).unwrap();
    assert_sound(&image);
    assert_eq!(image::from_folder(folder.path()).unwrap().root.digest, image.root.digest);

    let layer = &image.blobs[1];
    let Content::File(path) = &layer.content else { panic!("{:?}", layer.content) };
    let path = path.to_path_buf();
    let tar = flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap());
    let target = tempfile::tempdir().unwrap();
    tar::Archive::new(tar).unpack(target.path()).unwrap();
    assert_eq!(std::fs::read(target.path().join("sub/b")).unwrap(), vec![7; 100_000]);
    assert_eq!(std::fs::read_link(target.path().join("link")).unwrap().to_str(), Some("a"));
    assert_eq!(std::fs::read(target.path().join("a")).unwrap(), b"first");
    drop(image);
    assert!(!path.exists(), "the temporary file stays");
}

#[test]
fn a_folder_is_cut_at_the_bytes_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        std::fs::write(folder.path().join(name), vec![7; 1000]).unwrap();
    }
    let layer = Layer::from_folder(folder.path(), 1500, Packing::Tar).unwrap();
    let tar = layer.content().bytes().unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn skopeo_reads_the_layout() {
    let Some(skopeo) = or_skip(Skopeo::find()) else { return };
    let layer = small(Packing::Gzip);
    let image = ImageBuilder::new().layer(layer).layer(Layer::random(3, 1000)).build();
    let folder = tempfile::tempdir().unwrap();
    image.write_oci_layout(folder.path(), "v1").unwrap();
    let source = format!("oci:{}:v1", folder.path().display());
    let manifest = skopeo.run(&["inspect", "--raw", &source]).unwrap().stdout;
    assert_eq!(manifest, image.manifests[0].bytes);
    let copy = tempfile::tempdir().unwrap();
    let target = format!("dir:{}", copy.path().display());
    skopeo.run(&["copy", "--preserve-digests", &source, &target]).unwrap();
    for blob in &image.blobs {
        let bytes = std::fs::read(copy.path().join(blob.descriptor.digest.hex())).unwrap();
        assert_eq!(bytes, blob.content.bytes().unwrap());
    }
}

#[test]
fn the_busybox_image_has_its_links() {
    let Some(image) = or_skip(image::busybox()) else { return };
    assert_sound(&image);
    let folder = tempfile::tempdir().unwrap();
    let bytes = image.blobs[1].content.bytes().unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..])).unpack(folder.path()).unwrap();
    let said = Command::new(folder.path().join("bin/echo")).arg(GREETING.trim_end()).output().unwrap();
    assert_eq!(String::from_utf8(said.stdout).unwrap(), GREETING);
}
