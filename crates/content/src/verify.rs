//! Whether what a name stands for is what somebody approved.
//!
//! ```text
//! tag → index → manifest → config → layers → diff ids
//! ```
//!
//! Every digest on this way is computed from bytes that were hashed here, or is named by such bytes; no header, no registry's and no
//! engine's word is among them. The verdict says which approved digest was met and as what, because tools disagree on which of them is
//! "the image's".
//!
//! What is not there, wrong bytes, and what could not be asked for are different errors, so that a launcher can tell "wrong" from "could
//! not check".

use std::{collections::BTreeMap, fmt};

use futures_util::{StreamExt as _, stream};
use pier_oci::{Algorithm, Descriptor, Digest, MediaType, Platform, Reference};
use serde::{Deserialize, Serialize};

use crate::{
    Chain, Commit, Compression, Error, Event, Layer, Origin, Origins, Progress, Result, Source, chain,
    chain::root,
    fill_and_commit,
    measuring::{Measure, Measuring, Unpacked},
};

mod search;

pub use search::{Search, find_config};

/// Layers that are looked at at the same time.
const AT_ONCE: usize = 4;

/// Bytes that a layer may unpack to, unless it is said otherwise.
pub const MAX_UNPACKED_BYTES: u64 = 128 << 30;

/// A digest that somebody approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What has to be met.
    pub digest: Digest,
    /// As what; `None` for any kind.
    pub kind: Option<DigestKind>,
    /// For which platform; `None` for any.
    pub platform: Option<Platform>,
}

/// What a digest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestKind {
    /// A list of images by platform.
    Index,
    /// The list of config and layers of one image.
    Manifest,
    /// How the image is started, and its diff ids.
    Config,
}

/// How far down the bytes are hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Depth {
    /// Indexes, manifest and config.
    #[default]
    Config,
    /// And the layers as they are sent.
    Layers,
    /// And what they unpack to.
    DiffIds,
}

/// Which image is meant where there are several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one for this platform. An image that stands alone has to be for it, too.
    Platform(Platform),
    /// The one for this machine, and an image that stands alone whatever it is for.
    Machine(Platform),
}

/// What is asked of [`verify()`].
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Any one of these has to be met. None at all is met by nothing.
    pub approved: Vec<Approval>,
    /// Which image.
    pub wanted: Wanted,
    /// How far down.
    pub depth: Depth,
    /// Bytes that a layer may unpack to.
    pub max_unpacked: u64,
    /// Who gave what, where more is known of that than the source's name.
    pub origins: Origins,
}

/// What was found out.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The image, from its name down.
    pub chain: Chain,
    /// Every digest of it, from the root down.
    pub links: Vec<Link>,
    /// Whether it is approved.
    pub verdict: Verdict,
}

/// Whether an image is approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is, and everything that was asked for has been hashed.
    Approved {
        /// By this.
        approval: Approval,
        /// What it was met as.
        kind: DigestKind,
    },
    /// It is not. Layers have not been looked at.
    Refused(Refusal),
}

/// Why an image is not approved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// None of its digests is.
    Unknown,
    /// One of them is, as something else.
    Kind {
        /// The digest.
        digest: Digest,
        /// As what it is approved.
        approved: DigestKind,
        /// What it is.
        found: DigestKind,
    },
    /// One of them is, for another platform.
    Platform {
        /// The digest.
        digest: Digest,
        /// For what it is approved.
        approved: Box<Platform>,
        /// For what the image is, if it says so.
        found: Option<Box<Platform>>,
    },
}

/// One digest of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it is of.
    pub kind: LinkKind,
    /// The digest.
    pub digest: Digest,
    /// Bytes; `None` of a diff id whose layer was not unpacked.
    pub size: Option<u64>,
    /// What the bytes are said to be; `None` of a diff id.
    pub media_type: Option<MediaType>,
    /// Who gave the bytes that were hashed to it; `None` when they were not asked for and it is only named by those that were.
    pub from: Option<String>,
    /// Of a diff id that was computed: how the layer was packed, whatever its media type says.
    pub compression: Option<Compression>,
}

/// What a link of a chain is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// See [`DigestKind::Index`].
    Index,
    /// See [`DigestKind::Manifest`].
    Manifest,
    /// See [`DigestKind::Config`].
    Config,
    /// A layer as it is sent.
    Layer,
    /// The layer in front of it, unpacked.
    DiffId,
}

impl VerifyOptions {
    /// Down to the config, for whoever names no more.
    pub fn new(approved: Vec<Approval>, wanted: Wanted) -> Self {
        Self {
            approved,
            wanted,
            depth: Depth::default(),
            max_unpacked: MAX_UNPACKED_BYTES,
            origins: Origins::default(),
        }
    }
}

