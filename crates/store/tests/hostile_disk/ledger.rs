//! What a store has been asked and has acknowledged.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use pier_content::Result;
use pier_oci::{Digest, RepositoryName, Tag};

/// Something that a repository shows or does not show.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Blob(String, String),
    Manifest(String, String),
    Tag(String, String),
}

impl Name {
    pub(crate) fn blob(repository: &RepositoryName, digest: &Digest) -> Self {
        Self::Blob(repository.to_string(), digest.to_string())
    }

    pub(crate) fn manifest(repository: &RepositoryName, digest: &Digest) -> Self {
        Self::Manifest(repository.to_string(), digest.to_string())
    }

    pub(crate) fn tag(repository: &RepositoryName, tag: &Tag) -> Self {
        Self::Tag(repository.to_string(), tag.to_string())
    }
}

/// What a name may show: the bytes, or nothing.
pub(crate) type Shown = Option<Bytes>;

/// Of each name what it may show. One that was acknowledged shows one thing; one whose change was cut off may show
/// the old or the new.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<Name, Vec<Shown>>>);

impl Ledger {
    /// Does work that is to bring about `changes`, and notes whether it was acknowledged.
    pub(crate) async fn attempt<T>(
        &self,
        changes: Vec<(Name, Shown)>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        for (name, shown) in &changes {
            self.names().entry(name.clone()).or_insert_with(|| vec![None]).push(shown.clone());
        }
        let done = work.await?;
        for (name, shown) in changes {
            self.names().insert(name, vec![shown]);
        }
        Ok(done)
    }

    /// From here on a name may show anything: what is asked of the store next decides over it by other rules.
    pub(crate) fn forget(&self, name: &Name) {
        self.names().remove(name);
    }

    /// What is noted so far, apart from what will be noted here.
    pub(crate) fn copy(&self) -> Self {
        Self(Mutex::new(self.names().clone()))
    }

    pub(crate) fn entries(&self) -> Vec<(Name, Vec<Shown>)> {
        self.names().clone().into_iter().collect()
    }

    fn names(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Vec<Shown>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
