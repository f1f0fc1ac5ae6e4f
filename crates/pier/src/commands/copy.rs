//! `pier copy`
//!
//! All images of an index are copied unless one is chosen, since a copy is to be what was copied: the same digest, and
//! nothing behind it missing. Where one platform is chosen, its image is copied without the index, because registries
//! refuse an index that lacks images, and other tools fail on it later; it then has the image's digest. The store
//! is another matter: it keeps the index and knows what is absent, as with `pier pull`.

mod mounts;

use anyhow::anyhow;
use pier_content::{
    Completeness, CopyOptions, Manifests, MountFrom, Platforms, Progress, Referrers, copy, select,
};
use pier_oci::{Descriptor, Digest, MediaType, Platform, Reference};
use serde::Serialize;

use super::pull::{Image, images, this_machine};
use crate::{
    cli::{Copy, ProgressMode, RegistryOptions, Selection},
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
    place::{Capacity, Place, Reading, Sites, Writing},
    progress::{Journey, Reporter, Tally},
    signals,
};

/// What is to be copied, and where to.
pub(super) struct Request<'a> {
    /// As it was typed.
    pub(super) source: &'a str,
    pub(super) from: Place,
    /// As it was typed.
    pub(super) destination: &'a str,
    pub(super) to: Place,
    pub(super) selection: &'a Selection,
    pub(super) progress: ProgressMode,
    pub(super) registries: &'a RegistryOptions,
}

/// What was copied.
#[derive(Debug, Serialize)]
struct Copied {
    source: String,
    destination: String,
    /// What can be typed to get it again.
    reference: String,
    digest: Digest,
    media_type: MediaType,
    /// The images that were asked for.
    images: Vec<Image>,
    /// Whether everything that the manifest names is there.
    complete: bool,
    sent_bytes: u64,
    mounted_bytes: u64,
    /// Layers that may not be distributed and that the source does not have.
    withheld: Vec<Digest>,
}

pub(crate) async fn run(options: &Copy, config: &Config, output: &Output) -> Result<Status, Failure> {
    let Copy { source, destination, selection, progress, registries } = options;
    let (from, to) = (Place::parse(source)?, Place::parse(destination)?);
    let request =
        Request { source, from, destination, to, selection, progress: progress.progress, registries };
    between(request, config, output).await
}

pub(super) async fn between(
    request: Request<'_>,
    config: &Config,
    output: &Output,
) -> Result<Status, Failure> {
    let in_stdout = request.to.is_standard();
    if in_stdout && output.is_json() {
        let error = anyhow!("standard output cannot be both an archive and JSON");
        return Err(Failure::new(Status::Usage, error).with_hint("leave out --json, or name a file"));
    }
    let sites = Sites::new(config, request.registries);
    let reporter = Reporter::start(request.progress)?;
    let journey = reporter.journey(request.destination);
    let outcome = signals::unless_stopped(carry(&request, &sites, &journey), kept(&request.to)).await;
    reporter.finish();
    let copied = outcome?;
    if in_stdout {
        output::talk(&copied.reference);
    } else {
        output.data(&copied, |copied| format!("{}\n", copied.reference))?;
    }
    Ok(Status::Done)
}

/// What is said when a signal ends it.
fn kept(to: &Place) -> &'static str {
    match to {
        Place::Registry(_) | Place::Store(_) | Place::Layout(..) => {
            "blobs that arrived whole are not sent again by the same command"
        }
        Place::OciArchive(..) | Place::DockerArchive(..) => "nothing of the archive is left",
    }
}

