//! A mirror as a source: asked first, and never the last word.
//!
//! A mirror is somebody's copy. That it lacks something, refuses, is broken or answers with a login page says nothing about the registry,
//! so none of it becomes the outcome of a call: each is logged with its cause, and the next source is asked. Only wrong bytes are passed
//! on as what they are, since who sent them has to be named.
//!
//! A mirror that cannot even be connected to is left alone for a while, so that an image of sixty layers does not wait for it sixty times.

use std::{
    error::Error as StdError,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use pier_content::{ByteRange, Error, Filling, Opened, Result, Source};
use pier_oci::{Descriptor, Digest, MAX_MANIFEST_BYTES, Manifest, Reference, Repository, Selector};
use tokio::time::Instant;

use crate::{hosts::Trust, transport::is_unanswered};

/// How long a mirror that could not be connected to is passed over.
const REST: Duration = Duration::from_secs(30);

/// What a source that does not decide says.
const NO_WORD: Error = Error::Unsupported { what: "deciding in place of the registry" };

/// A mirror of a registry.
#[derive(Debug)]
pub(crate) struct MirrorSource {
    source: Arc<dyn Source>,
    trust: Trust,
    rest: Arc<Rest>,
}

/// Until when a mirror is passed over. Shared by all that ask it.
#[derive(Debug, Default)]
pub(crate) struct Rest(Mutex<Option<Instant>>);

impl Rest {
    fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
    }

    fn is_over(&self) -> bool {
        let until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_none_or(|until| Instant::now() >= until)
    }
}

impl MirrorSource {
    pub(crate) fn new(source: Arc<dyn Source>, trust: Trust, rest: Arc<Rest>) -> Self {
        Self { source, trust, rest }
    }

    /// Whether it is asked at all.
    fn wake(&self) -> Result<()> {
        if self.rest.is_over() { Ok(()) } else { Err(NO_WORD) }
    }

    /// What a failure means for the call.
    fn weigh(&self, error: Error) -> Error {
        let mirror = self.source.name();
        let cause = &error as &dyn StdError;
        match &error {
            Error::Integrity { .. } | Error::Size { .. } => return error.blaming(&mirror),
            // Faults of our own side stay what they are.
            Error::StorageFull { .. } | Error::Io { .. } | Error::Database { .. } | Error::Busy { .. } => {
                return error;
            }
            Error::NotFound { .. } | Error::Unsupported { .. } => {
                tracing::debug!(mirror, error = cause, "a mirror does not have it");
            }
            error if is_unanswered(error) => {
                tracing::warn!(mirror, error = cause, rest = ?REST, "a mirror cannot be reached and is passed over");
                self.rest.begin();
            }
            Error::Denied { .. } | Error::Untrusted { .. } => {
                tracing::warn!(mirror, error = cause, "a mirror refuses or cannot be trusted");
            }
            Error::Credentials { .. } => {
                tracing::warn!(
                    mirror,
                    error = cause,
                    "the credentials for a mirror cannot be had, and it is passed over"
                );
            }
            _ => tracing::debug!(mirror, error = cause, "a mirror failed"),
        }
        NO_WORD
    }

    fn believed(&self) -> Result<()> {
        if self.trust == Trust::Names { Ok(()) } else { Err(NO_WORD) }
    }
}

#[async_trait]
impl Source for MirrorSource {
    fn name(&self) -> String {
        self.source.name()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let selector = reference.selector();
        match (&selector, self.trust) {
            (Selector::Tag(_), Trust::Content) => Err(NO_WORD),
            (_, Trust::Names) => {
                self.wake()?;
                self.source.resolve(reference).await.map_err(|error| self.weigh(error))
            }
            // Of a digest too it says the type and the size, so both come from bytes that were hashed.
            (Selector::Digest(_), Trust::Content) => {
                let manifest = self.manifest(&reference.repository, &selector, MAX_MANIFEST_BYTES).await?;
                Ok(manifest.descriptor())
            }
        }
    }

    async fn manifest(&self, repository: &Repository, selector: &Selector, limit: u64) -> Result<Manifest> {
        if matches!(selector, Selector::Tag(_)) {
            self.believed()?;
        }
        self.wake()?;
        self.source.manifest(repository, selector, limit).await.map_err(|error| self.weigh(error))
    }

    async fn open(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
    ) -> Result<Opened> {
        self.wake()?;
        self.source.open(repository, descriptor, range).await.map_err(|error| self.weigh(error))
    }

    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.believed()?;
        self.wake()?;
        self.source.referrers(repository, digest).await.map_err(|error| self.weigh(error))
    }

    async fn fill(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        filling: &dyn Filling,
    ) -> Result<()> {
        self.wake()?;
        self.source.fill(repository, descriptor, filling).await.map_err(|error| self.weigh(error))
    }
}
