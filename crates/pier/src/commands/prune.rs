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
            "removed {} ({}) and {}",
            output::counted(collected.blobs, "blob"),
            output::bytes(collected.bytes),
            output::counted(collected.parts, "unfinished transfer"),
        )
    })?;
    Ok(Status::Done)
}
