//! Which image of an index a machine gets.
//!
//! [`choose`] is pure and looks at one index; [`select`] follows it through indexes inside of indexes. Both go by
//! what the index says. A manifest that stands alone is taken as it is: only its config knows its platform, and
//! whoever reads the config checks it.
//!
//! An entry matches when its operating system and architecture are those wanted and its variant is the wanted one
//! or, next, one that runs there too ([`Platform::compatible`], containerd's order). The variant decides first, then,
//! on Windows, the newest `os.version` that the wanted one can run, then the order of the index.
//!
//! Attestations never match: BuildKit lists them under the platform `unknown/unknown` and annotates them with
//! `vnd.docker.reference.type`, and either alone is enough.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use pier_oci::{Descriptor, Digest, Index, Manifest, Platform};

use crate::{
    Error, Result,
    manifests::{Manifests, index_of, is_index, is_manifest},
};

/// BuildKit's annotation on what is about an image and no image.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// BuildKit's annotation that says which image of the index an attestation is about.
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// Indexes that may lie inside of one another, the outermost included. Real ones have one, seldom two.
pub const NESTING: usize = 4;

/// The first Windows build (Server 2022) whose containers also run on later builds; before it, only on the same.
const STABLE_WINDOWS_BUILD: u32 = 20348;

/// Where a choice led.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The indexes on the way, from the root on; empty when the root is no index.
    pub indexes: Vec<Arc<Manifest>>,
    /// The image manifest. It has not been fetched, unless it is the root.
    pub image: Descriptor,
}

/// The entry of an index to look at for a platform: an image, or a further index.
///
/// An entry that says no platform is a last resort, when no other matches: a further index always, because nested
/// indexes often say none; an image only if it is the one such entry, because among several nothing tells which
/// is meant. Tools that wrap a single image in an index write such entries. What it is made for is in its config.
pub fn choose<'a>(index: &'a Index, wanted: &Platform) -> Option<&'a Descriptor> {
    candidates(index, wanted).into_iter().next()
}

/// Follows [`choose`] from `root` to an image: into the best entry first, and on to the next best when that is an
/// index without an image for the platform. An image of an outer index wins over one of an index inside of it.
///
/// # Errors
/// [`NoPlatform`](Error::NoPlatform) when nothing matches, with the platforms that there are;
/// [`Invalid`](Error::Invalid) when more than [`NESTING`] indexes lie inside of one another.
pub async fn select(
    manifests: &mut Manifests<'_>,
    root: &Arc<Manifest>,
    wanted: &Platform,
) -> Result<Selected> {
    let Some(index) = index_of(root) else {
        return Ok(Selected { indexes: Vec::new(), image: root.descriptor() });
    };
    let mut available = platforms(index);
    let mut seen = BTreeSet::from([root.digest()]);
    // What is still to be looked at, the best last, each with the indexes that lead to it.
    let mut open = paths(index, wanted, &[Arc::clone(root)]);
    while let Some((mut indexes, entry)) = open.pop() {
        if !is_index(&entry) {
            return Ok(Selected { indexes, image: entry });
        }
        // An index cannot contain itself, but a hostile one can name another many times over.
        if !seen.insert(entry.digest) {
            continue;
        }
        if indexes.len() >= NESTING {
            return Err(too_deep(manifests, &entry));
        }
        let manifest = manifests.child(&entry).await?;
        indexes.push(Arc::clone(&manifest));
        if let Some(index) = index_of(&manifest) {
            available.extend(platforms(index));
            open.extend(paths(index, wanted, &indexes));
        }
    }
    let mut named = HashSet::new();
    available.retain(|platform| named.insert(platform.clone()));
    Err(Error::NoPlatform { wanted: Box::new(wanted.clone()), available })
}

/// The error for an index that lies too deep.
pub(crate) fn too_deep(manifests: &Manifests<'_>, entry: &Descriptor) -> Error {
    Error::Invalid {
        subject: manifests.subject(entry.digest),
        reason: format!("more than {NESTING} indexes lie inside of one another"),
    }
}

