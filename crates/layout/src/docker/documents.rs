//! The documents of a Docker archive, as far as they matter here.

use std::path::Path;

use pier_content::Result;
use pier_oci::{Descriptor, Digest, MediaType, json};
use serde::{Deserialize, Deserializer, Serialize};

use crate::sys::invalid;

/// Images that an archive may list.
const MAX_IMAGES: usize = 4096;

/// An image as `manifest.json` lists it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Image {
    /// The member that is its config.
    pub(super) config: String,
    /// Its names, `repository:tag`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) repo_tags: Vec<String>,
    /// The members that are its layers, the lowest first.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) layers: Vec<String>,
}

/// An image's config.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) variant: Option<String>,
    pub(super) rootfs: RootFs,
}

/// What an image's layers are.
#[derive(Debug, Deserialize)]
pub(super) struct RootFs {
    /// What each hashes to when it is not packed.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) diff_ids: Vec<Digest>,
}

/// Go writes `null` for what is empty.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The images that `manifest.json` lists.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Image>> {
    let images: Vec<Image> = json::from_slice(bytes).map_err(|error| invalid(path, error.to_string()))?;
    if images.len() > MAX_IMAGES {
        return Err(invalid(path, format!("lists more than {MAX_IMAGES} images")));
    }
    Ok(images)
}

impl Config {
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        json::from_slice(bytes).map_err(|error| invalid(path, format!("is no image's config: {error}")))
    }
}

/// An OCI manifest; the same bytes for the same config and layers.
pub(super) fn manifest(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document<'a> {
        schema_version: u64,
        media_type: MediaType,
        config: &'a Descriptor,
        layers: &'a [Descriptor],
    }
    let document = Document { schema_version: 2, media_type: MediaType::OCI_MANIFEST, config, layers };
    written(&document)
}

/// What `manifest.json` says of images.
pub(super) fn list(images: &[Image]) -> Vec<u8> {
    written(&images)
}

/// A document of ours as JSON.
#[expect(clippy::expect_used, reason = "structures of texts and numbers always serialise")]
pub(super) fn written(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("our own structures serialise")
}
