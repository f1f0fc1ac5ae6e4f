//! What a name stands for, all the way down: index, manifest, config, layers and what those unpack to.
//!
//! Every digest in a chain is either that of bytes that were hashed here, or was named by such bytes. So whoever holds the digest of
//! the root holds all of the others, and no registry's word is among them.

use std::sync::Arc;

use bytes::Bytes;
use pier_oci::{
    Descriptor, Digest, ImageConfig, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Manifest, MediaType, Platform,
    Reference, View,
};

use crate::{
    Error, Origin, Progress, Result, Source, Subject, manifests::Manifests, platform::select,
    small::read_small,
};

/// An image from its name down to its layers.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The indexes on the way, the root first; empty when the name stands for the manifest itself.
    pub indexes: Vec<Arc<Manifest>>,
    /// The manifest of the image or of the artifact.
    pub manifest: Arc<Manifest>,
    /// The config.
    pub config: Descriptor,
    /// What the config says; `None` for an artifact, whose config is something else and was not read.
    pub image: Option<Image>,
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// The config of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its bytes, which were hashed.
    pub bytes: Bytes,
    /// What they say.
    pub config: ImageConfig,
}

/// A layer of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// As the manifest has it.
    pub descriptor: Descriptor,
    /// What it hashes to when it is uncompressed, as the config has it; `None` in an artifact.
    pub diff_id: Option<Digest>,
}

/// The manifest that a reference names, hashed here. A digest in the reference is what it has.
pub async fn root<'a>(
    source: &'a dyn Source,
    reference: &'a Reference,
) -> Result<(Manifests<'a>, Arc<Manifest>)> {
    let mut manifests = Manifests::new(source, &reference.repository, MAX_MANIFEST_BYTES);
    let root = manifests.root(&reference.selector()).await?;
    Ok((manifests, root))
}

/// The chain from `root` to the image that fits `platform` best. A root that is no index is taken whatever is wanted.
///
/// # Errors
/// [`NoPlatform`](Error::NoPlatform) when no image fits; [`Invalid`](Error::Invalid) when the config is none, or has another number of
/// diff ids than the manifest has layers: nobody could say which belongs to which.
pub async fn chain(
    source: &dyn Source,
    manifests: &mut Manifests<'_>,
    root: &Arc<Manifest>,
    platform: &Platform,
    progress: &Progress,
) -> Result<Chain> {
    let selected = select(manifests, root, platform).await?;
    let manifest = match selected.indexes.last() {
        Some(_) => manifests.child(&selected.image).await?,
        None => Arc::clone(root),
    };
    let View::Image(image) = manifest.view() else {
        return Err(Error::Invalid {
            subject: manifests.subject(manifest.digest()),
            reason: "it is an index where an image was announced".to_owned(),
        });
    };
    let (config, layers) = (image.config.clone(), image.layers.clone());
    if !is_image_config(&config.media_type) {
        let layers = layers.into_iter().map(|descriptor| Layer { descriptor, diff_id: None }).collect();
        return Ok(Chain { indexes: selected.indexes, manifest, config, image: None, layers });
    }
    let origin = Origin { source, repository: manifests.repository() };
    let bytes = read_small(origin, &config, MAX_CONFIG_BYTES, progress).await?;
    let invalid = |reason| Error::Invalid { subject: Subject::Blob(config.digest), reason };
    let parsed = ImageConfig::parse(&bytes).map_err(|error| invalid(error.to_string()))?;
    let (found, wanted) = (parsed.diff_ids.len(), layers.len());
    if found != wanted {
        return Err(invalid(format!("it has {found} diff ids for {wanted} layers")));
    }
    let layers = layers
        .into_iter()
        .zip(&parsed.diff_ids)
        .map(|(descriptor, diff_id)| Layer { descriptor, diff_id: Some(*diff_id) })
        .collect();
    let image = Some(Image { bytes, config: parsed });
    Ok(Chain { indexes: selected.indexes, manifest, config, image, layers })
}

fn is_image_config(media_type: &MediaType) -> bool {
    *media_type == MediaType::OCI_CONFIG || *media_type == MediaType::DOCKER_CONFIG
}

#[cfg(test)]
mod tests;
