//! Docker archives: what stands in them, as others make them and as they are written here.

use std::fs;
use std::path::PathBuf;

use pier_content::{Error, Source as _};
use pier_layout::{DockerArchiveWriter, OciLayout};
use pier_oci::{Digest, MediaType, Selector, View};
use pier_testkit::image::{Format, ImageBuilder, Packing, Tree};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hostile::Tar;
use crate::work::{
    all_of, copied, copied_as, docker_archive, flat, folder, image, output, reason, reference, repository,
    stored, verified_blobs,
};

/// A tar of two layers and a config as Docker before 25 wrote it: the second image's lower layer is a link to the first's.
struct Old {
    base: Vec<u8>,
    one: Vec<u8>,
    two: Vec<u8>,
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::sha256(layer)).collect();
    json!({ "os": "linux", "architecture": "arm64", "variant": "v8", "rootfs": { "type": "layers", "diff_ids": diff_ids } })
        .to_string()
        .into_bytes()
}

fn layer(name: &str) -> Vec<u8> {
    Tree::new().file(name, name.to_owned()).pack(Packing::Tar).content().bytes().unwrap().to_vec()
}

impl Old {
    fn new() -> Self {
        Self { base: layer("base"), one: layer("one"), two: layer("two") }
    }

    fn configs(&self) -> [Vec<u8>; 2] {
        [config(&[&self.base, &self.one]), config(&[&self.base, &self.two])]
    }

    fn tar(&self) -> Tar {
        let [one, two] = self.configs();
        let name = |config: &[u8]| format!("{}.json", Digest::sha256(config).hex());
        let list = json!([
            { "Config": name(&one), "RepoTags": ["one:1", "registry.example:5000/one:stable"], "Layers": ["a/layer.tar", "b/layer.tar"] },
            { "Config": name(&two), "RepoTags": null, "Layers": ["c/layer.tar", "d/layer.tar"] },
        ]);
        Tar::new()
            .file("a/layer.tar", &self.base)
            .file("a/VERSION", b"1.0")
            .file("b/layer.tar", &self.one)
            .link("c/layer.tar", "../a/layer.tar")
            .file("d/layer.tar", &self.two)
            .file(&name(&one), &one)
            .file(&name(&two), &two)
            .file("repositories", b"{}")
            .file("manifest.json", list.to_string().as_bytes())
    }
}

fn on_disk(tar: Tar) -> (TempDir, PathBuf) {
    let place = folder();
    let path = place.path().join("image.tar");
    fs::write(&path, tar.bytes()).unwrap();
    (place, path)
}

#[tokio::test]
async fn images_get_the_same_manifest_every_time() {
    let old = Old::new();
    let (_place, path) = on_disk(old.tar());
    let archive = docker_archive(&path).await.unwrap();
    let entries = archive.entries().await.unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].names, ["one:1", "registry.example:5000/one:stable"]);
    assert_eq!(entries[1].names, [""; 0]);
    assert_eq!(
        entries[0].descriptor.platform.as_ref().unwrap().to_string(),
        "linux/arm64",
        "v8 is what arm64 means"
    );

    let [id, other] = old.configs().map(|config| Digest::sha256(&config));
    let of = |name: &str| {
        let (archive, name) = (archive.clone(), name.to_owned());
        async move { archive.reference(Some(&name)).await.unwrap().digest.unwrap() }
    };
    let one = of("one:1").await;
    for name in [
        "docker.io/library/one:1",
        "registry.example:5000/one:stable",
        "stable",
        "1",
        &id.to_string(),
        &one.to_string(),
    ] {
        assert_eq!(of(name).await, one, "{name}");
    }
    assert_ne!(of(&other.to_string()).await, one);
    let Err(Error::Ambiguous { .. }) = archive.reference(None).await else { panic!() };
    assert_eq!(archive.reference(Some("nothing")).await.unwrap_err().code(), "no-such-image");

    let manifest = archive.manifest(&repository(), &Selector::Digest(one), 1 << 20).await.unwrap();
    let described = |kind: MediaType, bytes: &[u8]| json!({ "mediaType": kind, "digest": Digest::sha256(bytes), "size": bytes.len() });
    let expected = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": described(MediaType::OCI_CONFIG, &old.configs()[0]),
        "layers": [described(MediaType::OCI_LAYER, &old.base), described(MediaType::OCI_LAYER, &old.one)],
    });
    assert_eq!(serde_json::from_slice::<Value>(manifest.bytes()).unwrap(), expected);
    let again = docker_archive(&path).await.unwrap();
    assert_eq!(again.entries().await.unwrap(), entries);
}

