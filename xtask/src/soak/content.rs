//! What is pushed: few blobs, images, indexes and referrers, so that everybody is after the same ones. Made of the seed, the same in every
//! process.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use super::dice::Dice;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Places of the blobs whose digests are of the other algorithm: one that manifests name, and one that none names.
const BY_SHA512: [usize; 2] = [4, 10];

/// Everything that the workers know of.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) repositories: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) blobs: Vec<Piece>,
    pub(super) manifests: Vec<Document>,
}

/// Bytes and their digest.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) digest: String,
    pub(super) bytes: Vec<u8>,
}

/// A manifest and what it names.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) piece: Piece,
    pub(super) media_type: &'static str,
    /// Places among the blobs.
    pub(super) blobs: Vec<usize>,
    /// Places among the manifests.
    pub(super) manifests: Vec<usize>,
    /// The place of its subject.
    pub(super) subject: Option<usize>,
}

impl Piece {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: digest(&bytes), bytes }
    }

    fn by_sha512(bytes: Vec<u8>) -> Self {
        Self { digest: written("sha512", &Sha512::digest(&bytes)), bytes }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    written("sha256", &Sha256::digest(bytes))
}

fn written(algorithm: &str, hash: &[u8]) -> String {
    use std::fmt::Write as _;
    hash.iter().fold(format!("{algorithm}:"), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Content {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        // The last two are named by no manifest.
        let sizes = [1, 60, 900, 4_000, 20_000, 70_000, 150_000, 300_000, 700_000, 1_500_000, 500, 50_000];
        let piece = |(place, size): (usize, usize)| {
            let bytes = dice.bytes(size + 8);
            if BY_SHA512.contains(&place) { Piece::by_sha512(bytes) } else { Piece::new(bytes) }
        };
        let blobs: Vec<Piece> = sizes.into_iter().enumerate().map(piece).collect();
        let mut manifests = Vec::new();
        for number in 0..6 {
            // Neighbours share layers.
            let chosen = [number, number + 3, number + 4];
            manifests.push(image(&blobs, &chosen, None, number));
        }
        for pair in [[0, 1], [2, 3]] {
            manifests.push(index(&manifests, &pair));
        }
        for (number, subject) in [(6, 0), (7, 0), (8, 6)] {
            let about = (subject, &manifests[subject]);
            manifests.push(image(&blobs, &[number, 9], Some(about), number));
        }
        Self {
            repositories: ["soak/a", "soak/b", "soak/c/d"].map(str::to_owned).into(),
            tags: ["1", "2", "latest"].map(str::to_owned).into(),
            blobs,
            manifests,
        }
    }

    /// The place of a manifest.
    pub(super) fn manifest(&self, digest: &str) -> Option<usize> {
        self.manifests.iter().position(|manifest| manifest.piece.digest == digest)
    }
}

/// A manifest's number in the model.
#[expect(
    clippy::expect_used,
    reason = "there are some ten manifests, and the model has a bit for each of 64"
)]
pub(super) fn number(place: usize) -> u8 {
    u8::try_from(place).expect("a place among the manifests")
}

fn image(blobs: &[Piece], chosen: &[usize], subject: Option<(usize, &Document)>, number: usize) -> Document {
    let (config, layers) = (&blobs[chosen[0]], &chosen[1..]);
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| blobs[*layer].descriptor("application/vnd.oci.image.layer.v1.tar"))
        .collect();
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": layers,
        "annotations": { "number": number.to_string() },
    });
    if let Some((_, subject)) = subject {
        document["subject"] = subject.piece.descriptor(subject.media_type);
    }
    Document {
        piece: Piece::new(document.to_string().into_bytes()),
        media_type: IMAGE,
        blobs: chosen.to_vec(),
        manifests: Vec::new(),
        subject: subject.map(|(place, _)| place),
    }
}

fn index(manifests: &[Document], chosen: &[usize]) -> Document {
    let named: Vec<Value> = chosen.iter().map(|place| manifests[*place].piece.descriptor(IMAGE)).collect();
    let document = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": named });
    Document {
        piece: Piece::new(document.to_string().into_bytes()),
        media_type: INDEX,
        blobs: Vec::new(),
        manifests: chosen.to_vec(),
        subject: None,
    }
}
