//! The images that are moved: few large layers, many middling ones, many small images, many tags.
//!
//! Layers begin as gzip does, as real ones do: some clients compress what they take for uncompressed.

use std::fmt;
use std::net::SocketAddr;

use anyhow::Context as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::super::content::{Content, GZIP, MIB, digest};
use super::super::load::Connection;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Bytes in the layer of a small image.
const SMALL: usize = 2 << 10;

/// How much of everything there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Of the one large layer.
    pub(super) large_mebibytes: usize,
    /// Of each of many layers.
    pub(super) middling_mebibytes: usize,
    pub(super) layers: usize,
    pub(super) small_images: usize,
    pub(super) tags: usize,
}

/// An image as all clients name it.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) registry: SocketAddr,
    pub(super) repository: &'static str,
    pub(super) tag: String,
}

/// What a registry has been given.
#[derive(Debug)]
pub(super) struct Images {
    pub(super) large: Name,
    pub(super) layered: Name,
    /// Tags of one repository, each another image.
    pub(super) small: Vec<Name>,
    /// Tags of one repository, each another manifest.
    pub(super) tags: Vec<Name>,
    /// What the large image's manifest hashes to.
    pub(super) large_digest: String,
    /// The path of the large layer's content.
    pub(super) large_layer: String,
}

/// Content that a manifest names.
struct Part {
    digest: String,
    size: usize,
}

impl Name {
    fn new(registry: SocketAddr, repository: &'static str, tag: impl Into<String>) -> Self {
        Self { registry, repository, tag: tag.into() }
    }

    /// The same name at another registry.
    pub(super) fn at(&self, registry: SocketAddr) -> Self {
        Self { registry, ..self.clone() }
    }

    pub(super) fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

impl Images {
    pub(super) fn push(registry: SocketAddr, sizes: Sizes) -> anyhow::Result<Self> {
        let mut connection = Connection::open(registry)?;
        let large = Name::new(registry, "bench/large", "1");
        let layer = push_layers(&mut connection, large.repository, sizes.large_mebibytes, 1)?;
        let large_digest = push_image(&mut connection, &large, &layer)?;
        let large_layer =
            layer.first().map(|layer| format!("/v2/{}/blobs/{}", large.repository, layer.digest));

        let layered = Name::new(registry, "bench/layered", "1");
        let layers =
            push_layers(&mut connection, layered.repository, sizes.middling_mebibytes, sizes.layers)?;
        push_image(&mut connection, &layered, &layers)?;

        let small: Vec<Name> = (0..sizes.small_images)
            .map(|number| Name::new(registry, "bench/small", number.to_string()))
            .collect();
        for name in &small {
            let layer = small_layer(&mut connection, name)?;
            push_image(&mut connection, name, &[layer])?;
        }

        let tags: Vec<Name> =
            (0..sizes.tags).map(|number| Name::new(registry, "bench/tags", number.to_string())).collect();
        for name in &tags {
            push_image(&mut connection, name, &[])?;
        }
        let large_layer = large_layer.context("one layer was pushed")?;
        Ok(Self { large, layered, small, tags, large_digest, large_layer })
    }
}

fn push_layers(
    connection: &mut Connection,
    repository: &str,
    mebibytes: usize,
    count: usize,
) -> anyhow::Result<Vec<Part>> {
    let content = Content::new(mebibytes);
    let layers = (0..count).map(|number| {
        let blob = content.blob(number as u64);
        connection.push(repository, &blob, |_| Ok(()))?;
        Ok(Part { digest: blob.digest().to_owned(), size: mebibytes * MIB })
    });
    layers.collect()
}

fn small_layer(connection: &mut Connection, name: &Name) -> anyhow::Result<Part> {
    let mut bytes = GZIP.to_vec();
    bytes.extend_from_slice(name.tag.as_bytes());
    bytes.resize(SMALL, 0);
    Ok(Part { digest: connection.push_small(name.repository, &bytes)?, size: bytes.len() })
}

/// Pushes a config of its own and the manifest. Gives the manifest's digest.
fn push_image(connection: &mut Connection, name: &Name, layers: &[Part]) -> anyhow::Result<String> {
    // What a layer unpacks to is not looked at by whoever only moves it.
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Labels": {"name": name.tag}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let config = Part { digest: connection.push_small(name.repository, &config)?, size: config.len() };
    let layers: Vec<_> = layers.iter().map(|layer| layer.descriptor(LAYER)).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(CONFIG),
        "layers": layers,
    });
    let path = format!("/v2/{}/manifests/{}", name.repository, name.tag);
    let manifest = manifest.to_string().into_bytes();
    connection.put(&path, MANIFEST, &manifest)?;
    Ok(digest(Sha256::new_with_prefix(manifest)))
}

impl Part {
    fn descriptor(&self, media_type: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.size})
    }
}

/// As images call the architecture that this machine has.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
