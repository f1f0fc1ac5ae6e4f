//! `pier tags`

use pier_oci::Tag;
use serde::Serialize;

use crate::{
    cli::Tags,
    config::Config,
    failure::{Failure, Status},
    output::Output,
    registries,
};

#[derive(Debug, Serialize)]
struct List {
    repository: String,
    /// In the registry's order.
    tags: Vec<String>,
}

pub(crate) async fn run(options: &Tags, config: &Config, output: &Output) -> Result<Status, Failure> {
    let repository = super::repository(&options.repository)?;
    let client = registries::client(config, &options.registries)?;
    let remote = client.remote(&repository.registry)?;
    let tags = super::insist(&client, &remote, async || remote.tags(&repository).await).await?;
    let list = List { repository: repository.to_string(), tags: tags.iter().map(Tag::to_string).collect() };
    output.data(&list, |list| list.tags.join("\n"))?;
    Ok(Status::Done)
}
