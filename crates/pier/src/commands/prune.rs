//! `pier prune`

use pier_store::Leases;

use crate::{
    cli::Prune,
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
};

pub(crate) async fn run(options: &Prune, config: &Config, output: &Output) -> Result<Status, Failure> {
    let leases = if options.ignore_leases { Leases::Ignore } else { Leases::Respect };
    let collected = super::open_store(config)?.collect(leases).await?;
    output.data(&collected, |collected| {
        format!(
            "removed {} blobs ({}) and {} unfinished transfers",
            collected.blobs,
            output::bytes(collected.bytes),
            collected.parts
        )
    });
    Ok(Status::Done)
}