#[tokio::test]
async fn layers_that_are_links_to_others_are_read() {
    let old = Old::new();
    let (_place, path) = on_disk(old.tar());
    let archive = docker_archive(&path).await.unwrap();
    let id = Digest::sha256(&old.configs()[1]);
    let reference = archive.reference(Some(&id.to_string())).await.unwrap();
    let back = folder();
    let layout = OciLayout::create(back.path()).await.unwrap();
    copied(&archive, &reference, &layout, &["two"]).await.unwrap();
    let blobs = verified_blobs(back.path());
    assert_eq!(blobs.len(), 4);
    for part in [&old.base, &old.two, &old.configs()[1]] {
        assert!(blobs.contains_key(&Digest::sha256(part)));
    }
}

#[tokio::test]
async fn a_config_that_is_not_what_its_name_says_is_refused() {
    let config = config(&[]);
    let name = format!("{}.json", Digest::sha256(b"another").hex());
    for place in [name.clone(), format!("blobs/sha256/{}", Digest::sha256(b"another").hex())] {
        let list = json!([{ "Config": place, "RepoTags": [], "Layers": [] }]).to_string();
        let (_place, path) = on_disk(Tar::new().file(&place, &config).file("manifest.json", list.as_bytes()));
        let error = docker_archive(&path).await.unwrap_err();
        let Error::Integrity { expected, actual, .. } = error else { panic!("{error}") };
        assert_eq!((expected, actual), (Digest::sha256(b"another"), Digest::sha256(&config)));
    }
}

#[tokio::test]
async fn a_layer_that_is_not_its_diff_id_is_refused_when_it_is_read() {
    let (right, wrong) = (layer("right"), layer("wrong"));
    assert_eq!(right.len(), wrong.len());
    let config = config(&[&right]);
    let list = json!([{ "Config": "config", "Layers": ["layer"] }]).to_string();
    let tar = Tar::new().file("config", &config).file("layer", &wrong).file("manifest.json", list.as_bytes());
    let (_place, path) = on_disk(tar);
    let archive = docker_archive(&path).await.unwrap();
    let back = folder();
    let layout = OciLayout::create(back.path()).await.unwrap();
    let error =
        copied(&archive, &archive.reference(None).await.unwrap(), &layout, &["v1"]).await.unwrap_err();
    let Error::Integrity { expected, actual, .. } = error else { panic!("{error}") };
    assert_eq!((expected, actual), (Digest::sha256(&right), Digest::sha256(&wrong)));
    assert_eq!(layout.entries().await.unwrap(), []);
}

async fn refused(list: &Value, config: &[u8]) -> String {
    let (_place, path) =
        on_disk(Tar::new().file("config", config).file("manifest.json", list.to_string().as_bytes()));
    reason(docker_archive(&path).await)
}

#[tokio::test]
async fn what_is_listed_has_to_be_in_the_archive() {
    let good = config(&[]);
    let one = |config: &str, layers: &[&str]| json!([{ "Config": config, "Layers": layers }]);
    assert_eq!(refused(&one("absent", &[]), &good).await, "`absent` is not in the archive");
    assert_eq!(refused(&one("../config", &[]), &good).await, "the name `../config` leads out of its folder");
    assert_eq!(refused(&one("/config", &[]), &good).await, "the name `/config` is absolute");
    assert_eq!(refused(&one("config", &["config"]), &good).await, "names 0 layers, `manifest.json` names 1");
    let layered = config(&[b"layer"]);
    assert_eq!(refused(&one("config", &["absent"]), &layered).await, "`absent` is not in the archive");
    assert!(
        refused(&one("config", &[]), b"{}").await.starts_with("is no image's config: missing field `rootfs`")
    );
    assert!(refused(&json!({}), &good).await.contains("expected a sequence"));
    let twice = json!([{ "Config": "config", "config": "config" }]);
    assert!(refused(&twice, &good).await.contains("some readers take the member"));
    let (_place, path) = on_disk(Tar::new().file("x", b"x"));
    assert_eq!(reason(docker_archive(&path).await), "is no Docker archive: it has no `manifest.json`");
}

