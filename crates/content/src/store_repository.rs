//! One repository of a store, by the name that it has there, as a place to read from and to write to.
//!
//! [`StoreSource`](crate::StoreSource) and [`StoreTarget`](crate::StoreTarget) are for content of registries and choose the
//! repository by where it came from. What was pushed to the store itself has no such origin, so here the repository
//! that a call names is not looked at.

use std::sync::Arc;

use async_trait::async_trait;
use pier_oci::{Descriptor, Digest, Manifest, Reference, Repository, RepositoryName, Selector, Tag};

use crate::{
    Blob, BlobStore, ByteRange, Catalog, Claim, Completeness, Error, Mounted, Opened, Origin, Progress,
    PutManifest, ReferrersOf, Result, Source, Subject, TagRules, Target,
    manifests::{blobs_of, is_manifest},
    transfer::{Destination, transfer},
};

/// What a store calls itself in errors.
pub(crate) const STORE: &str = "the local store";

/// Referrers that are asked for at once.
const REFERRERS: usize = 1000;

/// A repository of a store. A blob is given only when the repository links it.
#[derive(Clone, Debug)]
pub struct StoreRepository {
    /// The bytes.
    pub blobs: Arc<dyn BlobStore>,
    /// The names of the same store.
    pub catalog: Arc<dyn Catalog>,
    /// Its name there.
    pub name: RepositoryName,
}

impl StoreRepository {
    /// Shows a blob that is committed, if the claim holds.
    pub(crate) async fn link(&self, digest: &Digest, claim: Claim) -> Result<Mounted> {
        match self.catalog.link(&self.name, digest, claim).await {
            Ok(_) => Ok(Mounted::Yes),
            Err(Error::NotFound { .. }) => Ok(Mounted::No),
            Err(error) => Err(error),
        }
    }

    /// A blob that the repository shows.
    async fn blob(&self, descriptor: &Descriptor) -> Result<Blob> {
        if self.catalog.linked(&self.name, &descriptor.digest).await?.is_none() {
            // The same answer whether the store has the blob or not.
            let subject = Subject::RepositoryBlob(self.name.clone(), descriptor.digest);
            return Err(Error::NotFound { subject });
        }
        self.blobs.open(&descriptor.digest).await
    }

