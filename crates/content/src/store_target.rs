//! A store as a place to write to: what is pulled, imported and mirrored ends here.

use std::sync::Arc;

use async_trait::async_trait;
use pier_oci::{Descriptor, Digest, Manifest, Repository, Tag};

use crate::{
    BlobStore, Catalog, Claim, Completeness, Mounted, Origin, Progress, Result, StoreRepository, Target,
    store_repository::{STORE, local_name},
};

/// A store that images are copied into, under the names that [`Repository::local_name`] gives.
#[derive(Clone, Debug)]
pub struct StoreTarget {
    /// The bytes.
    pub blobs: Arc<dyn BlobStore>,
    /// The names of the same store.
    pub catalog: Arc<dyn Catalog>,
}

impl StoreTarget {
    fn of(&self, repository: &Repository) -> Result<StoreRepository> {
        let Self { blobs, catalog } = self.clone();
        Ok(StoreRepository { blobs, catalog, name: local_name(repository)? })
    }
}

#[async_trait]
impl Target for StoreTarget {
    fn name(&self) -> String {
        STORE.to_owned()
    }

    async fn has(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool> {
        self.of(repository)?.has(repository, descriptor).await
    }

    async fn mount(&self, repository: &Repository, digest: &Digest, from: &Repository) -> Result<Mounted> {
        self.of(repository)?.link(digest, Claim::From(local_name(from)?)).await
    }

    async fn upload(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()> {
        self.of(repository)?.upload(repository, descriptor, origin, progress).await
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        tags: &[Tag],
        completeness: Completeness,
    ) -> Result<()> {
        self.of(repository)?.put_manifest(repository, manifest, tags, completeness).await
    }
}
