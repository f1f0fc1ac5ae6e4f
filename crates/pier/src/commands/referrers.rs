//! `pier referrers`

use std::collections::BTreeMap;

use pier_oci::{Descriptor, Digest, MediaType, Reference};
use serde::Serialize;

use crate::{
    cli::ListReferrers,
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
    registries,
};

#[derive(Debug, Serialize)]
struct List {
    repository: String,
    /// What they refer to.
    digest: Digest,
    /// In the registry's order.
    referrers: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    digest: Digest,
    media_type: MediaType,
    size: u64,
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
}

pub(crate) async fn run(
    options: &ListReferrers,
    config: &Config,
    output: &Output,
) -> Result<Status, Failure> {
    let reference: Reference = options.reference.parse()?;
    let repository = &reference.repository;
    let client = registries::client(config, &options.registries)?;
    // What does not exist may have referrers, so a digest need not be asked for.
    let digest = match reference.digest {
        Some(digest) => digest,
        None => client.source(&repository.registry)?.resolve(&reference).await?.digest,
    };
    let remote = client.remote(&repository.registry)?;
    let artifact_type = options.artifact_type.as_deref();
    let list = async || remote.list_referrers(repository, &digest, artifact_type).await;
    let referrers = super::insist(&client, &remote, list).await?.into_iter().map(entry).collect();
    output.data(&List { repository: repository.to_string(), digest, referrers }, text)?;
    Ok(Status::Done)
}

fn entry(descriptor: Descriptor) -> Entry {
    let Descriptor { media_type, digest, size, artifact_type, annotations, .. } = descriptor;
    Entry { digest, media_type, size, artifact_type, annotations }
}

fn text(list: &List) -> String {
    let mut rows = vec![["ARTIFACT TYPE", "DIGEST", "SIZE"].map(str::to_owned).to_vec()];
    rows.extend(list.referrers.iter().map(|entry| {
        let artifact_type = entry.artifact_type.clone().unwrap_or_else(|| "-".to_owned());
        vec![artifact_type, entry.digest.to_string(), output::bytes(entry.size)]
    }));
    output::table(&rows)
}
