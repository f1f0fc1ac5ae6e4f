//! Blobs and images to push, each the same wherever it is made.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// Bytes and their digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) digest: String,
}

/// The media type of [`image`].
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

impl Piece {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let digest = digest(&bytes);
        Self { bytes: bytes.into(), digest }
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// `length` bytes that differ for each `number`.
pub(crate) fn piece(number: usize, length: usize) -> Piece {
    let mut state = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bytes = (0..length).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    });
    Piece::new(bytes.collect())
}

/// The manifest of an image of a config and layers.
pub(crate) fn image(config: &Piece, layers: &[Piece]) -> Piece {
    let entry = |kind: &str, piece: &Piece| {
        serde_json::json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": piece.digest,
            "size": piece.bytes.len(),
        })
    };
    let layers: Vec<_> = layers.iter().map(|layer| entry("layer.v1.tar", layer)).collect();
    let document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": entry("config.v1+json", config),
        "layers": layers,
    });
    Piece::new(document.to_string().into_bytes())
}
