//! How content points to content.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

mod embedded;

use crate::{Digest, MediaType, Platform};

/// What content is, what it hashes to and how long it is (image specification, "Descriptor").
///
/// A descriptor may have its content with it, as `data`. That is not kept: content comes from where all content comes
/// from, so there is one way to check it. But a descriptor whose `data` is not what its digest and size say does not
/// deserialise, since another reader of the same bytes might act on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Written")]
pub struct Descriptor {
    /// What it says it is.
    pub media_type: MediaType,
    /// What it hashes to: the only identity.
    pub digest: Digest,
    /// Bytes. Negative sizes do not deserialise, nor do those that a signed 64-bit number cannot hold, in which other
    /// readers and databases keep it.
    pub size: u64,
    /// What an artifact is, in descriptors of referrers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Where it runs, in an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Anything.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Where else it can be had. Never followed unless asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

impl Descriptor {
    /// A descriptor without anything optional.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            artifact_type: None,
            platform: None,
            annotations: BTreeMap::new(),
            urls: Vec::new(),
        }
    }
}

/// A descriptor as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    media_type: MediaType,
    digest: Digest,
    size: u64,
    #[serde(default, deserialize_with = "empty_is_none")]
    artifact_type: Option<String>,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default, deserialize_with = "null_is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    urls: Vec<String>,
    /// Content, in base64.
    #[serde(default, deserialize_with = "empty_is_none")]
    data: Option<String>,
}

/// Why a descriptor contradicts itself.
#[derive(Debug, thiserror::Error)]
enum Contradiction {
    #[error("a descriptor's size `{0}` is more than there can be")]
    Size(u64),
    #[error("the `data` of the descriptor of `{0}` is not base64")]
    NotBase64(Digest),
    #[error("the `data` of the descriptor of `{0}` is not what it describes")]
    NotItsContent(Digest),
}

impl TryFrom<Written> for Descriptor {
    type Error = Contradiction;

    fn try_from(written: Written) -> Result<Self, Contradiction> {
        let Written { media_type, digest, size, artifact_type, platform, annotations, urls, data } = written;
        if i64::try_from(size).is_err() {
            return Err(Contradiction::Size(size));
        }
        if let Some(data) = data {
            let content = embedded::decode(&data).ok_or(Contradiction::NotBase64(digest))?;
            if content.len() as u64 != size || Digest::of(digest.algorithm(), &content) != digest {
                return Err(Contradiction::NotItsContent(digest));
            }
        }
        Ok(Self { media_type, digest, size, artifact_type, platform, annotations, urls })
    }
}

/// Go writes `null` for what is empty.
pub(crate) fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Go cannot tell an empty text from none, and some tools write it.
pub(crate) fn empty_is_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn layer() -> Value {
        json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": Digest::sha256(b"layer").to_string(),
            "size": 5,
        })
    }

    /// The layer with some members changed.
    fn with(changes: &Value) -> Value {
        let mut document = layer();
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        document
    }

    #[test]
    fn reads_what_is_there() {
        let plain = Descriptor::new(MediaType::OCI_LAYER, Digest::sha256(b"layer"), 5);
        assert_eq!(serde_json::from_value::<Descriptor>(layer()).unwrap(), plain);
        let nulls = with(&json!({
            "artifactType": null, "platform": null, "annotations": null, "urls": null, "data": null
        }));
        assert_eq!(serde_json::from_value::<Descriptor>(nulls).unwrap(), plain);
        let empty = with(&json!({ "artifactType": "", "annotations": {}, "urls": [], "data": "" }));
        assert_eq!(serde_json::from_value::<Descriptor>(empty).unwrap(), plain);
        let whole = with(&json!({
            "artifactType": "application/vnd.example",
            "platform": { "os": "linux", "architecture": "arm64", "variant": "v8" },
            "annotations": { "a": "b" },
            "urls": ["https://example.com/layer"],
        }));
        let read: Descriptor = serde_json::from_value(whole.clone()).unwrap();
        assert_eq!(read.artifact_type.as_deref(), Some("application/vnd.example"));
        assert_eq!(read.annotations["a"], "b");
        assert_eq!(read.urls, ["https://example.com/layer"]);
        assert_eq!(serde_json::to_value(&read).unwrap(), whole);
        assert_eq!(serde_json::to_value(&plain).unwrap(), layer());
    }

    fn check(changes: &Value, expected: &str) {
        let error = serde_json::from_value::<Descriptor>(with(changes)).unwrap_err().to_string();
        assert!(error.contains(expected), "{changes}: {error}");
    }

    #[test]
    fn refuses_what_is_no_identity() {
        check(&json!({ "size": -1 }), "expected u64");
        check(&json!({ "size": 5.0 }), "expected u64");
        check(&json!({ "size": "5" }), "expected u64");
        check(&json!({ "size": null }), "expected u64");
        check(&json!({ "size": u64::MAX }), "is more than there can be");
        check(&json!({ "size": 1_u64 << 63 }), "is more than there can be");
        check(&json!({ "digest": "sha256:00" }), "has 64 hexadecimal digits");
        check(&json!({ "digest": "md5:00" }), "`md5` is not a digest algorithm");
        check(&json!({ "digest": null }), "expected a");
        check(&json!({ "mediaType": "layer" }), "`layer` is not a media type");
        check(&json!({ "mediaType": "" }), "`` is not a media type");
        for member in ["mediaType", "digest", "size"] {
            let mut document = layer();
            document.as_object_mut().unwrap().remove(member);
            let error = serde_json::from_value::<Descriptor>(document).unwrap_err().to_string();
            assert_eq!(error, format!("missing field `{member}`"));
        }
        let largest = with(&json!({ "size": i64::MAX }));
        assert_eq!(serde_json::from_value::<Descriptor>(largest).unwrap().size, i64::MAX as u64);
    }

    #[test]
    fn content_in_a_descriptor_has_to_be_what_it_describes() {
        // `layer` in base64.
        assert!(serde_json::from_value::<Descriptor>(with(&json!({ "data": "bGF5ZXI=" }))).is_ok());
        check(&json!({ "data": "bGF5ZXI" }), "is not base64");
        check(&json!({ "data": "layer" }), "is not base64");
        check(&json!({ "data": "bGF5ZXM=" }), "is not what it describes");
        check(&json!({ "data": "bGF5ZXI=", "size": 6 }), "is not what it describes");
        check(&json!({ "data": [1] }), "expected a string");
    }
}
