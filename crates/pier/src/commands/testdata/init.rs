//! `pier testdata init`: images into an empty folder.

use std::path::Path;

use pier_content::{CopyOptions, Manifests, Platforms, Referrers, copy, select};
use pier_layout::DistributionFolder;
use pier_oci::{Digest, Reference, Registry, Repository};

use super::{
    catalog,
    staging::Staging,
    subset::{self, Subset},
    wanted::{Choice, Wanted},
};
use crate::{
    cli::TestdataInit,
    config::Config,
    failure::{Failure, Status},
    output::Output,
    place::{Reading, Sites},
    progress::{Journey, Reporter},
    signals,
};

pub(super) async fn run(
    options: &TestdataInit,
    destination: &Path,
    config: &Config,
    output: &Output,
) -> Result<Status, Failure> {
    let wanted = Wanted::all(options)?;
    let staging = Staging::begin(destination)?;
    let folder = staging.folder().await?;
    let sites = Sites::new(config, &options.registries);
    let reporter = Reporter::start(options.progress.progress)?;
    let referrers = if options.referrers { Referrers::Include } else { Referrers::Leave };
    let all = async {
        for image in &wanted {
            let journey = reporter.journey(&image.source);
            let digest = fetch(image, &folder, referrers, &sites, &journey).await?;
            journey.arrived(digest);
        }
        Ok(())
    };
    let outcome = signals::unless_stopped(all, "nothing of it is left").await;
    reporter.finish();
    outcome?;
    staging.publish()?;
    let folder = DistributionFolder::open(destination).await?;
    catalog::print(&catalog::list(&folder).await?, output)?;
    Ok(Status::Done)
}

/// Brings one image into the folder, under its name there. Gives the digest that it has there.
async fn fetch(
    wanted: &Wanted,
    folder: &DistributionFolder,
    referrers: Referrers,
    sites: &Sites<'_>,
    journey: &Journey,
) -> Result<Digest, Failure> {
    let Wanted { place, repository, tag, choice, .. } = wanted;
    let progress = journey.progress();
    let from = Reading::open(place, sites, &progress).await?;
    // A folder has no registry in front of its names.
    let registry: Registry = "localhost".parse()?;
    let repository = Repository { registry, name: repository.clone() };
    let options = CopyOptions { platforms: Platforms::All, referrers, ..CopyOptions::default() };
    let reference = match choice {
        Choice::All => from.reference.clone(),
        Choice::Single(platform) => {
            let limit = options.manifest_limit;
            let mut manifests = Manifests::new(&*from.source, &from.reference.repository, limit);
            let root = manifests.root(&from.reference.selector()).await?;
            let image = select(&mut manifests, &root, platform).await?.image;
            if image.digest == root.digest() {
                subset::check_platform(&from, &root, std::slice::from_ref(platform), &progress).await?;
            }
            Reference { digest: Some(image.digest), ..from.reference.clone() }
        }
        Choice::Some(platforms) => match Subset::choose(&from, platforms, &progress).await? {
            Subset::Everything => from.reference.clone(),
            Subset::Entries { entries, annotations } => {
                let to = (folder as &dyn pier_content::Target, &repository, tag);
                return subset::store(&from, &entries, &annotations, to, &options, &progress).await;
            }
        },
    };
    let tags = std::slice::from_ref(tag);
    match copy(&*from.source, &reference, folder, &repository, tags, &options, &progress).await {
        Ok(copied) => Ok(copied.root.digest),
        Err(error) => Err(from.explain(error).await),
    }
}
