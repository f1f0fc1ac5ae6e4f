//! A file for each verb.

pub(crate) mod fsck;
pub(crate) mod images;
pub(crate) mod prune;
pub(crate) mod rm;
pub(crate) mod serve;

use pier_store::Store;

use crate::{config::Config, failure::Failure};

/// Opens the store that the configuration names. Blocks for as long as SQLite needs to open a file.
fn open_store(config: &Config) -> Result<Store, Failure> {
    Ok(Store::open(&config.data, config.store.options())?)
}
