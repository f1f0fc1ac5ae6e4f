//! Uploads that were begun and not finished, so that the next attempt, or the next command, goes on where the last one stopped.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Mutex, PoisonError},
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
