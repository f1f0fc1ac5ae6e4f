//! A store as a place to read from: what is pushed, exported and unpacked comes from here.

use std::sync::Arc;

use async_trait::async_trait;
use pier_oci::{Descriptor, Digest, Manifest, Reference, Repository, RepositoryName, Selector};

use crate::{Assurance, BlobStore, ByteRange, Catalog, Error, Opened, Result, Source, Subject};

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

#[async_trait]
impl Source for StoreSource {
    fn name(&self) -> String {
        "the local store".to_owned()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let name = local_name(&reference.repository)?;
        let manifest = self.catalog.resolve(&name, &reference.selector()).await?;
        Ok(manifest.descriptor())
    }

    async fn manifest(&self, repository: &Repository, selector: &Selector, limit: u64) -> Result<Manifest> {
        let name = local_name(repository)?;
        let manifest = self.catalog.resolve(&name, selector).await?;
        let size = manifest.size();
        if size > limit {
            return Err(Error::Size {
                subject: Subject::Manifest(name, selector.clone()),
                expected: limit,
                actual: size,
                origin: Some(self.name()),
            });
        }
        Ok(Arc::unwrap_or_clone(manifest))
    }

    async fn open(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
    ) -> Result<Opened> {
        let name = local_name(repository)?;
        if self.catalog.linked(&name, &descriptor.digest).await?.is_none() {
            return Err(not_shown(name, descriptor.digest));
        }
        let blob = self.blobs.open(&descriptor.digest).await?;
        let start = range.start.min(blob.size);
        let stream = blob.read(range).await?;
        Ok(Opened { start, size: Some(blob.size), stream })
    }

    fn assurance(&self) -> Assurance {
        Assurance::Verified
    }

    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.catalog.referrers(&local_name(repository)?, digest).await
    }
}

/// The same answer whether the store has the blob or not.
fn not_shown(repository: RepositoryName, digest: Digest) -> Error {
    Error::NotFound { subject: Subject::RepositoryBlob(repository, digest) }
}

/// The name under which a store keeps a repository.
pub(crate) fn local_name(repository: &Repository) -> Result<RepositoryName> {
    repository.local_name().map_err(|error| Error::Invalid {
        subject: Subject::Repository(repository.name.clone()),
        reason: error.to_string(),
    })
}
