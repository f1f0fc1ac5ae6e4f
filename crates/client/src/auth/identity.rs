//! Who we are, remembered: finding out may run a program, and every request wants to know.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pier_content::{Error, Result};
use pier_oci::{Registry, Repository, RepositoryName};
use tokio::sync::Semaphore;

use super::flight::Flights;
use crate::credentials::{Credential, CredentialSource, Extent};

/// Repositories with credentials of their own that are remembered.
const REMEMBERED: usize = 1024;

/// Who we are, and how we know.
#[derive(Debug)]
pub(super) struct Identity {
    /// Nobody without one.
    pub(super) credential: Option<Credential>,
    /// Where it is from, for people.
    pub(super) place: String,
}

/// Who we are at the repositories of one registry.
#[derive(Debug)]
pub(super) struct Identities {
    registry: Registry,
    source: Arc<dyn CredentialSource>,
    questions: Flights<Option<RepositoryName>, Arc<Identity>>,
    /// The source is asked about one repository at a time, since its first answer is often the answer for all.
    turn: Semaphore,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    everywhere: Option<Arc<Identity>>,
    /// Without a name for the registry as a whole.
    one_by_one: HashMap<Option<RepositoryName>, Arc<Identity>>,
}

impl Identities {
    pub(super) fn new(registry: Registry, source: Arc<dyn CredentialSource>) -> Self {
        Self {
            registry,
            source,
            questions: Flights::default(),
            turn: Semaphore::new(1),
            known: Mutex::default(),
        }
    }

    /// Who we are, if that was found out before.
    pub(super) fn known(&self, repository: Option<&Repository>) -> Option<Arc<Identity>> {
        let known = self.lock();
        if let Some(identity) = &known.everywhere {
            return Some(Arc::clone(identity));
        }
        known.one_by_one.get(&repository.map(|repository| repository.name.clone())).map(Arc::clone)
    }

    /// Who we are.
    pub(super) async fn of(&self, repository: Option<&Repository>) -> Result<Arc<Identity>> {
        if let Some(identity) = self.known(repository) {
            return Ok(identity);
        }
        self.ask(repository, None).await
    }

    /// Who we are now that `refused` is not accepted: the source is asked once more, unless somebody else did so meanwhile.
    pub(super) async fn again(
        &self,
        repository: Option<&Repository>,
        refused: &Arc<Identity>,
    ) -> Result<Arc<Identity>> {
        loop {
            let identity = self.ask(repository, Some(refused)).await?;
            // Unless the question that was joined was asked before this one was refused; the next is our own.
            if !Arc::ptr_eq(&identity, refused) {
                return Ok(identity);
            }
        }
    }

    async fn ask(
        &self,
        repository: Option<&Repository>,
        refused: Option<&Arc<Identity>>,
    ) -> Result<Arc<Identity>> {
        let name = repository.map(|repository| repository.name.clone());
        self.questions.join(name, async || self.ask_source(repository, refused).await).await
    }

    async fn ask_source(
        &self,
        repository: Option<&Repository>,
        refused: Option<&Arc<Identity>>,
    ) -> Result<Arc<Identity>> {
        let _turn = self.turn.acquire().await.map_err(|error| Error::Unavailable {
            origin: self.registry.to_string(),
            operation: "find credentials",
            retry_after: None,
            source: Some(error.into()),
        })?;
        if let Some(known) = self.known(repository)
            && refused.is_none_or(|refused| !Arc::ptr_eq(refused, &known))
        {
            return Ok(known);
        }
        let found = match repository {
            Some(repository) => self.source.find(repository).await?,
            None => self.source.find_registry(&self.registry).await?,
        };
        let identity = Arc::new(Identity { credential: found.credential, place: found.place });
        let mut known = self.lock();
        match found.extent {
            Extent::Registry => {
                known.one_by_one.clear();
                known.everywhere = Some(Arc::clone(&identity));
            }
            Extent::Repository => {
                known.everywhere = None;
                if known.one_by_one.len() >= REMEMBERED {
                    known.one_by_one.clear();
                }
                let name = repository.map(|repository| repository.name.clone());
                known.one_by_one.insert(name, Arc::clone(&identity));
            }
        }
        Ok(identity)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
