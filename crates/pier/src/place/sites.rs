//! What places are opened with, each made when the first place needs it: a copy between two folders opens no store.

use std::sync::{Arc, OnceLock};

use pier_client::Client;
use pier_content::{Progress, RetryPolicy, Source, Target};
use pier_oci::Registry;
use pier_store::Store;

use crate::{cli::RegistryOptions, commands, config::Config, failure::Failure, registries};

/// The local store and the way to registries.
#[derive(Debug)]
pub(crate) struct Sites<'a> {
    config: &'a Config,
    options: &'a RegistryOptions,
    client: OnceLock<Client>,
    store: OnceLock<Arc<Store>>,
}

impl<'a> Sites<'a> {
    pub(crate) fn new(config: &'a Config, options: &'a RegistryOptions) -> Self {
        Self { config, options, client: OnceLock::new(), store: OnceLock::new() }
    }

    /// A registry to read from; waits are told to `progress`.
    pub(crate) fn source(
        &self,
        registry: &Registry,
        progress: &Progress,
    ) -> Result<Arc<dyn Source>, Failure> {
        let client = self.client()?;
        Ok(client.source_with(registry, &policy(client, progress))?)
    }

    /// A registry to write to; waits are told to `progress`.
    pub(crate) fn target(
        &self,
        registry: &Registry,
        progress: &Progress,
    ) -> Result<Arc<dyn Target>, Failure> {
        let client = self.client()?;
        Ok(client.target_with(registry, &policy(client, progress))?)
    }

    /// The store, which has to be there.
    pub(crate) fn store(&self) -> Result<Arc<Store>, Failure> {
        self.open(commands::open_store)
    }

    /// The store, which is made when it is not there.
    pub(crate) fn store_or_new(&self) -> Result<Arc<Store>, Failure> {
        self.open(commands::open_or_make_store)
    }

    fn open(&self, open: fn(&Config) -> Result<Store, Failure>) -> Result<Arc<Store>, Failure> {
        if let Some(store) = self.store.get() {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(open(self.config)?);
        Ok(Arc::clone(self.store.get_or_init(|| store)))
    }

    fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = registries::client(self.config, self.options)?;
        Ok(self.client.get_or_init(|| client))
    }
}

fn policy(client: &Client, progress: &Progress) -> RetryPolicy {
    RetryPolicy { progress: progress.clone(), ..client.retries().clone() }
}
