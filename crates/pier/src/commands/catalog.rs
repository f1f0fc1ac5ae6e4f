//! `pier catalog`

use pier_oci::{Registry, RepositoryName};
use serde::Serialize;

use crate::{
    cli::Repositories,
    config::Config,
    failure::{Failure, Status},
    output::Output,
    registries,
};

#[derive(Debug, Serialize)]
struct List {
    registry: String,
    /// In the registry's order, without the registry in front.
    repositories: Vec<String>,
}

pub(crate) async fn run(options: &Repositories, config: &Config, output: &Output) -> Result<Status, Failure> {
    let registry: Registry = options.registry.parse()?;
    let client = registries::client(config, &options.registries)?;
    let remote = client.remote(&registry)?;
    let names = super::insist(&client, &remote, async || remote.repositories().await).await?;
    let repositories = names.iter().map(RepositoryName::to_string).collect();
    output.data(&List { registry: registry.to_string(), repositories }, text)?;
    Ok(Status::Done)
}

/// Whole names, to be given to other commands.
fn text(list: &List) -> String {
    let names: Vec<String> =
        list.repositories.iter().map(|name| format!("{}/{name}", list.registry)).collect();
    names.join("\n")
}