/// The attestations that an index lists for one of its images.
pub fn attestations<'a>(index: &'a Index, image: &Digest) -> impl Iterator<Item = &'a Descriptor> + use<'a> {
    let image = image.to_string();
    index
        .manifests
        .iter()
        .filter(move |entry| is_attestation(entry) && entry.annotations.get(REFERENCE_DIGEST) == Some(&image))
}

/// Whether an entry is about an image and no image.
pub fn is_attestation(entry: &Descriptor) -> bool {
    entry.annotations.contains_key(REFERENCE_TYPE)
        || entry
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "unknown" || platform.architecture == "unknown")
}

/// The candidates of one index, the best last, behind the indexes that lead there.
fn paths(
    index: &Index,
    wanted: &Platform,
    indexes: &[Arc<Manifest>],
) -> Vec<(Vec<Arc<Manifest>>, Descriptor)> {
    candidates(index, wanted).into_iter().rev().map(|entry| (indexes.to_vec(), entry.clone())).collect()
}

/// The platforms that an index says it has.
fn platforms(index: &Index) -> Vec<Platform> {
    images(index).filter_map(|entry| entry.platform.clone()).collect()
}

/// The entries that are images or further indexes; what else an index may list is nothing that runs.
fn images(index: &Index) -> impl Iterator<Item = &Descriptor> {
    index.manifests.iter().filter(|entry| is_manifest(entry) && !is_attestation(entry))
}

/// Everything that may lead to an image for the platform, the best first.
fn candidates<'a>(index: &'a Index, wanted: &Platform) -> Vec<&'a Descriptor> {
    let runs = wanted.compatible();
    let mut matching: Vec<_> = images(index)
        .filter_map(|entry| {
            let platform = entry.platform.as_ref()?;
            let variant = runs.iter().position(|runs| same_machine(runs, platform))?;
            let release = windows_rank(platform, wanted)?;
            Some(((variant, release), entry))
        })
        .collect();
    matching.sort_by_key(|(rank, _)| *rank);
    let mut found: Vec<_> = matching.into_iter().map(|(_, entry)| entry).collect();
    found.extend(images(index).filter(|entry| entry.platform.is_none() && is_index(entry)));
    if let (1, Some(only)) = (images(index).count(), images(index).next())
        && only.platform.is_none()
        && !is_index(only)
        && only.artifact_type.is_none()
    {
        found.push(only);
    }
    found
}

/// Whether an entry is made for exactly this machine. One that asks for features of the system which nobody
/// promised does not run.
fn same_machine(machine: &Platform, entry: &Platform) -> bool {
    let entry = entry.normalized();
    machine.os == entry.os
        && machine.architecture == entry.architecture
        && machine.variant == entry.variant
        && entry.os_features.iter().all(|feature| machine.os_features.contains(feature))
}

/// Windows versions: older than what is wanted is worse, and what it cannot run is no match (`None`).
/// Zero where versions mean nothing.
fn windows_rank(entry: &Platform, wanted: &Platform) -> Option<WindowsRank> {
    let version = |platform: &Platform| platform.os_version.as_deref().and_then(WindowsVersion::parse);
    let (Some(host), true) = (version(wanted), wanted.os == "windows") else {
        return Some(WindowsRank::default());
    };
    // An image that does not say for which release it is made may run; one that does is the better choice.
    let Some(image) = version(entry) else { return Some((1, Reverse(WindowsVersion::default()))) };
    let oldest = if host.build < STABLE_WINDOWS_BUILD { host.build } else { STABLE_WINDOWS_BUILD };
    let runs = (image.major, image.minor) == (host.major, host.minor)
        && (oldest..=host.build).contains(&image.build);
    runs.then_some((0, Reverse(image)))
}

/// Whether it says its version, and then the newest first.
type WindowsRank = (u8, Reverse<WindowsVersion>);

/// `major.minor.build.revision`, compared as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct WindowsVersion {
    major: u32,
    minor: u32,
    build: u32,
    revision: u32,
}

impl WindowsVersion {
    /// `None` for anything with fewer than three numbers; the revision may be missing.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        let (major, minor, build) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let revision = numbers.next().map_or(Some(0), |revision| revision)?;
        Some(Self { major, minor, build, revision })
    }
}

#[cfg(test)]
mod tests;