impl Approval {
    /// Of any kind and for any platform.
    pub fn of(digest: Digest) -> Self {
        Self { digest, kind: None, platform: None }
    }
}

impl Wanted {
    fn platform(&self) -> &Platform {
        match self {
            Self::Platform(platform) | Self::Machine(platform) => platform,
        }
    }
}

/// Computes what `reference` stands for and compares it with what is approved. Layers are fetched only when the answer is yes so far.
///
/// # Errors
/// Only what kept it from an answer: [`NotFound`](Error::NotFound) when the name stands for nothing,
/// [`Integrity`](Error::Integrity) and [`Size`](Error::Size) when bytes are not what they were named as,
/// [`NoPlatform`](Error::NoPlatform) when there is no image for the platform or the image is for another,
/// [`Invalid`](Error::Invalid) when content cannot be read, and those of the source.
pub async fn verify(
    source: &dyn Source,
    reference: &Reference,
    options: &VerifyOptions,
    progress: &Progress,
) -> Result<Verification> {
    let (mut manifests, root) = root(source, reference).await?;
    let chain = chain(source, &mut manifests, &root, options.wanted.platform(), progress).await?;
    check_platform(&chain, &options.wanted)?;
    let origin = Origin { source, repository: &reference.repository };
    if chain.image.is_none() {
        // What the config of an artifact says is nobody's business here; that it is the right one is.
        measure(origin, &chain.config, Measure::Digest, progress).await?;
    }
    let verdict = judge(&chain, &options.approved);
    let depth = match verdict {
        Verdict::Approved { .. } => options.depth,
        Verdict::Refused(_) => Depth::Config,
    };
    let unpacked = check_layers(origin, &chain.layers, depth, options.max_unpacked, progress).await?;
    let links = links(&chain, depth, &unpacked, &|digest| {
        options.origins.of(digest).unwrap_or_else(|| source.name())
    });
    Ok(Verification { chain, links, verdict })
}

/// Holds what the config says against what was asked for. An index may say anything of its entries.
fn check_platform(chain: &Chain, wanted: &Wanted) -> Result<()> {
    let Some(image) = &chain.image else { return Ok(()) };
    let chosen = !chain.indexes.is_empty() || matches!(wanted, Wanted::Platform(_));
    let (platform, wanted) = (&image.config.platform, wanted.platform());
    if !chosen || runs(wanted, platform) {
        return Ok(());
    }
    Err(Error::NoPlatform { wanted: Box::new(wanted.clone()), available: vec![platform.clone()] })
}

/// Whether an image that says it is for `image` runs on `machine`. Older builders leave the variant out of the config.
pub(crate) fn runs(machine: &Platform, image: &Platform) -> bool {
    machine.compatible().iter().any(|runs| {
        let runs = match image.variant {
            Some(_) => runs.clone(),
            None => Platform { variant: image.normalized().variant, ..runs.clone() },
        };
        runs.matches(image)
    })
}

/// The first approval that is met, by the kind that is nearest to the root.
fn judge(chain: &Chain, approved: &[Approval]) -> Verdict {
    let platform = chain.image.as_ref().map(|image| &image.config.platform);
    let mut refusal = Refusal::Unknown;
    for (kind, met) in digests(chain) {
        for approval in approved {
            if !met(&approval.digest) {
                continue;
            }
            let digest = approval.digest;
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
                _ => return Verdict::Approved { approval: approval.clone(), kind },
            }
        }
    }
    Verdict::Refused(refusal)
}

/// Whether a digest is that of some bytes, by whichever algorithm it is.
type Met<'a> = Box<dyn Fn(&Digest) -> bool + 'a>;

/// What can be approved of a chain, from the root down. The bytes are at hand, so an approved SHA-512 is met by what a registry names by
/// SHA-256.
fn digests(chain: &Chain) -> Vec<(DigestKind, Met<'_>)> {
    fn of(known: Digest, bytes: Option<&[u8]>) -> Met<'_> {
        Box::new(move |digest| {
            *digest == known
                || (digest.algorithm() != known.algorithm()
                    && bytes.is_some_and(|bytes| Digest::of(digest.algorithm(), bytes) == *digest))
        })
    }
    let mut digests: Vec<(DigestKind, Met<'_>)> = Vec::new();
    for index in &chain.indexes {
        digests.push((DigestKind::Index, of(index.digest(), Some(index.bytes()))));
    }
    digests.push((DigestKind::Manifest, of(chain.manifest.digest(), Some(chain.manifest.bytes()))));
    let config = chain.image.as_ref().map(|image| &*image.bytes);
    digests.push((DigestKind::Config, of(chain.config.digest, config)));
    digests
}

