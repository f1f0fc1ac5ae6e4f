//! The one verb: pull, push, mirror, import, export and preheat are copies of a graph.
//!
//! A copy first learns the graph (manifests are small), then sends the blobs, several at once, then the manifests
//! from the leaves to the root, and with the root its tags. Whatever fails, and whenever, the target then shows
//! no manifest without what was asked for of it and no tag that has moved; what was sent stays, so the next run
//! sends only the rest.
//!
//! The root is stored as the source has it, also when one platform of an index is wanted: its digest is the one
//! that people approve, pin and compare, and a tag that named another digest here than upstream would make each
//! such comparison fail. The children that were left out are recorded as absent: their indexes are stored with
//! [`Completeness::Sparse`]. Who wants one manifest without its index, because the target refuses indexes with
//! absent children, asks [`select`](crate::select) for its digest and copies that digest.
//!
//! Everything runs in the task of the caller: nothing is spawned, and dropping the future stops all of it.

use std::{collections::BTreeMap, num::NonZeroUsize};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use pier_oci::{Descriptor, Digest, MAX_MANIFEST_BYTES, Platform, Reference, Repository, Tag};

use crate::{
    Completeness, Error, Event, Mounted, Origin, Progress, Result, Source, Target, manifests::Manifests,
};

mod plan;

/// What is copied, and how.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Which images of an index.
    pub platforms: Platforms,
    /// Whether what refers to the copied manifests comes along.
    pub referrers: Referrers,
    /// Blobs that are sent at the same time.
    pub blobs_at_once: NonZeroUsize,
    /// The largest manifest that is accepted, in bytes.
    pub manifest_limit: u64,
    /// Repositories of the target that may show the blobs already.
    pub mount_from: MountFrom,
}

/// From where a target may show blobs without being sent them: other repositories of its own.
///
/// A guess that is wrong costs one question and no bytes, so one guess is made for each blob.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountFrom {
    /// Where single blobs are known to be.
    pub known: BTreeMap<Digest, Repository>,
    /// Where all others may be.
    pub any: Option<Repository>,
}

impl MountFrom {
    /// All blobs may be in one repository.
    pub fn repository(repository: Repository) -> Self {
        Self { known: BTreeMap::new(), any: Some(repository) }
    }

    /// The best guess for a blob.
    pub fn guess(&self, digest: &Digest) -> Option<&Repository> {
        self.known.get(digest).or(self.any.as_ref())
    }
}

impl Default for CopyOptions {
    /// All platforms, no referrers, four blobs at once, manifests up to 4 MiB, which is what registries accept.
    fn default() -> Self {
        Self {
            platforms: Platforms::All,
            referrers: Referrers::Leave,
            blobs_at_once: const { NonZeroUsize::new(4).expect("four is not zero") },
            manifest_limit: MAX_MANIFEST_BYTES,
            mount_from: MountFrom::default(),
        }
    }
}

/// Which images of an index are copied. An image that stands alone is copied whatever is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platforms {
    /// The one that fits a machine best.
    One(Platform),
    /// For each of these the one that fits best; all of them have to be there.
    List(Vec<Platform>),
    /// Everything that the index lists, attestations included.
    All,
}

/// Whether signatures, SBOMs and other manifests whose subject is copied come along, and what refers to those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Referrers {
    /// They come along, and so do attestations that an index lists for an image that was chosen. They are stored
    /// before the root, so that nobody who sees the tag misses them.
    Include,
    /// They stay where they are.
    Leave,
}

/// What a copy brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// What the reference named.
    pub root: Descriptor,
    /// The image manifests that were asked for, in the order of the index.
    pub images: Vec<Descriptor>,
    /// [`Completeness::Sparse`] when children of an index were left out.
    pub completeness: Completeness,
    /// Layers that may not be distributed and that the source does not have either.
    pub withheld: Vec<Descriptor>,
}

/// Copies what `reference` names at `source` into `repository` of `target`, where `tags` name it afterwards.
///
/// - A digest in the reference wins over its tag, and what comes back has it.
/// - Manifests are fetched once each. An image that the target has costs one question; a blob that it has, or can
///   mount, is not sent; a blob that is named several times is sent once.
/// - Config and layers are begun in the order in which manifests name them.
/// - Tags move only when everything that was asked for is stored.
/// - A manifest's subject is no child of it and is not copied.
///
/// # Errors
/// The first one that happens, which also stops what else is under way; nothing is retried here.
/// [`NoPlatform`](Error::NoPlatform) when an index has no image that fits.
pub async fn copy(
    source: &dyn Source,
    reference: &Reference,
    target: &dyn Target,
    repository: &Repository,
    tags: &[Tag],
    options: &CopyOptions,
    progress: &Progress,
) -> Result<Copied> {
    let mut manifests = Manifests::new(source, &reference.repository, options.manifest_limit);
    let root = manifests.root(&reference.selector()).await?;
    progress.emit(|| Event::Resolved { reference: reference.clone(), descriptor: root.descriptor() });

    let plan = plan::plan(&mut manifests, source, &root, plan::Site { target, repository }, options).await?;

    progress.emit(|| Event::Planned {
        blobs: plan.blobs.len() as u64,
        bytes: plan.blobs.iter().map(|blob| blob.size).fold(0, u64::saturating_add),
    });

    let origin = Origin { source, repository: &reference.repository };
    let mut sending = stream::iter(plan.blobs)
        .map(|blob| async move { send(origin, blob, target, repository, options, progress).await })
        .buffer_unordered(options.blobs_at_once.get());
    let mut withheld = Vec::new();
    while let Some(left) = sending.try_next().await? {
        withheld.extend(left);
    }
    drop(sending);

    let mut completeness = Completeness::Strict;
    let last = plan.manifests.len().saturating_sub(1);
    for (position, step) in plan.manifests.iter().enumerate() {
        let tags = if position == last { tags } else { &[] };
        target.put_manifest(repository, &step.manifest, tags, step.completeness).await?;
        progress.emit(|| Event::Stored(step.manifest.descriptor()));
        if step.completeness == Completeness::Sparse {
            completeness = Completeness::Sparse;
        }
    }
    Ok(Copied { root: root.descriptor(), images: plan.images, completeness, withheld })
}

/// Brings one blob to the target in the cheapest way. Gives it back when it may not be distributed and is nowhere.
async fn send(
    origin: Origin<'_>,
    blob: Descriptor,
    target: &dyn Target,
    repository: &Repository,
    options: &CopyOptions,
    progress: &Progress,
) -> Result<Option<Descriptor>> {
    if target.has(repository, &blob).await? {
        progress.emit(|| Event::Present(blob));
        return Ok(None);
    }
    if let Some(from) = options.mount_from.guess(&blob.digest)
        && target.mount(repository, &blob.digest, from).await? == Mounted::Yes
    {
        progress.emit(|| Event::Mounted { descriptor: blob, from: from.clone() });
        return Ok(None);
    }
    match target.upload(repository, &blob, origin, progress).await {
        Ok(()) => Ok(None),
        Err(Error::NotFound { .. }) if blob.media_type.is_nondistributable() => Ok(Some(blob)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
