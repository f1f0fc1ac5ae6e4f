//! Manifests and indexes: bytes, what they hash to, and a parsed view. Never serialised again.
//!
//! The view refuses confusion: a document is a manifest or an index by what it was declared as, by its own
//! `mediaType` and by its shape, and all that are there have to agree. Otherwise two readers of the same bytes could
//! see two images under one digest (CVE-2021-41190).
//!
//! The structures are our own and not a library's, because identity has to be strict here: a digest of an unknown
//! algorithm or a negative size is an error and not a string to be looked at later. And what one reader sees and
//! another does not, a member that comes twice or a `Layers` beside the `layers`, is refused by [`json`], in the
//! document itself and in its descriptors.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, de};

use crate::{
    Algorithm, Descriptor, Digest, Kind, MediaType,
    descriptor::{empty_is_none, null_is_empty},
    excerpt::message_excerpt,
    json,
};

/// Bytes that a manifest may have. The specification asks registries to take this much.
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// A manifest or an index: exactly the bytes that were received, what they hash to, and what they say.
#[derive(Clone, PartialEq, Eq)]
pub struct Manifest {
    bytes: Bytes,
    digest: Digest,
    media_type: MediaType,
    view: View,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most manifests are images, and a box would be one more allocation for each"
)]
pub enum View {
    /// One image or artifact.
    Image(ImageManifest),
    /// A list of manifests.
    Index(Index),
}

/// A manifest of one image or artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageManifest {
    /// The config.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// What it is about.
    pub subject: Option<Descriptor>,
    /// What an artifact is, when it says so itself.
    pub artifact_type: Option<String>,
    /// Anything.
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The manifests, in the order of preference among equals.
    pub manifests: Vec<Descriptor>,
    /// What it is about.
    pub subject: Option<Descriptor>,
    /// What an artifact is, when it says so itself.
    pub artifact_type: Option<String>,
    /// Anything.
    pub annotations: BTreeMap<String, String>,
}

/// As what a manifest names something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChildKind {
    /// A manifest of an index.
    Manifest,
    /// The config of an image.
    Config,
    /// A layer of an image, or a blob of an artifact or of an index.
    Layer,
}

/// Why bytes are not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Longer than [`MAX_MANIFEST_BYTES`].
    #[error("a manifest has at most {MAX_MANIFEST_BYTES} bytes, this one has {found}")]
    TooLarge {
        /// Bytes that it has.
        found: u64,
    },
    /// Not JSON, or not of a manifest's shape.
    #[error("not a manifest: {reason}")]
    Malformed {
        /// What is wrong, and where.
        reason: String,
    },
    /// What it was declared as, what it says it is and what it looks like do not agree.
    #[error("declared as `{declared}`, but {found}")]
    Confused {
        /// The type that it came under, or says it has.
        declared: String,
        /// What speaks against that.
        found: String,
    },
    /// A manifest of Docker before 2016.
    #[error("Docker's manifests of schema 1 are not supported")]
    Schema1,
    /// A type that is not a manifest's.
    #[error("`{found}` is not the media type of a manifest")]
    NotAManifest {
        /// The type.
        found: MediaType,
    },
    /// The bytes hash to something else than what was asked for.
    #[error("expected a manifest with digest `{expected}`, these bytes have `{actual}`")]
    Mismatch {
        /// What was asked for.
        expected: Digest,
        /// What they hash to.
        actual: Digest,
    },
}

impl ManifestError {
    /// Advice for a person.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Schema1 => Some("push the image again with a current tool, which writes schema 2 or OCI"),
            Self::Confused { .. } => {
                Some("send the manifest with the Content-Type that its `mediaType` says")
            }
            _ => None,
        }
    }
}

impl Manifest {
    /// Parses bytes that came under the media type `declared`, if under any, and hashes them with SHA-256.
    pub fn parse(bytes: Bytes, declared: Option<&MediaType>) -> Result<Self, ManifestError> {
        Self::parse_with(bytes, declared, Algorithm::Sha256)
    }

    /// Parses bytes that came under the media type `declared`, if under any, and hashes them with `algorithm`.
    pub fn parse_with(
        bytes: Bytes,
        declared: Option<&MediaType>,
        algorithm: Algorithm,
    ) -> Result<Self, ManifestError> {
        limited(&bytes)?;
        let digest = Digest::of(algorithm, &bytes);
        Self::with_digest(bytes, declared, digest)
    }

    /// Parses bytes that have to hash to `expected`.
    pub fn parse_expecting(
        bytes: Bytes,
        declared: Option<&MediaType>,
        expected: Digest,
    ) -> Result<Self, ManifestError> {
        limited(&bytes)?;
        let actual = Digest::of(expected.algorithm(), &bytes);
        if actual != expected {
            return Err(ManifestError::Mismatch { expected, actual });
        }
        Self::with_digest(bytes, declared, expected)
    }

    fn with_digest(
        bytes: Bytes,
        declared: Option<&MediaType>,
        digest: Digest,
    ) -> Result<Self, ManifestError> {
        let document: Document = json::from_slice(&bytes)
            .map_err(|error| ManifestError::Malformed { reason: message_excerpt(&error.to_string()) })?;
        let (media_type, view) = document.into_view(declared)?;
        Ok(Self { bytes, digest, media_type, view })
    }

