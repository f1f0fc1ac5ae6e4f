//! Some images of an index, in an index of their own.
//!
//! What the entries say stays as it is: variants, annotations, and the attestations of the images that were chosen. An
//! index of which everything was chosen is the one that there was, with the digest that it has everywhere.

use anyhow::Context as _;
use bytes::Bytes;
use pier_content::{
    Completeness, CopyOptions, Error, Manifests, Origin, Progress, Result, Target, copy,
    platform::attestations, read_small, select, verify::runs,
};
use pier_oci::{
    Descriptor, Digest, ImageConfig, Index, MAX_CONFIG_BYTES, Manifest, MediaType, Platform, Reference,
    Repository, Tag, View,
};
use serde::Serialize;
use std::collections::BTreeMap;

use crate::{failure::Failure, place::Reading};

/// What was chosen.
pub(super) enum Subset {
    /// All of it: it is to be copied as it is.
    Everything,
    /// These entries.
    Entries {
        entries: Vec<Descriptor>,
        /// Those of the index that they are from.
        annotations: BTreeMap<String, String>,
    },
}

/// An index as it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    schema_version: u8,
    media_type: MediaType,
    manifests: &'a [Descriptor],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl Subset {
    /// Chooses the images for some platforms, in their order, each once.
    ///
    /// # Errors
    /// [`NoPlatform`](pier_content::Error::NoPlatform) when there is none for one of them.
    pub(super) async fn choose(from: &Reading, platforms: &[Platform], progress: &Progress) -> Result<Self> {
        let limit = CopyOptions::default().manifest_limit;
        let mut manifests = Manifests::new(&*from.source, &from.reference.repository, limit);
        let root = manifests.root(&from.reference.selector()).await?;
        let View::Index(index) = root.view() else {
            check_platform(from, &root, platforms, progress).await?;
            return Ok(Self::Everything);
        };
        let mut entries: Vec<Descriptor> = Vec::new();
        let mut add = |entry: &Descriptor| {
            if entries.iter().all(|known| known.digest != entry.digest) {
                entries.push(entry.clone());
            }
        };
        let mut about: Vec<Descriptor> = Vec::new();
        for platform in platforms {
            let selected = select(&mut manifests, &root, platform).await?;
            add(&selected.image);
            if let Some(View::Index(index)) = selected.indexes.last().map(|index| index.view()) {
                about.extend(attestations(index, &selected.image.digest).cloned());
            }
        }
        about.iter().for_each(&mut add);
        if holds_all(index, &entries) {
            return Ok(Self::Everything);
        }
        Ok(Self::Entries { entries, annotations: index.annotations.clone() })
    }
}

/// Holds an image that stands alone, of which only its config knows what it is for, against the platforms that were asked for.
///
/// # Errors
/// [`NoPlatform`](Error::NoPlatform) for the first that it is not for.
pub(super) async fn check_platform(
    from: &Reading,
    image: &Manifest,
    platforms: &[Platform],
    progress: &Progress,
) -> Result<()> {
    let View::Image(view) = image.view() else { return Ok(()) };
    let origin = Origin { source: &*from.source, repository: &from.reference.repository };
    let available: Vec<Platform> =
        if [MediaType::OCI_CONFIG, MediaType::DOCKER_CONFIG].contains(&view.config.media_type) {
            let bytes = read_small(origin, &view.config, MAX_CONFIG_BYTES, progress).await?;
            // What cannot be read says no platform.
            ImageConfig::parse(&bytes).map(|config| config.platform).into_iter().collect()
        } else {
            Vec::new()
        };
    let unmet = platforms.iter().find(|wanted| !available.iter().any(|found| runs(wanted, found)));
    match unmet {
        Some(wanted) => Err(Error::NoPlatform { wanted: Box::new(wanted.clone()), available }),
        None => Ok(()),
    }
}

fn holds_all(index: &Index, entries: &[Descriptor]) -> bool {
    index.manifests.iter().all(|entry| entries.iter().any(|chosen| chosen.digest == entry.digest))
}

/// Copies entries, then the index of them, then its tag. Gives its digest.
pub(super) async fn store(
    from: &Reading,
    entries: &[Descriptor],
    annotations: &BTreeMap<String, String>,
    to: (&dyn Target, &Repository, &Tag),
    options: &CopyOptions,
    progress: &Progress,
) -> std::result::Result<Digest, Failure> {
    let (target, repository, tag) = to;
    for entry in entries {
        let reference = Reference { digest: Some(entry.digest), ..from.reference.clone() };
        copy(&*from.source, &reference, target, repository, &[], options, progress).await?;
    }
    let written =
        Written { schema_version: 2, media_type: MediaType::OCI_INDEX, manifests: entries, annotations };
    let bytes = serde_json::to_vec(&written).context("cannot write an index")?;
    let index = Manifest::parse(Bytes::from(bytes), None).context("cannot make an index of these images")?;
    target.put_manifest(repository, &index, std::slice::from_ref(tag), Completeness::Strict).await?;
    Ok(index.digest())
}
