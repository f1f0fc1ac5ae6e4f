//! Uploads that were begun and not finished, so that the next attempt, or the next command, goes on where the last one stopped.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::{Mutex, MutexGuard, PoisonError},
};

use pier_oci::{Digest, Repository};

/// Remembers where uploads go on. What is remembered is the URL that the registry gave: whoever has it may write to the upload, so it is
/// to be kept from others.
///
/// Forgetting costs bytes and nothing else, so no call fails; each is quick and may block for a moment.
pub trait UploadSessions: Debug + Send + Sync {
    /// The URL of an unfinished upload of `digest` to `repository`.
    fn find(&self, repository: &Repository, digest: &Digest) -> Option<String>;

    /// Remembers an upload, in place of an earlier one of the same blob.
    fn keep(&self, repository: &Repository, digest: &Digest, location: &str);

    /// Forgets an upload that has ended.
    fn forget(&self, repository: &Repository, digest: &Digest);
}

/// The uploads that are under way in this process. Two of one blob at once must not go on with one session: the second neither looks for one
/// nor leaves one behind.
#[derive(Debug, Default)]
pub(crate) struct Active(Mutex<HashSet<(Repository, Digest)>>);

/// A blob's place among the uploads that are under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    active: &'a Active,
    key: (Repository, Digest),
}

impl Active {
    /// `None` while somebody else has it.
    pub(crate) fn claim(&self, repository: &Repository, digest: &Digest) -> Option<Claim<'_>> {
        let key = (repository.clone(), *digest);
        self.lock().insert(key.clone()).then(|| Claim { active: self, key })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(Repository, Digest)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.active.lock().remove(&self.key);
    }
}

/// Remembers uploads for as long as the process lives.
#[derive(Debug, Default)]
pub struct SessionsInMemory(Mutex<HashMap<(Repository, Digest), String>>);

impl UploadSessions for SessionsInMemory {
    fn find(&self, repository: &Repository, digest: &Digest) -> Option<String> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(&(repository.clone(), *digest)).cloned()
    }

    fn keep(&self, repository: &Repository, digest: &Digest, location: &str) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert((repository.clone(), *digest), location.to_owned());
    }

    fn forget(&self, repository: &Repository, digest: &Digest) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&(repository.clone(), *digest));
    }
}
