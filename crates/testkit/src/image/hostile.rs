//! What nobody should send, and somebody will.
//!
//! Each is an image that a careless reader takes for a good one. What has to happen to it stands at its name: a test that pushes all of
//! them asserts that, and no more.

use bytes::Bytes;
use pier_oci::{Algorithm, Digest, MediaType};
use serde_json::{Value, json};

use super::layer::random;
use super::single::{blob, written};
use super::{BuiltBlob, BuiltImage, Content, ImageBuilder, Layer};

/// A way to be hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hostile {
    /// A document with `layers` and `manifests`, an image to one reader and an index to another (CVE-2021-41190). Not a manifest.
    LayersAndManifests,
    /// A config that comes twice, of which readers take the first or the last. Not a manifest.
    DuplicateKey,
    /// Beside what has a meaning, arrays in arrays, deep enough for the stack of a reader that recurses. Passed over, or not a manifest.
    DeepNesting,
    /// One byte more than a manifest may have. Not a manifest.
    Oversize,
    /// The manifest is other than its digest says. Fails its digest.
    WrongManifest,
    /// A layer's bytes are others than its digest says, as many as were announced. Fails its digest.
    WrongLayer,
    /// A layer has a byte more than its descriptor says. Fails its size, or its digest when cut to it.
    LongLayer,
    /// A layer has a byte less than its descriptor says. Never comes to its end.
    ShortLayer,
    /// The manifest says of a right layer that it is a byte longer. The manifest is refused for the size.
    LyingSize,
    /// No `mediaType`, which OCI allows: the declared type decides. Good.
    NoMediaType,
    /// The same layer three times, as builders write empty layers. Good.
    DuplicateLayers,
}

impl Hostile {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::LayersAndManifests,
        Self::DuplicateKey,
        Self::DeepNesting,
        Self::Oversize,
        Self::WrongManifest,
        Self::WrongLayer,
        Self::LongLayer,
        Self::ShortLayer,
        Self::LyingSize,
        Self::NoMediaType,
        Self::DuplicateLayers,
    ];

    /// The image.
    pub fn build(self) -> BuiltImage {
        let layer = Layer::random(1, LAYER);
        let honest = ImageBuilder::new().layer(layer.clone()).build();
        match self {
            Self::LayersAndManifests => {
                rewritten(&honest, |document| document["manifests"] = json!([honest.root]))
            }
            Self::DuplicateKey => {
                let other = blob(MediaType::OCI_CONFIG, Content::Memory("{}".into()), Algorithm::Sha256);
                let text = text_of(&honest);
                let second = json!(other.descriptor);
                let twice = format!("{{\"config\":{second},{}", text.strip_prefix('{').unwrap_or(&text));
                let mut image = with_root(&honest, twice.into());
                image.blobs.push(other);
                image
            }
            Self::DeepNesting => {
                const DEPTH: usize = 100_000;
                let text = text_of(&honest);
                let nested = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
                let deep = format!("{{\"deep\":{nested},{}", text.strip_prefix('{').unwrap_or(&text));
                with_root(&honest, deep.into())
            }
            Self::Oversize => {
                let mut text = text_of(&honest);
                let limit = usize::try_from(pier_oci::MAX_MANIFEST_BYTES).unwrap_or(usize::MAX - 1);
                text.push_str(&" ".repeat(limit + 1 - text.len()));
                with_root(&honest, text.into())
            }
            Self::WrongManifest => {
                let mut image = honest;
                for manifest in &mut image.manifests {
                    let digest = Digest::sha256(b"another manifest");
                    manifest.descriptor.digest = digest;
                    image.root.digest = digest;
                }
                image
            }
            Self::WrongLayer => with_layer(honest, &random(2, LAYER)),
            Self::LongLayer => with_layer(honest, &random(1, LAYER + 1)),
            Self::ShortLayer => with_layer(honest, &random(1, LAYER - 1)),
            Self::LyingSize => {
                rewritten(&honest, |document| document["layers"][0]["size"] = json!(LAYER + 1))
            }
            Self::NoMediaType => rewritten(&honest, |document| {
                document.as_object_mut().map(|members| members.remove("mediaType"));
            }),
            Self::DuplicateLayers => {
                ImageBuilder::new().layer(layer.clone()).layer(layer.clone()).layer(layer).build()
            }
        }
    }
}

/// Bytes of the layer. Of one seed a shorter content is the beginning of a longer one.
const LAYER: usize = 5000;

fn text_of(image: &BuiltImage) -> String {
    let root = image.manifests.last().map(|manifest| manifest.bytes.clone()).unwrap_or_default();
    String::from_utf8_lossy(&root).into_owned()
}

/// The image with another document under its own, right digest.
fn rewritten(image: &BuiltImage, change: impl FnOnce(&mut Value)) -> BuiltImage {
    let mut document = serde_json::from_str(&text_of(image)).unwrap_or_default();
    change(&mut document);
    with_root(image, document.to_string().into())
}

fn with_root(image: &BuiltImage, bytes: Bytes) -> BuiltImage {
    let manifest = written(image.root.media_type.clone(), bytes, Algorithm::Sha256);
    let root = manifest.descriptor.clone();
    BuiltImage { blobs: image.blobs.clone(), manifests: vec![manifest], root }
}

/// The image with other bytes for its layer, which comes behind the config.
fn with_layer(mut image: BuiltImage, bytes: &Bytes) -> BuiltImage {
    for BuiltBlob { content, .. } in image.blobs.iter_mut().skip(1) {
        *content = Content::Memory(bytes.clone());
    }
    image
}
