//! A store as a place to write to: what is pulled, imported and mirrored ends here.

use std::sync::Arc;

use async_trait::async_trait;
use pier_oci::{Descriptor, Digest, Manifest, Repository, RepositoryName, Selector, Tag};

use crate::{
    BlobStore, Catalog, Claim, Completeness, Error, Mounted, Origin, Progress, PutManifest, Result, Target,
    manifests::{blobs_of, is_manifest},
    store_source::local_name,
    transfer::{Destination, transfer},
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
    /// Whether the repository shows the blob, and will for as long as a lease lasts: the link alone could be
    /// collected before the manifest that the caller is about to send.
    async fn holds_blob(&self, name: &RepositoryName, descriptor: &Descriptor) -> Result<bool> {
        match self.catalog.link(name, &descriptor.digest, Claim::From(name.clone())).await {
            // A blob of another size is a lie about one or the other; the upload finds out and says so.
            Ok(size) => Ok(size == descriptor.size),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Target for StoreTarget {
    fn name(&self) -> String {
        "the local store".to_owned()
    }

    /// An image manifest counts as there only with its config and layers, since it may have been stored sparsely.
    async fn has(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool> {
        let name = local_name(repository)?;
        if !is_manifest(descriptor) {
            return self.holds_blob(&name, descriptor).await;
        }
        let manifest = match self.catalog.resolve(&name, &Selector::Digest(descriptor.digest)).await {
            Ok(manifest) => manifest,
            Err(Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        // A descriptor that lies about the type must not make an index, whose children nobody checked, pass for an image.
        if *manifest.media_type() != descriptor.media_type {
            return Ok(false);
        }
        for blob in blobs_of(&manifest) {
            let needed = !blob.media_type.is_nondistributable();
            if needed && self.catalog.linked(&name, &blob.digest).await? != Some(blob.size) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn mount(&self, repository: &Repository, digest: &Digest, from: &Repository) -> Result<Mounted> {
        let claim = Claim::From(local_name(from)?);
        match self.catalog.link(&local_name(repository)?, digest, claim).await {
            Ok(_) => Ok(Mounted::Yes),
            Err(Error::NotFound { .. }) => Ok(Mounted::No),
            Err(error) => Err(error),
        }
    }

    async fn upload(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()> {
        let name = local_name(repository)?;
        let destination = Destination { blobs: &*self.blobs, catalog: &*self.catalog, repository: &name };
        transfer(origin, descriptor, destination, progress).await.map(drop)
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        tags: &[Tag],
        completeness: Completeness,
    ) -> Result<()> {
        self.catalog
            .put_manifest(PutManifest {
                repository: local_name(repository)?,
                manifest: Arc::new(manifest.clone()),
                tags: tags.to_vec(),
                completeness,
            })
            .await
    }
}
