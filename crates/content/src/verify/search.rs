//! Which image has an approved digest.
//!
//! A config's digest is what some call the image's, and no registry can be asked for it: it is found by looking through what tags name. The
//! digests of indexes and manifests are found on the way.

use std::collections::BTreeSet;

use pier_oci::{Descriptor, Digest, MAX_MANIFEST_BYTES, Manifest, Platform, Repository, Selector, Tag, View};

use super::{Approval, DigestKind, judging, runs};
use crate::{
    Error, Result, Source,
    manifests::{Manifests, index_of, is_index, is_manifest},
    platform::{NESTING, is_attestation, too_deep},
};

/// What [`find_approved`] and [`find_config`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The tag that leads there, and the manifest or index that is approved or names the approved config; `None` when no tag does. The config
    /// itself has not been read.
    pub found: Option<(Tag, Descriptor)>,
    /// Tags that are not there.
    pub missing: Vec<Tag>,
}

/// Looks through what `tags` name, in their order, for an image whose config has this digest; in an index through the images for
/// `platform`, or through all of them.
///
/// # Errors
/// When nothing was found and a tag could not be looked through: then it may still be there.
pub async fn find_config(
    source: &dyn Source,
    repository: &Repository,
    tags: &[Tag],
    config: &Digest,
    platform: Option<&Platform>,
) -> Result<Search> {
    let approval = Approval { kind: Some(DigestKind::Config), ..Approval::of(*config) };
    find_approved(source, repository, tags, &[approval], platform).await
}

/// The same for whatever has or names one of the approved digests. A config's has to be of the algorithm by which its manifest names it.
///
/// # Errors
/// As [`find_config`].
pub async fn find_approved(
    source: &dyn Source,
    repository: &Repository,
    tags: &[Tag],
    approved: &[Approval],
    platform: Option<&Platform>,
) -> Result<Search> {
    let mut manifests = Manifests::new(source, repository, MAX_MANIFEST_BYTES);
    let mut seen = BTreeSet::new();
    let mut missing = Vec::new();
    let mut failure: Option<Error> = None;
    for tag in tags {
        match look_through(&mut manifests, tag, approved, platform, &mut seen).await {
            Ok(Some(manifest)) => return Ok(Search { found: Some((tag.clone(), manifest)), missing }),
            Ok(None) => {}
            Err(Error::NotFound { .. }) => missing.push(tag.clone()),
            Err(error) => {
                // What may pass is worth more to the caller than what stays wrong.
                if failure.as_ref().is_none_or(|known| error.is_retryable() && !known.is_retryable()) {
                    failure = Some(error);
                }
            }
        }
    }
    failure.map_or(Ok(Search { found: None, missing }), Err)
}

async fn look_through(
    manifests: &mut Manifests<'_>,
    tag: &Tag,
    approved: &[Approval],
    platform: Option<&Platform>,
    seen: &mut BTreeSet<Digest>,
) -> Result<Option<Descriptor>> {
    let root = manifests.root(&Selector::Tag(tag.clone())).await?;
    let mut level = vec![root];
    for depth in 0.. {
        let mut entries = Vec::new();
        for manifest in &level {
            if !seen.insert(manifest.digest()) {
                continue;
            }
            if is_approved(manifest, approved).await? {
                return Ok(Some(manifest.descriptor()));
            }
            match manifest.view() {
                View::Image(_) => {}
                View::Index(_) => entries.extend(candidates(manifest, platform)),
            }
        }
        entries.retain(|entry: &Descriptor| !seen.contains(&entry.digest));
        let Some(first) = entries.iter().find(|entry| is_index(entry)).or(entries.first()) else { break };
        if depth >= NESTING && is_index(first) {
            return Err(too_deep(manifests, first));
        }
        // One that the registry lacks does not keep the others from being looked at.
        level = Vec::new();
        for entry in &entries {
            match manifests.child(entry).await {
                Ok(manifest) => level.push(manifest),
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

/// By a digest of either algorithm; a config, whose bytes are not fetched for this, by the one that the manifest has of it.
async fn is_approved(manifest: &Manifest, approved: &[Approval]) -> Result<bool> {
    let is = |kind, digests: &[Digest]| {
        let meant = |approval: &Approval| approval.kind.is_none_or(|approved| approved == kind);
        approved.iter().any(|approval| digests.contains(&approval.digest) && meant(approval))
    };
    let digests = judging::digests_of(manifest.digest(), Some(manifest.bytes()), approved).await?;
    Ok(match manifest.view() {
        View::Index(_) => is(DigestKind::Index, &digests),
        View::Image(image) => {
            is(DigestKind::Manifest, &digests) || is(DigestKind::Config, &[image.config.digest])
        }
    })
}

/// What an index lists that may be or lead to an image for the platform.
fn candidates(manifest: &Manifest, platform: Option<&Platform>) -> Vec<Descriptor> {
    let entries = index_of(manifest).map(|index| &*index.manifests).unwrap_or_default();
    let fits = |entry: &&Descriptor| match (platform, &entry.platform) {
        (Some(wanted), Some(found)) => runs(wanted, found),
        _ => true,
    };
    entries
        .iter()
        .filter(|entry| is_manifest(entry) && !is_attestation(entry))
        .filter(fits)
        .cloned()
        .collect()
}
