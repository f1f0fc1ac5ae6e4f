//! A store as a place to read from: what is pushed, exported and unpacked comes from here.

use std::sync::Arc;

use async_trait::async_trait;
use pier_oci::{Descriptor, Digest, Manifest, Reference, Repository, Selector};

use crate::{
    Blob, BlobStore, ByteRange, Catalog, Opened, Result, Source, StoreRepository,
    store_repository::{STORE, local_name},
};

/// A store's content, as its repositories show it.
///
/// The repository of a registry is the one that [`Repository::local_name`] names. A blob is given only by a
/// repository that links it: that the store has the bytes is no right to read them.
#[derive(Clone, Debug)]
pub struct StoreSource {
    /// The bytes.
    pub blobs: Arc<dyn BlobStore>,
    /// The names of the same store.
    pub catalog: Arc<dyn Catalog>,
}

impl StoreSource {
    fn of(&self, repository: &Repository) -> Result<StoreRepository> {
        let Self { blobs, catalog } = self.clone();
        Ok(StoreRepository { blobs, catalog, name: local_name(repository)? })
    }
}

#[async_trait]
impl Source for StoreSource {
    fn name(&self) -> String {
        STORE.to_owned()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        self.of(&reference.repository)?.resolve(reference).await
    }

    async fn manifest(&self, repository: &Repository, selector: &Selector, limit: u64) -> Result<Manifest> {
        self.of(repository)?.manifest(repository, selector, limit).await
    }

    async fn open(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
    ) -> Result<Opened> {
        self.of(repository)?.open(repository, descriptor, range).await
    }

    async fn held(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Option<Blob>> {
        self.of(repository)?.held(repository, descriptor).await
    }

    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.of(repository)?.referrers(repository, digest).await
    }
}