/// A layer's content as it is to be measured: the same layer more than once is looked at once.
type Key = (Digest, u64, Option<Algorithm>);

fn key(layer: &Layer, depth: Depth) -> Key {
    let algorithm = layer.diff_id.filter(|_| depth == Depth::DiffIds).map(|diff_id| diff_id.algorithm());
    (layer.descriptor.digest, layer.descriptor.size, algorithm)
}

/// Hashes the layers, and holds what they unpack to against their diff ids.
async fn check_layers(
    origin: Origin<'_>,
    layers: &[Layer],
    depth: Depth,
    max_unpacked: u64,
    progress: &Progress,
) -> Result<BTreeMap<Key, Unpacked>> {
    let mut found = BTreeMap::new();
    if depth == Depth::Config {
        return Ok(found);
    }
    let distinct: BTreeMap<Key, Descriptor> =
        layers.iter().map(|layer| (key(layer, depth), layer.descriptor.clone())).collect();
    progress.emit(|| Event::Planned {
        blobs: distinct.len() as u64,
        bytes: distinct.values().map(|layer| layer.size).sum(),
    });
    let mut measured = stream::iter(distinct)
        .map(|(key, descriptor)| async move {
            let what = match key.2 {
                Some(algorithm) => Measure::Unpacked(algorithm, max_unpacked),
                None => Measure::Digest,
            };
            Ok::<_, Error>((key, measure(origin, &descriptor, what, progress).await?))
        })
        .buffer_unordered(AT_ONCE);
    while let Some(outcome) = measured.next().await {
        let (key, unpacked) = outcome?;
        found.extend(unpacked.map(|unpacked| (key, unpacked)));
    }
    drop(measured);
    for layer in layers {
        if let (Some(expected), Some(Unpacked { digest: actual, .. })) =
            (layer.diff_id, found.get(&key(layer, depth)))
            && expected != *actual
        {
            let origin = Some(origin.source.name());
            return Err(Error::Integrity { expected, actual: *actual, origin });
        }
    }
    Ok(found)
}

/// Has a blob come by and hashes it.
async fn measure(
    origin: Origin<'_>,
    descriptor: &Descriptor,
    what: Measure,
    progress: &Progress,
) -> Result<Option<Unpacked>> {
    let part = Measuring::new(descriptor, what);
    let commit = Commit { digest: descriptor.digest, link: None };
    fill_and_commit(&part, origin, descriptor, commit, progress).await?;
    progress.emit(|| Event::Committed(descriptor.clone()));
    part.unpacked()
}

fn links(
    chain: &Chain,
    depth: Depth,
    unpacked: &BTreeMap<Key, Unpacked>,
    giver: &dyn Fn(&Digest) -> String,
) -> Vec<Link> {
    let link = |kind, descriptor: &Descriptor, hashed: Depth| Link {
        kind,
        digest: descriptor.digest,
        size: Some(descriptor.size),
        media_type: Some(descriptor.media_type.clone()),
        from: (depth >= hashed).then(|| giver(&descriptor.digest)),
        compression: None,
    };
    let mut links: Vec<Link> =
        chain.indexes.iter().map(|index| link(LinkKind::Index, &index.descriptor(), Depth::Config)).collect();
    links.push(link(LinkKind::Manifest, &chain.manifest.descriptor(), Depth::Config));
    links.push(link(LinkKind::Config, &chain.config, Depth::Config));
    for layer in &chain.layers {
        links.push(link(LinkKind::Layer, &layer.descriptor, Depth::Layers));
        let Some(digest) = layer.diff_id else { continue };
        let found = unpacked.get(&key(layer, depth));
        links.push(Link {
            kind: LinkKind::DiffId,
            digest,
            size: found.map(|found| found.size),
            media_type: None,
            from: found.map(|_| giver(&layer.descriptor.digest)),
            compression: found.map(|found| found.compression),
        });
    }
    links
}

impl fmt::Display for DigestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Index => "index",
            Self::Manifest => "manifest",
            Self::Config => "config",
        })
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Index => "index",
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Layer => "layer",
            Self::DiffId => "diff id",
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("none of its digests is approved"),
            Self::Kind { digest, approved, found } => {
                write!(f, "`{digest}` is approved as {approved}, and is the digest of the {found}")
            }
            Self::Platform { digest, approved, found: Some(found) } => {
                write!(f, "`{digest}` is approved for `{approved}`, and the image is for `{found}`")
            }
            Self::Platform { digest, approved, found: None } => {
                write!(f, "`{digest}` is approved for `{approved}`, and the artifact says no platform")
            }
        }
    }
}

#[cfg(test)]
mod tests;
