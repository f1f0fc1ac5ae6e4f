//! `pier logout`

use anyhow::anyhow;
use pier_client::credentials::CredentialStore;
use pier_oci::Registry;
use serde::Serialize;

use crate::{
    cli::Logout,
    config::Config,
    failure::{Failure, Status},
    output::Output,
    registries,
};

/// Where credentials were.
#[derive(Debug, Serialize)]
struct Entry {
    registry: String,
    places: Vec<String>,
}

pub(crate) async fn run(options: &Logout, config: &Config, output: &Output) -> Result<Status, Failure> {
    let registry: Registry = options.registry.parse()?;
    let places =
        CredentialStore::new(registries::locations(config, &options.registries)?).erase(&registry).await?;
    if places.is_empty() {
        return Err(Failure::new(Status::No, anyhow!("there are no credentials for `{registry}`")));
    }
    output.data(&Entry { registry: registry.to_string(), places }, text)?;
    Ok(Status::Done)
}

fn text(entry: &Entry) -> String {
    let Entry { registry, places } = entry;
    let lines: Vec<String> =
        places.iter().map(|place| format!("logged out of `{registry}`, removed from {place}")).collect();
    lines.join("\n")
}