    /// Whether the repository shows the blob, and will for as long as a lease lasts: the link alone could be
    /// collected before the manifest that the caller is about to send.
    async fn holds_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        match self.catalog.link(&self.name, &descriptor.digest, Claim::From(self.name.clone())).await {
            // A blob of another size is a lie about one or the other; the upload finds out and says so.
            Ok(size) => Ok(size == descriptor.size),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Source for StoreRepository {
    fn name(&self) -> String {
        STORE.to_owned()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let manifest = self.catalog.resolve(&self.name, &reference.selector()).await?;
        Ok(manifest.descriptor())
    }

    async fn manifest(&self, _: &Repository, selector: &Selector, limit: u64) -> Result<Manifest> {
        let manifest = self.catalog.resolve(&self.name, selector).await?;
        let size = manifest.size();
        if size > limit {
            return Err(Error::Size {
                subject: Subject::Manifest(self.name.clone(), selector.clone()),
                expected: limit,
                actual: size,
                origin: Some(STORE.to_owned()),
            });
        }
        Ok(Arc::unwrap_or_clone(manifest))
    }

    async fn open(&self, _: &Repository, descriptor: &Descriptor, range: ByteRange) -> Result<Opened> {
        let blob = self.blob(descriptor).await?;
        let start = range.start.min(blob.size);
        let stream = blob.read(range).await?;
        Ok(Opened { start, size: Some(blob.size), stream })
    }

    async fn held(&self, _: &Repository, descriptor: &Descriptor) -> Result<Option<Blob>> {
        self.blob(descriptor).await.map(Some)
    }

    async fn referrers(&self, _: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        let mut of = ReferrersOf { subject: *digest, artifact_type: None, after: None, limit: REFERRERS };
        let mut all = Vec::new();
        loop {
            let page = self.catalog.referrers(&self.name, &of).await?;
            of.after = page.items.last().map(|last| last.digest);
            all.extend(page.items);
            if !page.more || of.after.is_none() {
                return Ok(all);
            }
        }
    }
}

#[async_trait]
impl Target for StoreRepository {
    fn name(&self) -> String {
        STORE.to_owned()
    }

    /// An image manifest counts as there only with its config and layers, since it may have been stored sparsely.
    async fn has(&self, _: &Repository, descriptor: &Descriptor) -> Result<bool> {
        if !is_manifest(descriptor) {
            return self.holds_blob(descriptor).await;
        }
        let manifest = match self.catalog.resolve(&self.name, &Selector::Digest(descriptor.digest)).await {
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
            if needed && self.catalog.linked(&self.name, &blob.digest).await? != Some(blob.size) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Never: a repository elsewhere is not known here. What is in this store is linked without being sent anyway.
    async fn mount(&self, _: &Repository, _: &Digest, _: &Repository) -> Result<Mounted> {
        Ok(Mounted::No)
    }

    async fn upload(
        &self,
        _: &Repository,
        descriptor: &Descriptor,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()> {
        let destination =
            Destination { blobs: &*self.blobs, catalog: &*self.catalog, repository: &self.name };
        transfer(origin, descriptor, destination, progress).await.map(drop)
    }

    async fn put_manifest(
        &self,
        _: &Repository,
        manifest: &Manifest,
        tags: &[Tag],
        completeness: Completeness,
    ) -> Result<()> {
        self.catalog
            .put_manifest(PutManifest {
                repository: self.name.clone(),
                manifest: Arc::new(manifest.clone()),
                tags: tags.to_vec(),
                completeness,
                rules: TagRules::default(),
            })
            .await
            .map(drop)
    }
}

/// The name under which a store keeps a repository.
pub(crate) fn local_name(repository: &Repository) -> Result<RepositoryName> {
    repository.local_name().map_err(|error| Error::Invalid {
        subject: Subject::Repository(repository.name.clone()),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CopyOptions, Memory, copy,
        fixtures::{Shelf, named, reference, repository, tag},
    };

    fn place(memory: &Arc<Memory>, name: &str) -> StoreRepository {
        StoreRepository { blobs: memory.clone(), catalog: memory.clone(), name: name.parse().unwrap() }
    }

    async fn bring(source: &dyn Source, target: &dyn Target) -> Result<()> {
        let (from, options) = (reference("r.test/from:t"), CopyOptions::default());
        let to = repository("r.test/to");
        copy(source, &from, target, &to, &[tag("t")], &options, &Progress::default()).await.map(drop)
    }

    #[tokio::test]
    async fn reads_and_writes_under_its_own_name_whatever_repository_is_named() {
        let mut shelf = Shelf::default();
        let image = shelf.image("config", &[b"layer"]);
        shelf.tag("t", &image);
        let memory = Arc::new(Memory::default());
        let (mine, other) = (place(&memory, "team/mine"), place(&memory, "team/other"));

        bring(&shelf, &mine).await.unwrap();
        bring(&mine, &other).await.unwrap();

        for name in ["team/mine", "team/other"] {
            let selector = Selector::Tag(tag("t"));
            let found = memory.resolve(&name.parse().unwrap(), &selector).await.unwrap();
            assert_eq!(found.digest(), named(&image));
        }
        let names = memory.repositories(None, 10).await.unwrap().items;
        assert_eq!(names, ["team/mine", "team/other"].map(|name| name.parse().unwrap()));
    }

    #[tokio::test]
    async fn a_blob_that_it_does_not_link_is_not_there() {
        let mut shelf = Shelf::default();
        let image = shelf.image("config", &[b"layer"]);
        shelf.tag("t", &image);
        let memory = Arc::new(Memory::default());
        bring(&shelf, &place(&memory, "team/mine")).await.unwrap();

        let stranger = place(&memory, "team/stranger");
        let blob = crate::fixtures::blob_descriptor(b"layer");
        let opened = stranger.open(&repository("r.test/any"), &blob, ByteRange::ALL).await;
        assert!(matches!(opened, Err(Error::NotFound { .. })));
        let held = stranger.held(&repository("r.test/any"), &blob).await;
        assert!(matches!(held, Err(Error::NotFound { .. })));
    }
}