    /// The bytes as they were received.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the bytes hash to.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What it was declared as, or says it is, or looks like.
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// What it says.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// A descriptor of it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.size())
    }

    /// A descriptor as the referrers API lists it: with the artifact type and the annotations
    /// (distribution specification, "Listing Referrers").
    pub fn referrer_descriptor(&self) -> Descriptor {
        Descriptor {
            artifact_type: self.artifact_type().map(str::to_owned),
            annotations: self.annotations().clone(),
            ..self.descriptor()
        }
    }

    /// What it is about.
    pub fn subject(&self) -> Option<&Descriptor> {
        match &self.view {
            View::Image(image) => image.subject.as_ref(),
            View::Index(index) => index.subject.as_ref(),
        }
    }

    /// What an artifact is: what it says itself, else the type of an image's config. An index says it or has none.
    pub fn artifact_type(&self) -> Option<&str> {
        match &self.view {
            View::Image(image) => {
                Some(image.artifact_type.as_deref().unwrap_or_else(|| image.config.media_type.as_str()))
            }
            View::Index(index) => index.artifact_type.as_deref(),
        }
    }

    /// Anything.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        match &self.view {
            View::Image(image) => &image.annotations,
            View::Index(index) => &index.annotations,
        }
    }

    /// What it names, in its own order: the config and then the layers, or the entries of an index. A subject is no child.
    ///
    /// An index may list anything. What is not of a manifest's type is a blob there: build caches list their layers so.
    pub fn children(&self) -> impl Iterator<Item = (ChildKind, &Descriptor)> {
        let (config, rest) = match &self.view {
            View::Image(image) => (Some(&image.config), &image.layers),
            View::Index(index) => (None, &index.manifests),
        };
        let of_index = matches!(self.view, View::Index(_));
        let kind = move |child: &Descriptor| match child.media_type.kind() {
            Kind::Manifest | Kind::Index if of_index => ChildKind::Manifest,
            _ => ChildKind::Layer,
        };
        let config = config.into_iter().map(|config| (ChildKind::Config, config));
        config.chain(rest.iter().map(move |child| (kind(child), child)))
    }
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manifest({}, {}, {} bytes)", self.media_type, self.digest, self.bytes.len())
    }
}

fn limited(bytes: &Bytes) -> Result<(), ManifestError> {
    let found = bytes.len() as u64;
    if found > MAX_MANIFEST_BYTES { Err(ManifestError::TooLarge { found }) } else { Ok(()) }
}

/// The members that matter, of either shape.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    #[serde(default, deserialize_with = "empty_is_none")]
    media_type: Option<MediaType>,
    #[serde(default, deserialize_with = "empty_is_none")]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "present")]
    layers: Member<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "present")]
    manifests: Member<Vec<Descriptor>>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_empty")]
    annotations: BTreeMap<String, String>,
    /// Only manifests of schema 1 have it.
    #[serde(default, deserialize_with = "present")]
    fs_layers: Member<Ignored>,
}

/// Whether a member is there at all, which `null` would hide.
#[derive(Default)]
enum Member<T> {
    #[default]
    Absent,
    Present(T),
}

/// A value of which only its being there matters.
#[derive(Default)]
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

fn present<'de, D, T>(deserializer: D) -> Result<Member<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    null_is_empty(deserializer).map(Member::Present)
}

impl Document {
    fn into_view(self, declared: Option<&MediaType>) -> Result<(MediaType, View), ManifestError> {
        if self.schema_version == 1 || matches!(self.fs_layers, Member::Present(_)) {
            return Err(ManifestError::Schema1);
        }
        if self.schema_version != 2 {
            let reason = format!("its schemaVersion is {} and not 2", self.schema_version);
            return Err(ManifestError::Malformed { reason });
        }
        let media_type = self.agreed_type(declared)?;
        let confused = |found: &str| ManifestError::Confused {
            declared: media_type.to_string(),
            found: found.to_owned(),
        };
        let Self { artifact_type, config, layers, manifests, subject, annotations, .. } = self;
        let view = match (media_type.kind(), config, layers, manifests) {
            (Kind::Manifest, _, _, Member::Present(_)) => return Err(confused("it has `manifests`")),
            (Kind::Manifest, None, ..) => return Err(confused("it has no `config`")),
            (Kind::Manifest, _, Member::Absent, _) => return Err(confused("it has no `layers`")),
            (Kind::Manifest, Some(config), Member::Present(layers), Member::Absent) => {
                View::Image(ImageManifest { config, layers, subject, artifact_type, annotations })
            }
            (Kind::Index, Some(_), ..) => return Err(confused("it has a `config`")),
            (Kind::Index, _, Member::Present(_), _) => return Err(confused("it has `layers`")),
            (Kind::Index, _, _, Member::Absent) => return Err(confused("it has no `manifests`")),
            (Kind::Index, None, Member::Absent, Member::Present(manifests)) => {
                View::Index(Index { manifests, subject, artifact_type, annotations })
            }
            (Kind::Schema1, ..) => return Err(ManifestError::Schema1),
            (Kind::Blob, ..) => return Err(ManifestError::NotAManifest { found: media_type }),
        };
        Ok((media_type, view))
    }

    /// The type that the sender and the document agree on, or what the document looks like when neither says one.
    fn agreed_type(&self, declared: Option<&MediaType>) -> Result<MediaType, ManifestError> {
        match (declared, &self.media_type) {
            (Some(declared), Some(own)) if declared != own => Err(ManifestError::Confused {
                declared: declared.to_string(),
                found: format!("its own `mediaType` is `{own}`"),
            }),
            (_, Some(own)) => Ok(own.clone()),
            (Some(declared), None) => Ok(declared.clone()),
            (None, None) => match (&self.layers, &self.manifests) {
                (Member::Present(_), Member::Absent) => Ok(MediaType::OCI_MANIFEST),
                (Member::Absent, Member::Present(_)) => Ok(MediaType::OCI_INDEX),
                _ => Err(ManifestError::Malformed {
                    reason: "it has no `mediaType`, and its members do not tell what it is".to_owned(),
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests;
