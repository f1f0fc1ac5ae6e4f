//! What places are opened with, each made when the first place needs it: a copy between two folders opens no store.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use pier_client::Client;
use pier_content::{Progress, RetryPolicy, Source, Target};
use pier_oci::Registry;
use pier_store::Store;

use crate::{
    cli::{Patience, RegistryOptions},
    commands,
    config::Config,
    failure::Failure,
    registries,
};

/// The wait after the first attempt, for who says how many there are to be and no more.
const INTERVAL: Duration = Duration::from_secs(1);

/// The local store and the way to registries.
#[derive(Debug)]
pub(crate) struct Sites<'a> {
    config: &'a Config,
    options: &'a RegistryOptions,
    patience: Patience,
    client: OnceLock<Client>,
    store: OnceLock<Arc<Store>>,
}

impl<'a> Sites<'a> {
    pub(crate) fn new(config: &'a Config, options: &'a RegistryOptions) -> Self {
        let (client, store) = (OnceLock::new(), OnceLock::new());
        Self { config, options, patience: Patience::default(), client, store }
    }

    /// The same, asking registries as often and as long as this says.
    pub(crate) fn insisting(self, patience: &Patience) -> Self {
        Self { patience: patience.clone(), ..self }
    }

    /// A registry to read from; waits are told to `progress`.
    pub(crate) fn source(
        &self,
        registry: &Registry,
        progress: &Progress,
    ) -> Result<Arc<dyn Source>, Failure> {
        let client = self.client()?;
        Ok(client.source_with(registry, &self.policy(client, progress))?)
    }

    /// A registry to write to; waits are told to `progress`.
    pub(crate) fn target(
        &self,
        registry: &Registry,
        progress: &Progress,
    ) -> Result<Arc<dyn Target>, Failure> {
        let client = self.client()?;
        Ok(client.target_with(registry, &self.policy(client, progress))?)
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

    fn policy(&self, client: &Client, progress: &Progress) -> RetryPolicy {
        let Patience { attempts, interval, timeout } = self.patience;
        let configured = RetryPolicy { progress: progress.clone(), ..client.retries().clone() };
        let policy = match (attempts, interval) {
            (None, None) => configured,
            _ => RetryPolicy {
                progress: progress.clone(),
                ..RetryPolicy::insistent(
                    attempts.unwrap_or(configured.attempts),
                    interval.unwrap_or(INTERVAL),
                    configured.max_delay,
                )
            },
        };
        RetryPolicy { time_limit: timeout, ..policy }
    }
}