async fn carry(request: &Request<'_>, sites: &Sites<'_>, journey: &Journey) -> Result<Copied, Failure> {
    let progress = journey.progress();
    let from = Reading::open(&request.from, sites, &progress).await?;
    let to = Writing::open(&request.to, &from, sites, &progress).await?;
    let Chosen { reference, platforms, image } =
        Chosen::choose(request.selection, &from, to.capacity()).await?;
    let reference = match to.digest {
        Some(expected) => checked(&from, reference, expected).await?,
        None => reference,
    };
    let options = CopyOptions {
        platforms,
        referrers: if request.selection.referrers { Referrers::Include } else { Referrers::Leave },
        mount_from: mounts(&from, &reference, &request.to).await?,
        ..CopyOptions::default()
    };
    let copied = transfer(&from, &reference, &to, &options, &progress).await?;
    let name = to.name.clone();
    to.finish(&copied.root).await?;
    let tally: Tally = journey.arrived(copied.root.digest);
    Ok(Copied {
        source: request.source.to_owned(),
        destination: request.destination.to_owned(),
        reference: format!("{name}@{}", copied.root.digest),
        digest: copied.root.digest,
        media_type: copied.root.media_type.clone(),
        images: image.map_or_else(|| images(&copied), |image| vec![Image::of(&image)]),
        complete: copied.completeness == Completeness::Strict && copied.withheld.is_empty(),
        sent_bytes: tally.moved_bytes,
        mounted_bytes: tally.mounted_bytes,
        withheld: copied.withheld.iter().map(|layer| layer.digest).collect(),
    })
}

async fn transfer(
    from: &Reading,
    reference: &Reference,
    to: &Writing,
    options: &CopyOptions,
    progress: &Progress,
) -> Result<pier_content::Copied, Failure> {
    let outcome =
        copy(&*from.source, reference, to.target(), &to.repository, &to.tags, options, progress).await;
    match outcome {
        Ok(copied) => Ok(copied),
        Err(error) => Err(from.explain(error).await),
    }
}

/// What is asked of the source.
struct Chosen {
    reference: Reference,
    platforms: Platforms,
    /// The image that was chosen from an index, which alone knows its platform.
    image: Option<Descriptor>,
}

impl Chosen {
    async fn choose(selection: &Selection, from: &Reading, capacity: Capacity) -> Result<Self, Failure> {
        let whole = from.reference.clone();
        let some = |platforms| Self { reference: whole.clone(), platforms, image: None };
        let here = [this_machine()];
        let wanted: &[Platform] = match &*selection.platform {
            [] if selection.all_platforms || capacity != Capacity::One => return Ok(some(Platforms::All)),
            [] => &here,
            platforms => platforms,
        };
        let [platform] = wanted else { return Ok(some(Platforms::List(wanted.to_vec()))) };
        if capacity == Capacity::Some {
            return Ok(some(Platforms::One(platform.clone())));
        }
        let limit = CopyOptions::default().manifest_limit;
        let mut manifests = Manifests::new(&*from.source, &whole.repository, limit);
        let root = manifests.root(&whole.selector()).await?;
        let image = match select(&mut manifests, &root, platform).await {
            Ok(selected) => selected.image,
            Err(error) => return Err(from.explain(error).await),
        };
        let reference = Reference { digest: Some(image.digest), ..whole };
        Ok(Self { reference, platforms: Platforms::All, image: Some(image) })
    }
}

/// A destination that says its digest gets that or nothing. What a source says of a tag is a hint, so the copy is of the digest: a tag
/// that has moved meanwhile, or was told wrongly, brings nothing else.
async fn checked(from: &Reading, reference: Reference, expected: Digest) -> Result<Reference, Failure> {
    let found = match reference.digest {
        Some(digest) => digest,
        None => from.source.resolve(&reference).await?.digest,
    };
    if found == expected {
        return Ok(Reference { digest: Some(expected), ..reference });
    }
    let error = anyhow!("the source is `{found}`, and the destination says `{expected}`");
    Err(Failure::new(Status::No, error)
        .with_hint("leave the digest out of the destination, or copy that digest"))
}

/// Where the destination may show blobs already.
async fn mounts(from: &Reading, reference: &Reference, to: &Place) -> Result<MountFrom, Failure> {
    match to {
        Place::Registry(to) => mounts::guesses(from, reference, &to.repository).await,
        _ => Ok(MountFrom::default()),
    }
}
