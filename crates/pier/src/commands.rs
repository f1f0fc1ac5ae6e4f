//! A file for each verb.

pub(crate) mod copy;
pub(crate) mod fsck;
pub(crate) mod images;
pub(crate) mod prune;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rm;
pub(crate) mod serve;

use anyhow::anyhow;
use pier_store::Store;

use crate::{
    config::Config,
    failure::{Failure, Status},
};

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
