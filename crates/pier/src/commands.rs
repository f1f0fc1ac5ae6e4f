//! A file for each verb.

pub(crate) mod approve;
pub(crate) mod catalog;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod delete;
pub(crate) mod fsck;
pub(crate) mod history;
pub(crate) mod htpasswd;
pub(crate) mod images;
pub(crate) mod inspect;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod manifest;
pub(crate) mod prune;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod referrers;
pub(crate) mod resolve;
pub(crate) mod rm;
pub(crate) mod serve;
pub(crate) mod tags;
pub(crate) mod testdata;
pub(crate) mod verify;

use anyhow::anyhow;
use pier_client::{Client, Remote};
use pier_oci::{Reference, Repository};
use pier_store::Store;

use crate::{
    config::Config,
    failure::{Failure, Status},
};

/// Asks a registry itself what no source can tell, again after failures that may pass.
async fn insist<T>(
    client: &Client,
    remote: &Remote,
    attempt: impl AsyncFnMut() -> pier_content::Result<T>,
) -> pier_content::Result<T> {
    client.retries().insist(remote.registry().as_str(), attempt).await
}

/// Reads the name of a repository, which has neither tag nor digest.
fn repository(text: &str) -> Result<Repository, Failure> {
    let reference: Reference = text.parse()?;
    let is_plain =
        reference.digest.is_none() && !text.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if is_plain {
        return Ok(reference.repository);
    }
    let error = anyhow!("`{text}` is the name of an image and not of a repository");
    Err(Failure::new(Status::Usage, error)
        .with_hint(format!("leave out what is behind `{}`", reference.repository.name)))
}

/// Opens the store that the configuration names; a folder that is not there becomes an empty store. Blocks for as
/// long as SQLite needs to open a file.
pub(crate) fn open_or_make_store(config: &Config) -> Result<Store, Failure> {
    Ok(Store::open(&config.data, config.store.options())?)
}

/// Opens the store that the configuration names, for commands that have nothing to do in a new one: a mistyped folder
/// must not pass for an empty store in which all is well.
pub(crate) fn open_store(config: &Config) -> Result<Store, Failure> {
    if matches!(config.data.try_exists(), Ok(false)) {
        let error = anyhow!("there is no data folder `{}`", config.data.display());
        return Err(Failure::new(Status::Usage, error)
            .with_hint("name the folder of `pier serve` with --data; `pier serve` makes it when it starts"));
    }
    open_or_make_store(config)
}
