//! Which approval an image meets, and what follows from that.

use std::{collections::BTreeSet, io};

use bytes::Bytes;
use pier_oci::{Algorithm, Digest};

use super::{Approval, Binds, Depth, DigestKind, Refusal, Untold, Verdict, VerifyOptions, Wanted, runs};
use crate::{Chain, Error, Result};

/// Bytes that are hashed where they are; more of them take a thread that may block.
const HASHED_HERE: usize = 64 << 10;

/// The first approval that is met, by the kind that is nearest to the root: that is the one that binds most.
pub(super) async fn judge(chain: &Chain, options: &VerifyOptions) -> Result<Verdict> {
    let platform = chain.image.as_ref().map(|image| &image.config.platform);
    let mut refusal = Refusal::Unknown;
    for (kind, digests) in digests(chain, &options.approved).await? {
        for approval in &options.approved {
            let digest = approval.digest;
            if !digests.contains(&digest) {
                continue;
            }
            match (approval.kind, &approval.platform) {
                (Some(approved), _) if approved != kind => {
                    refusal = Refusal::Kind { digest, approved, found: kind };
                }
                (_, Some(approved)) if !platform.is_some_and(|found| runs(approved, found)) => {
                    refusal = Refusal::Platform {
                        digest,
                        approved: Box::new(approved.clone()),
                        found: platform.cloned().map(Box::new),
                    };
                }
                _ => return Ok(settle(chain, approval, kind, options)),
            }
        }
    }
    Ok(Verdict::Refused(refusal))
}

/// What follows from an approval that is met. Without the config of an image there is nothing to hold layers and platform against, and what
/// was asked for and cannot be looked at is not taken for right: whoever writes the manifest writes the media type of the config as well.
fn settle(chain: &Chain, approval: &Approval, kind: DigestKind, options: &VerifyOptions) -> Verdict {
    if chain.image.is_none() {
        let untold = match (kind, options.depth, &options.wanted) {
            (DigestKind::Config, ..) => Some(Untold::Layers),
            (_, Depth::DiffIds, _) => Some(Untold::DiffIds),
            (_, _, Wanted::Platform(_)) => Some(Untold::Platform),
            (_, Depth::Config | Depth::Layers, Wanted::Machine(_)) => None,
        };
        if let Some(untold) = untold {
            let media_type = chain.config.media_type.clone();
            return Verdict::Refused(Refusal::NoImage { media_type, untold });
        }
    }
    let binds = match (kind, options.depth) {
        (DigestKind::Index | DigestKind::Manifest, _) => Binds::Image,
        (DigestKind::Config, Depth::Config) => Binds::Config,
        (DigestKind::Config, Depth::Layers | Depth::DiffIds) => Binds::DiffIds,
    };
    Verdict::Approved { approval: approval.clone(), kind, binds }
}

/// What can be approved of a chain, from the root down, by each algorithm that an approval has. The bytes are at hand, so an approved SHA-512
/// is met by what a registry names by SHA-256.
pub(super) async fn digests(chain: &Chain, approved: &[Approval]) -> Result<Vec<(DigestKind, Vec<Digest>)>> {
    let mut named: Vec<(DigestKind, Digest, Option<Bytes>)> = Vec::new();
    for index in &chain.indexes {
        named.push((DigestKind::Index, index.digest(), Some(index.bytes().clone())));
    }
    let manifest = &chain.manifest;
    named.push((DigestKind::Manifest, manifest.digest(), Some(manifest.bytes().clone())));
    let config = chain.image.as_ref().map(|image| image.bytes.clone());
    named.push((DigestKind::Config, chain.config.digest, config));
    let mut found = Vec::new();
    for (kind, digest, bytes) in named {
        found.push((kind, digests_of(digest, bytes.as_ref(), approved).await?));
    }
    Ok(found)
}

/// The digest that content is named by, and those of the other algorithms that something is approved by.
pub(super) async fn digests_of(
    digest: Digest,
    bytes: Option<&Bytes>,
    approved: &[Approval],
) -> Result<Vec<Digest>> {
    let algorithms: BTreeSet<Algorithm> =
        approved.iter().map(|approval| approval.digest.algorithm()).collect();
    let mut digests = vec![digest];
    for algorithm in algorithms.into_iter().filter(|algorithm| *algorithm != digest.algorithm()) {
        if let Some(bytes) = bytes {
            digests.push(hash(algorithm, bytes).await?);
        }
    }
    Ok(digests)
}

async fn hash(algorithm: Algorithm, bytes: &Bytes) -> Result<Digest> {
    if bytes.len() <= HASHED_HERE {
        return Ok(Digest::of(algorithm, bytes));
    }
    let bytes = bytes.clone();
    let hashed = tokio::task::spawn_blocking(move || Digest::of(algorithm, &bytes)).await;
    hashed.map_err(|source| Error::io("hash", "a manifest", io::Error::other(source)))
}
