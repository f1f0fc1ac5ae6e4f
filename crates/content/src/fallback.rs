//! Several sources of the same content, asked one after the other.
//!
//! There is no resume code in here: a part knows its holes, so the next source sees only what the ones before it
//! left over. A swarm that loses its peers half-way and a registry that sends the rest is one such pair.

use std::sync::Arc;

use async_trait::async_trait;
use pier_oci::{Descriptor, Digest, Manifest, Reference, Repository, Selector};

use crate::{ByteRange, Error, Filling, Opened, Result, Source};

/// Sources in the order of preference; the last is usually the authority, such as the registry itself.
///
/// All of them speak of the same names: a repository means the same place to each, so a tag from the first that
/// answers is as good as from any other.
///
/// The next source is asked when one cannot be reached, does not have the content, refuses, cannot do what is
/// asked or sent bytes that were wrong. Errors of our own side, such as a full disk, end the call at once: no other
/// source could help.
///
/// # When all of them fail
/// The error that leaves the caller most to do is returned: one that may pass when asked again, else wrong content,
/// else a refusal, else that it is not there, else that nobody can do it; of several alike, the last source's.
/// A refusal is thus never reported while somebody else might still answer. The others are logged.
#[derive(Debug)]
pub struct Fallback {
    first: Arc<dyn Source>,
    others: Vec<Arc<dyn Source>>,
}

impl Fallback {
    /// Asks `first`, and then `others` in their order.
    pub fn new(first: Arc<dyn Source>, others: Vec<Arc<dyn Source>>) -> Self {
        Self { first, others }
    }

    fn sources(&self) -> impl Iterator<Item = &dyn Source> + Send {
        std::iter::once(&*self.first).chain(self.others.iter().map(|source| &**source))
    }
}

/// The failures so far; the most telling is kept.
#[derive(Default)]
struct Failures(Option<Error>);

impl Failures {
    /// Notes a failure, or gives it back when no other source could do better.
    fn note(&mut self, error: Error, origin: &dyn Source) -> Result<()> {
        let Some(weight) = weight(&error) else { return Err(error) };
        let error = name_sender(error, origin);
        let cause = &error as &dyn std::error::Error;
        if error.is_integrity() {
            tracing::warn!(
                origin = origin.name(),
                error = cause,
                "a source sent wrong content, asking the next"
            );
        } else {
            tracing::debug!(origin = origin.name(), error = cause, "a source failed, asking the next");
        }
        if self.0.as_ref().and_then(self::weight).is_none_or(|known| weight >= known) {
            self.0 = Some(error);
        }
        Ok(())
    }

    /// What to report when nobody succeeded.
    #[expect(clippy::expect_used, reason = "a fallback has at least one source, and none of them succeeded")]
    fn verdict<T>(self) -> Result<T> {
        Err(self.0.expect("at least one source was asked"))
    }
}

/// How much a failure of one source says about the whole; `None` when another source cannot help.
fn weight(error: &Error) -> Option<u8> {
    match error {
        error if error.is_retryable() => Some(4),
        Error::Integrity { .. } | Error::Size { .. } => Some(3),
        Error::Denied { .. } | Error::Untrusted { .. } => Some(2),
        Error::NotFound { .. } => Some(1),
        Error::Unsupported { .. } => Some(0),
        _ => None,
    }
}

/// Several sources hide behind one name, so wrong content names the one that sent it, unless it does already.
fn name_sender(error: Error, sender: &dyn Source) -> Error {
    match error {
        Error::Integrity { origin: None, .. } | Error::Size { origin: None, .. } => {
            error.blaming(&sender.name())
        }
        error => error,
    }
}

#[async_trait]
impl Source for Fallback {
    fn name(&self) -> String {
        self.sources().map(Source::name).collect::<Vec<_>>().join(", then ")
    }

    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let mut failures = Failures::default();
        for source in self.sources() {
            match source.resolve(reference).await {
                Err(error) => failures.note(error, source)?,
                done => return done,
            }
        }
        failures.verdict()
    }

    async fn manifest(&self, repository: &Repository, selector: &Selector, limit: u64) -> Result<Manifest> {
        let mut failures = Failures::default();
        for source in self.sources() {
            match source.manifest(repository, selector, limit).await {
                Err(error) => failures.note(error, source)?,
                done => return done,
            }
        }
        failures.verdict()
    }

    async fn open(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
    ) -> Result<Opened> {
        let mut failures = Failures::default();
        for source in self.sources() {
            match source.open(repository, descriptor, range).await {
                Err(error) => failures.note(error, source)?,
                done => return done,
            }
        }
        failures.verdict()
    }

    /// The first list that is not empty: a mirror that knows of no signature does not hide those of the registry.
    /// Empty only when every source said so, does not know the repository or keeps no referrers at all.
    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        let mut failures = Failures::default();
        for source in self.sources() {
            match source.referrers(repository, digest).await {
                Ok(found) if found.is_empty() => {}
                Ok(found) => return Ok(found),
                Err(Error::NotFound { .. } | Error::Unsupported { .. }) => {}
                Err(error) => failures.note(error, source)?,
            }
        }
        failures.0.map_or_else(|| Ok(Vec::new()), Err)
    }

    /// Each source in turn fills the holes that those before it left, and nothing else.
    async fn fill(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        filling: &dyn Filling,
    ) -> Result<()> {
        let mut failures = Failures::default();
        for source in self.sources() {
            match source.fill(repository, descriptor, filling).await {
                // A source may lose its peers behind the last byte; asking the next for nothing would be a request too many.
                Err(error) if filling.missing().is_empty() && weight(&error).is_some() => return Ok(()),
                Err(error) => failures.note(error, source)?,
                done => return done,
            }
        }
        failures.verdict()
    }

    /// The single sources, also those behind a source that is a fallback itself.
    fn parts(&self) -> Vec<&dyn Source> {
        let mut single = Vec::new();
        for source in self.sources() {
            let parts = source.parts();
            if parts.is_empty() { single.push(source) } else { single.extend(parts) }
        }
        single
    }
}

#[cfg(test)]
mod tests;
