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
//! It says also what the approved digest [binds](Binds). An index and a manifest name everything below them. A config names no layer: it says
//! what the layers unpack to, so any registry can put other layers beside an approved config, and only their diff ids tell. Whoever has
//! approved nothing but a config and asks for layers is therefore given diff ids.
//!
//! What is not there, wrong bytes, and what could not be asked for are different errors, so that a launcher can tell "wrong" from "could
//! not check".

use std::{collections::BTreeMap, fmt};

use futures_util::{StreamExt as _, stream};
use pier_oci::{Algorithm, Descriptor, Digest, MediaType, Platform, Reference};
use serde::{Deserialize, Serialize};

use crate::{
    Chain, Commit, Compression, Error, Event, Layer, Origin, Origins, Progress, Result, Source, Subject,
    chain,
    chain::root,
    fill_and_commit,
    measuring::{Measure, Measuring, Unpacked},
};

mod judging;
mod search;

use judging::judge;
pub use search::{Search, find_approved, find_config};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// Indexes, manifest and config.
    #[default]
    Config,
    /// And the layers as they are sent. Where nothing but the config is approved, also what they unpack to: nothing else ties them to it.
    Layers,
    /// And what they unpack to.
    DiffIds,
}

/// What of an image the approved digest vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binds {
    /// The config alone: how the image is started, and what its layers have to unpack to. Whether the layers that the registry names do has
    /// not been looked at, so they may be anybody's.
    Config,
    /// The config, and what the layers unpack to, which was computed here. How they are packed is the registry's choice.
    DiffIds,
    /// All of it: the manifest is the approved one, or is named by the approved index, and names its layers.
    Image,
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
    pub links: Vec<ChainLink>,
    /// How far down the bytes have been hashed: as far as was asked for, farther where only that binds the layers, and to the config of what
    /// is refused.
    pub depth: Depth,
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
        /// What it vouches for.
        binds: Binds,
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
    /// One of them is, and its config is no image's, so that there is no telling what was asked for.
    NoImage {
        /// What the manifest says that the config is.
        media_type: MediaType,
        /// What there is no telling of.
        untold: Untold,
    },
}

/// What only the config of an image says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untold {
    /// Which layers belong to an approved config.
    Layers,
    /// What the layers unpack to.
    DiffIds,
    /// What the image is for.
    Platform,
}

/// One digest of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainLink {
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
    let verdict = judge(&chain, options).await?;
    let depth = match &verdict {
        Verdict::Approved { binds: Binds::DiffIds, .. } => Depth::DiffIds,
        Verdict::Approved { .. } => options.depth,
        Verdict::Refused(_) => Depth::Config,
    };
    let unpacked = check_layers(origin, &chain.layers, depth, options.max_unpacked, progress).await?;
    let links = links(&chain, depth, &unpacked, &|digest| {
        options.origins.of(digest).unwrap_or_else(|| source.name())
    });
    Ok(Verification { chain, links, depth, verdict })
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
pub fn runs(machine: &Platform, image: &Platform) -> bool {
    machine.compatible().iter().any(|runs| {
        let runs = match image.variant {
            Some(_) => runs.clone(),
            None => Platform { variant: image.normalized().variant, ..runs.clone() },
        };
        runs.matches(image)
    })
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
    if depth == Depth::DiffIds {
        for layer in layers {
            check_diff_id(origin, layer, found.get(&key(layer, depth)))?;
        }
    }
    Ok(found)
}

fn check_diff_id(origin: Origin<'_>, layer: &Layer, unpacked: Option<&Unpacked>) -> Result<()> {
    match (layer.diff_id, unpacked) {
        (Some(expected), Some(Unpacked { digest: actual, .. })) if expected != *actual => {
            let origin = Some(origin.source.name());
            Err(Error::Integrity { expected, actual: *actual, origin })
        }
        (Some(_), Some(_)) => Ok(()),
        // Nothing leads here; were something to, it would not pass for checked.
        (None, _) | (_, None) => Err(Error::Invalid {
            subject: Subject::Blob(layer.descriptor.digest),
            reason: "it was not held against a diff id".to_owned(),
        }),
    }
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
) -> Vec<ChainLink> {
    let link = |kind, descriptor: &Descriptor, hashed: Depth| ChainLink {
        kind,
        digest: descriptor.digest,
        size: Some(descriptor.size),
        media_type: Some(descriptor.media_type.clone()),
        from: (depth >= hashed).then(|| giver(&descriptor.digest)),
        compression: None,
    };
    let mut links: Vec<ChainLink> =
        chain.indexes.iter().map(|index| link(LinkKind::Index, &index.descriptor(), Depth::Config)).collect();
    links.push(link(LinkKind::Manifest, &chain.manifest.descriptor(), Depth::Config));
    links.push(link(LinkKind::Config, &chain.config, Depth::Config));
    for layer in &chain.layers {
        links.push(link(LinkKind::Layer, &layer.descriptor, Depth::Layers));
        let Some(digest) = layer.diff_id else { continue };
        let found = unpacked.get(&key(layer, depth));
        links.push(ChainLink {
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

impl fmt::Display for Binds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config",
            Self::DiffIds => "diff-ids",
            Self::Image => "image",
        })
    }
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Layers => "nothing ties the layers to it",
            Self::DiffIds => "nothing says what the layers unpack to",
            Self::Platform => "nothing says which platform it is for",
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
            Self::NoImage { media_type, untold } => {
                write!(f, "its config is `{media_type}`, which is no image's, so that {untold}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
