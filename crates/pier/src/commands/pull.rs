//! `pier pull`

use std::{collections::BTreeSet, env::consts, sync::Arc};

use anyhow::anyhow;
use futures_util::{StreamExt as _, stream};
use pier_content::{Catalog as _, Completeness, Copied, CopyOptions, Platforms, StoreTarget, copy};
use pier_oci::{ChildKind, Descriptor, Digest, MediaType, Platform, Reference, Selector};
use pier_store::Store;
use serde::Serialize;

use crate::{
    cli::Pull,
    config::Config,
    failure::{Failure, Status},
    output::Output,
    place::{Place, Sites},
    progress::{Journey, Reporter, Tally},
    signals,
};

/// Images that are fetched at the same time. Connections to each registry have a limit of their own.
const AT_ONCE: usize = 3;

/// What is said when a signal ends it.
const KEPT: &str = "what has arrived is kept: the same command goes on from there";

/// What was pulled for one of the references.
#[derive(Debug, Serialize)]
struct Pulled {
    /// Written out.
    reference: String,
    repository: String,
    tag: Option<String>,
    digest: Digest,
    media_type: MediaType,
    /// The images that were asked for.
    images: Vec<Image>,
    /// Whether everything that the manifest names is here.
    complete: bool,
    fetched_bytes: u64,
    present_bytes: u64,
    /// Layers that may not be distributed and that the registry does not have.
    withheld: Vec<Digest>,
}

/// One image of an index, or the image.
#[derive(Debug, Serialize)]
pub(super) struct Image {
    /// What the index says; `None` for an image that stands alone.
    platform: Option<String>,
    digest: Digest,
}

pub(crate) async fn run(options: &Pull, config: &Config, output: &Output) -> Result<Status, Failure> {
    // All names are read before anything is fetched.
    let references: Vec<Reference> =
        options.references.iter().map(|text| at_registry(text)).collect::<Result<_, Failure>>()?;
    let sites = Sites::new(config, &options.registries);
    let store = sites.store_or_new()?;
    let platforms = platforms(options);
    let reporter = Reporter::start(options.progress.progress)?;
    let pulls = references.iter().zip(&options.references).map(|(reference, name)| {
        let journey = reporter.journey(name);
        pull(reference, &platforms, &sites, &store, journey)
    });
    // Each to its end: that one image is not there is no reason to go without the others.
    let all = async { Ok(stream::iter(pulls).buffered(AT_ONCE).collect::<Vec<_>>().await) };
    let outcomes = signals::unless_stopped(all, KEPT).await;
    reporter.finish();

    let mut pulled = Vec::new();
    let mut failures = Vec::new();
    for outcome in outcomes? {
        match outcome {
            Ok(entry) => pulled.push(entry),
            Err(failure) => failures.push(failure),
        }
    }
    if !pulled.is_empty() {
        output.data(&pulled, |pulled| pulled.iter().map(text).collect())?;
    }
    output.first_failure(failures)
}

fn at_registry(text: &str) -> Result<Reference, Failure> {
    match Place::parse(text)? {
        Place::Registry(reference) => Ok(reference),
        _ => Err(Failure::new(Status::Usage, anyhow!("`{text}` is no image of a registry")).with_hint(
            "`pier copy` brings images from other places into the store: `pier copy SRC store:NAME`",
        )),
    }
}

fn platforms(options: &Pull) -> Platforms {
    match &*options.platform {
        _ if options.all_platforms => Platforms::All,
        [] => Platforms::One(this_machine()),
        platforms => Platforms::List(platforms.to_vec()),
    }
}

/// What runs here. Images are made for Linux; on other systems they run in a virtual machine of the same processor.
pub(super) fn this_machine() -> Platform {
    let os = if consts::OS == "windows" { consts::OS } else { "linux" };
    Platform::from_rust(os, consts::ARCH)
}

async fn pull(
    reference: &Reference,
    platforms: &Platforms,
    sites: &Sites<'_>,
    store: &Arc<Store>,
    journey: Journey,
) -> Result<Pulled, Failure> {
    let progress = journey.progress();
    let Reference { repository, tag, .. } = reference;
    let source = sites.source(&repository.registry, &progress)?;
    let target = StoreTarget { blobs: store.clone(), catalog: store.clone() };
    let options = CopyOptions { platforms: platforms.clone(), ..CopyOptions::default() };
    let tags: Vec<_> = tag.iter().cloned().collect();
    let copied = copy(&*source, reference, &target, repository, &tags, &options, &progress).await?;
    let tally = journey.arrived(copied.root.digest);
    let size = size(store, reference, &copied).await?;
    Ok(Pulled::new(reference, &copied, tally, size))
}

/// Bytes of the blobs of the images that were asked for, each counted once.
async fn size(store: &Store, reference: &Reference, copied: &Copied) -> Result<u64, Failure> {
    let name = reference.repository.local_name()?;
    let mut seen = BTreeSet::new();
    let mut size = 0;
    for image in &copied.images {
        let manifest = store.resolve(&name, &Selector::Digest(image.digest)).await?;
        let blobs = manifest.children().filter(|(kind, _)| *kind != ChildKind::Manifest);
        for (_, blob) in blobs {
            if seen.insert(blob.digest) && !copied.withheld.iter().any(|layer| layer.digest == blob.digest) {
                size += blob.size;
            }
        }
    }
    Ok(size)
}

impl Pulled {
    fn new(reference: &Reference, copied: &Copied, tally: Tally, size: u64) -> Self {
        Self {
            reference: reference.to_string(),
            repository: reference.repository.to_string(),
            tag: reference.tag.as_ref().map(ToString::to_string),
            digest: copied.root.digest,
            media_type: copied.root.media_type.clone(),
            images: images(copied),
            complete: copied.completeness == Completeness::Strict && copied.withheld.is_empty(),
            fetched_bytes: tally.moved_bytes,
            present_bytes: size.saturating_sub(tally.moved_bytes),
            withheld: copied.withheld.iter().map(|layer| layer.digest).collect(),
        }
    }
}

impl Image {
    pub(super) fn of(image: &Descriptor) -> Self {
        Self { platform: image.platform.as_ref().map(ToString::to_string), digest: image.digest }
    }
}

pub(super) fn images(copied: &Copied) -> Vec<Image> {
    copied.images.iter().map(Image::of).collect()
}

fn text(pulled: &Pulled) -> String {
    format!("{}@{}\n", pulled.repository, pulled.digest)
}
