//! What kind of content something says it is.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::excerpt::excerpt;

/// Characters of a media type at most: 127 on each side of the slash (RFC 6838, section 4.2).
const MAX_LENGTH: usize = 255;

/// A media type without parameters, in lower case: `application/vnd.oci.image.manifest.v1+json`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(Cow<'static, str>);

/// The text is not a media type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a media type")]
pub struct MediaTypeError {
    /// The text, shortened.
    pub found: String,
}

/// What can be done with content of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A manifest of one image or artifact.
    Manifest,
    /// A list of manifests.
    Index,
    /// The manifests of Docker before 2016, which name layers by what their sender claims. Not supported.
    Schema1,
    /// Anything else: configs, layers, artifacts.
    Blob,
}

impl MediaType {
    /// An OCI manifest.
    pub const OCI_MANIFEST: Self = Self::fixed("application/vnd.oci.image.manifest.v1+json");
    /// An OCI index.
    pub const OCI_INDEX: Self = Self::fixed("application/vnd.oci.image.index.v1+json");
    /// An image's config.
    pub const OCI_CONFIG: Self = Self::fixed("application/vnd.oci.image.config.v1+json");
    /// A layer as it is.
    pub const OCI_LAYER: Self = Self::fixed("application/vnd.oci.image.layer.v1.tar");
    /// A layer through gzip.
    pub const OCI_LAYER_GZIP: Self = Self::fixed("application/vnd.oci.image.layer.v1.tar+gzip");
    /// A layer through zstd.
    pub const OCI_LAYER_ZSTD: Self = Self::fixed("application/vnd.oci.image.layer.v1.tar+zstd");
    /// The two bytes `{}`, where an artifact needs no config.
    pub const OCI_EMPTY: Self = Self::fixed("application/vnd.oci.empty.v1+json");
    /// A Docker manifest, version 2, schema 2.
    pub const DOCKER_MANIFEST: Self = Self::fixed("application/vnd.docker.distribution.manifest.v2+json");
    /// A Docker manifest list.
    pub const DOCKER_LIST: Self = Self::fixed("application/vnd.docker.distribution.manifest.list.v2+json");
    /// A Docker image's config.
    pub const DOCKER_CONFIG: Self = Self::fixed("application/vnd.docker.container.image.v1+json");
    /// A Docker layer, through gzip.
    pub const DOCKER_LAYER: Self = Self::fixed("application/vnd.docker.image.rootfs.diff.tar.gzip");
    /// A Docker layer that is fetched from elsewhere.
    pub const DOCKER_FOREIGN_LAYER: Self =
        Self::fixed("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    /// A Docker manifest, version 2, schema 1.
    pub const DOCKER_SCHEMA1: Self = Self::fixed("application/vnd.docker.distribution.manifest.v1+json");
    /// The same with signatures.
    pub const DOCKER_SCHEMA1_SIGNED: Self =
        Self::fixed("application/vnd.docker.distribution.manifest.v1+prettyjws");
    /// Bytes of no declared type.
    pub const OCTET_STREAM: Self = Self::fixed("application/octet-stream");

    /// Every type of manifest and index, in the order in which a client prefers them.
    pub const MANIFESTS: [Self; 4] =
        [Self::OCI_INDEX, Self::OCI_MANIFEST, Self::DOCKER_LIST, Self::DOCKER_MANIFEST];

    const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The type.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What can be done with content of this type.
    pub fn kind(&self) -> Kind {
        if *self == Self::OCI_MANIFEST || *self == Self::DOCKER_MANIFEST {
            Kind::Manifest
        } else if *self == Self::OCI_INDEX || *self == Self::DOCKER_LIST {
            Kind::Index
        } else if *self == Self::DOCKER_SCHEMA1 || *self == Self::DOCKER_SCHEMA1_SIGNED {
            Kind::Schema1
        } else {
            Kind::Blob
        }
    }

    /// Whether a layer of this type is fetched from elsewhere and need not be in the registry.
    pub fn is_nondistributable(&self) -> bool {
        *self == Self::DOCKER_FOREIGN_LAYER
            || self.0.starts_with("application/vnd.oci.image.layer.nondistributable.v1.tar")
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeError;

    /// Parameters, as in `application/json; charset=utf-8`, are dropped: none changes what a manifest is.
    fn from_str(text: &str) -> Result<Self, MediaTypeError> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        let well_formed = essence.len() <= MAX_LENGTH
            && essence
                .split_once('/')
                .is_some_and(|(kind, subtype)| is_restricted(kind) && is_restricted(subtype));
        if !well_formed {
            return Err(MediaTypeError { found: excerpt(text) });
        }
        Ok(Self(Cow::Owned(essence.to_ascii_lowercase())))
    }
}

/// RFC 6838's `restricted-name`.
fn is_restricted(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MediaType({})", self.0)
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_have_one_spelling() {
        for (text, expected) in [
            ("application/vnd.oci.image.index.v1+json", MediaType::OCI_INDEX),
            ("Application/VND.OCI.Image.Index.v1+JSON", MediaType::OCI_INDEX),
            ("application/octet-stream", MediaType::OCTET_STREAM),
            (" application/octet-stream ; charset=utf-8", MediaType::OCTET_STREAM),
            ("application/vnd.oci.image.manifest.v1+json; charset=utf-8; a=\"b;c\"", MediaType::OCI_MANIFEST),
            ("application/octet-stream;", MediaType::OCTET_STREAM),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for text in [
            "", "json", "/", "a/", "/b", "a/b/c", "a b/c", "a/b c", "a/b,c/d", "a/ä", "a/b\n/", "+a/b",
            "a/.b", "*/*", ";a/b",
        ] {
            assert_eq!(text.parse::<MediaType>(), Err(MediaTypeError { found: excerpt(text) }), "{text}");
        }
        let long = format!("a/{}", "b".repeat(254));
        assert!(long[..255].parse::<MediaType>().is_ok());
        assert_eq!(long.parse::<MediaType>().unwrap_err().found.chars().count(), 81);
    }

    #[test]
    fn kinds_tell_what_can_be_done() {
        for (media_type, expected) in [
            (MediaType::OCI_MANIFEST, Kind::Manifest),
            (MediaType::DOCKER_MANIFEST, Kind::Manifest),
            (MediaType::OCI_INDEX, Kind::Index),
            (MediaType::DOCKER_LIST, Kind::Index),
            (MediaType::DOCKER_SCHEMA1, Kind::Schema1),
            (MediaType::DOCKER_SCHEMA1_SIGNED, Kind::Schema1),
            (MediaType::OCI_CONFIG, Kind::Blob),
            (MediaType::OCI_LAYER_ZSTD, Kind::Blob),
            (MediaType::OCI_EMPTY, Kind::Blob),
            (MediaType::OCTET_STREAM, Kind::Blob),
            ("application/json".parse().unwrap(), Kind::Blob),
            ("application/vnd.oci.artifact.manifest.v1+json".parse().unwrap(), Kind::Blob),
            ("application/vnd.oci.image.manifest.v2+json".parse().unwrap(), Kind::Blob),
        ] {
            assert_eq!(media_type.kind(), expected, "{media_type}");
            assert_eq!(media_type.as_str().parse(), Ok(media_type));
        }
        let kinds = MediaType::MANIFESTS.map(|media_type| media_type.kind());
        assert_eq!(kinds, [Kind::Index, Kind::Manifest, Kind::Index, Kind::Manifest]);
    }

    #[test]
    fn foreign_layers_need_not_be_in_the_registry() {
        for (text, expected) in [
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", true),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar", true),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", true),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", true),
            ("application/vnd.oci.image.layer.v1.tar+gzip", false),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", false),
        ] {
            assert_eq!(text.parse::<MediaType>().unwrap().is_nondistributable(), expected, "{text}");
        }
    }

    #[test]
    fn serialises_as_text() {
        let text = "\"application/vnd.oci.empty.v1+json\"";
        assert_eq!(serde_json::from_str::<MediaType>(text).unwrap(), MediaType::OCI_EMPTY);
        assert_eq!(serde_json::to_string(&MediaType::OCI_EMPTY).unwrap(), text);
        assert!(serde_json::from_str::<MediaType>("\"json\"").is_err());
    }

    proptest! {
        #[test]
        fn any_text_parses_to_what_it_prints_or_is_refused(
            text in prop_oneof![".*", "[a-zA-Z0-9.+]{1,9}/[-a-zA-Z0-9.+]{1,9}( ?;.{0,5})?"]
        ) {
            if let Ok(media_type) = text.parse::<MediaType>() {
                prop_assert!(text.to_ascii_lowercase().trim_start().starts_with(media_type.as_str()));
                prop_assert_eq!(media_type.as_str().parse(), Ok(media_type.clone()));
            }
        }
    }
}