#[tokio::test]
async fn archives_that_are_written_are_read_again_with_their_layers_as_they_were() {
    // OCI's and Docker's own types, packed and not.
    for format in [Format::Oci, Format::Docker] {
        let tree = |name: &str| Tree::new().file(name, name.to_owned());
        let image = ImageBuilder::new()
            .format(format)
            .layer(tree("a").pack(Packing::Tar))
            .layer(tree("b").pack(Packing::Gzip))
            .layer(tree("c").pack(Packing::Zstd))
            .build();
        let (source, from) = stored(&image).await;
        let place = folder();
        let path = place.path().join("image.tar");
        for _ in 0..2 {
            let before = fs::read(&path).ok();
            let writer = DockerArchiveWriter::create(output(&path)).await.unwrap();
            copied_as(&source, &from, &writer, &reference("alpine").repository, &["1", "2"]).await.unwrap();
            writer.finish().await.unwrap();
            assert!(before.is_none_or(|before| before == fs::read(&path).unwrap()), "it is deterministic");
        }
        let archive = docker_archive(&path).await.unwrap();
        let entries = archive.entries().await.unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].names, ["docker.io/library/alpine:1", "docker.io/library/alpine:2"]);
        let found = archive.reference(Some("alpine:2")).await.unwrap();
        let manifest = archive.manifest(&repository(), &found.selector(), 1 << 20).await.unwrap();
        let View::Image(read) = manifest.view() else { panic!() };
        let digests: Vec<Digest> =
            std::iter::once(&read.config).chain(&read.layers).map(|child| child.digest).collect();
        let expected: Vec<Digest> = image.blobs.iter().map(|blob| blob.descriptor.digest).collect();
        assert_eq!(digests, expected);
        let types: Vec<MediaType> = read.layers.iter().map(|layer| layer.media_type.clone()).collect();
        assert_eq!(types, [MediaType::OCI_LAYER, MediaType::OCI_LAYER_GZIP, MediaType::OCI_LAYER_ZSTD]);
        let back = folder();
        copied(&archive, &found, &OciLayout::create(back.path()).await.unwrap(), &["v1"]).await.unwrap();
        let blobs = verified_blobs(back.path());
        assert!(image.blobs.iter().all(|blob| blobs.contains_key(&blob.descriptor.digest)));
        if format == Format::Oci {
            // The manifest that the image had: everything of it is there, so it is made again.
            assert_eq!(blobs.len(), all_of(&image).len());
        }
    }
}

#[tokio::test]
async fn several_images_are_collected_and_names_move() {
    let (one, two) = (image("one"), image("two"));
    let place = folder();
    let path = place.path().join("image.tar");
    let writer = DockerArchiveWriter::create(output(&path)).await.unwrap();
    for (image, tags) in [(&one, &["a", "b"][..]), (&two, &["b"]), (&one, &["c"]), (&two, &[])] {
        let (source, from) = stored(image).await;
        copied(&source, &from, &writer, tags).await.unwrap();
    }
    writer.finish().await.unwrap();
    let archive = docker_archive(&path).await.unwrap();
    let names: Vec<Vec<String>> =
        archive.entries().await.unwrap().into_iter().map(|entry| entry.names).collect();
    let name = |tag: &str| format!("registry.example/team/app:{tag}");
    assert_eq!(names, [vec![name("a"), name("c")], vec![name("b")]]);
}

#[tokio::test]
async fn an_index_cannot_be_written() {
    let image = flat();
    let (source, from) = stored(&image).await;
    let place = folder();
    let path = place.path().join("image.tar");
    let writer = DockerArchiveWriter::create(output(&path)).await.unwrap();
    let error = copied(&source, &from, &writer, &["v1"]).await.unwrap_err();
    assert_eq!(
        (error.code(), error.hint().as_deref()),
        ("single-platform", Some("choose one platform with `--platform`"))
    );
    let artifact = ImageBuilder::new().artifact_type("application/vnd.example").build();
    let (source, from) = stored(&artifact).await;
    assert_eq!(
        reason(copied(&source, &from, &writer, &["v1"]).await),
        format!(
            "`{}` is no image but an artifact with a `application/vnd.oci.empty.v1+json`",
            artifact.root.digest
        )
    );
}

#[tokio::test]
async fn nothing_is_written_of_nothing() {
    let place = folder();
    let path = place.path().join("image.tar");
    let writer = DockerArchiveWriter::create(output(&path)).await.unwrap();
    assert_eq!(reason(writer.finish().await), "nothing was put into the archive");
    assert!(!path.exists());
}
