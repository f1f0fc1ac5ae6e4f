//! The folder as a source, and as a store and a catalog that are only read.

use std::sync::Arc;

use async_trait::async_trait;
use pier_content::{
    Blob, BlobInfo, BlobStore, ByteRange, Catalog, Claim, Error, ImmutableTags, Ingest, IngestKey, Opened,
    Page, PutManifest, ReferrersOf, ReferrersPage, Result, Source, Stored, Subject, TagMove, TagRules,
};
use pier_oci::{
    Descriptor, Digest, MAX_MANIFEST_BYTES, Manifest, ManifestError, Reference, Repository, RepositoryName,
    Selector, Tag, View,
};

use super::{
    DistributionFolder,
    tree::{Shown, Tree, subject},
};
use crate::{extent::Extent, sys::blocking};

/// What is said to whoever would change the folder.
const READ_ONLY: Error = Error::Unsupported { what: "changing a folder that is only read" };

impl DistributionFolder {
    /// A manifest that a repository shows.
    pub(super) async fn revision(&self, repository: &RepositoryName, digest: Digest) -> Result<Manifest> {
        self.selected(repository, &Selector::Digest(digest), MAX_MANIFEST_BYTES).await
    }

    async fn selected(
        &self,
        repository: &RepositoryName,
        selector: &Selector,
        limit: u64,
    ) -> Result<Manifest> {
        let (repository, selector) = (repository.clone(), selector.clone());
        self.ask(move |tree| {
            let missing =
                || Error::NotFound { subject: Subject::Manifest(repository.clone(), selector.clone()) };
            let digest = match &selector {
                Selector::Digest(digest) => *digest,
                Selector::Tag(tag) => tree.tag(&repository, tag)?.ok_or_else(missing)?,
            };
            if !tree.shows(&repository, Shown::Revision, &digest)? {
                return Err(missing());
            }
            read(tree, &digest, limit)
        })
        .await
    }

    async fn size_of(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        let (repository, digest) = (repository.clone(), *digest);
        self.ask(move |tree| {
            if !tree.shows(&repository, Shown::Layer, &digest)? {
                return Ok(None);
            }
            Ok(tree.blob(&digest)?.map(|data| data.size))
        })
        .await
    }
}

/// A manifest, shown or not, as it was stored.
fn read(tree: &Tree, digest: &Digest, limit: u64) -> Result<Manifest> {
    let missing = || Error::NotFound { subject: subject(tree, digest) };
    let data = tree.blob(digest)?.ok_or_else(missing)?;
    let path = data.path.clone();
    let extent = Extent::in_file(Arc::new(data.file), 0, data.size, data.path);
    let bytes = extent.read_all(limit.min(MAX_MANIFEST_BYTES), || subject(tree, digest))?;
    Manifest::parse_expecting(bytes, None, *digest).map_err(|error| match error {
        ManifestError::Mismatch { expected, actual } => {
            Error::Integrity { expected, actual, origin: Some(format!("`{}`", path.display())) }
        }
        error => Error::Invalid { subject: subject(tree, digest), reason: error.to_string() },
    })
}

/// The manifests of a repository that refer to a subject, in the order of their digests, those behind `after`.
fn referrers(
    tree: &Tree,
    repository: &RepositoryName,
    subject: &Digest,
    after: Option<&Digest>,
) -> Result<Vec<Manifest>> {
    let mut found = Vec::new();
    for revision in tree.names(repository)?.revisions {
        if after.is_some_and(|after| revision <= *after) {
            continue;
        }
        match read(tree, &revision, MAX_MANIFEST_BYTES) {
            Ok(manifest) if manifest.subject().is_some_and(|named| named.digest == *subject) => {
                found.push(manifest);
            }
            Ok(_) => {}
            // Another manifest that is damaged is no reason to refuse this one.
            Err(error)
                if matches!(error, Error::NotFound { .. } | Error::Invalid { .. })
                    || error.is_integrity() =>
            {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot be a referrer");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Those, and what a tag of the referrers tag schema lists, each once.
fn all_referrers(tree: &Tree, repository: &RepositoryName, subject: &Digest) -> Result<Vec<Descriptor>> {
    let mut found: Vec<Descriptor> =
        referrers(tree, repository, subject, None)?.iter().map(Manifest::referrer_descriptor).collect();
    if let Some(list) = tree.tag(repository, &Tag::of_referrers(subject))?
        && let View::Index(index) = read(tree, &list, MAX_MANIFEST_BYTES)?.view()
    {
        for entry in &index.manifests {
            if found.iter().all(|known| known.digest != entry.digest) {
                found.push(entry.clone());
            }
        }
    }
    Ok(found)
}

#[async_trait]
impl Source for DistributionFolder {
    fn name(&self) -> String {
        format!("the folder `{}`", self.tree.path().display())
    }

    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let manifest =
            self.selected(&reference.repository.name, &reference.selector(), MAX_MANIFEST_BYTES).await?;
        Ok(manifest.descriptor())
    }

    async fn manifest(&self, repository: &Repository, selector: &Selector, limit: u64) -> Result<Manifest> {
        self.selected(&repository.name, selector, limit).await
    }

    async fn open(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
    ) -> Result<Opened> {
        let digest = &descriptor.digest;
        if self.size_of(&repository.name, digest).await?.is_none() {
            return Err(Error::NotFound {
                subject: Subject::RepositoryBlob(repository.name.clone(), *digest),
            });
        }
        let blob = BlobStore::open(self, digest).await?;
        let start = range.start.min(blob.size);
        Ok(Opened { start, size: Some(blob.size), stream: blob.read(range).await? })
    }

    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        let (repository, digest) = (repository.name.clone(), *digest);
        self.ask(move |tree| all_referrers(tree, &repository, &digest)).await
    }
}

#[async_trait]
impl BlobStore for DistributionFolder {
    async fn stat(&self, digest: &Digest) -> Result<Option<BlobInfo>> {
        let digest = *digest;
        let data = self.ask(move |tree| tree.blob(&digest)).await?;
        Ok(data.map(|data| BlobInfo { digest, size: data.size }))
    }

    async fn open(&self, digest: &Digest) -> Result<Blob> {
        let (tree, verified, digest) = (self.tree.clone(), Arc::clone(&self.verified), *digest);
        blocking(move || verified.open(&tree, &digest)?.ok_or_else(|| Error::blob_not_found(digest))).await
    }

    async fn ingest(&self, key: IngestKey) -> Result<Ingest> {
        match key {
            IngestKey::Blob { digest, .. } => match BlobStore::open(self, &digest).await {
                Ok(blob) => Ok(Ingest::Present(blob)),
                Err(Error::NotFound { .. }) => Err(READ_ONLY),
                Err(error) => Err(error),
            },
            IngestKey::NewUpload(_) | IngestKey::Upload(_) => Err(READ_ONLY),
        }
    }

    async fn delete(&self, _: &Digest) -> Result<()> {
        Err(READ_ONLY)
    }

    async fn walk(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<BlobInfo>> {
        let blobs = self.ask(Tree::blobs).await?;
        let behind = blobs.into_values().filter(|blob| after.is_none_or(|after| blob.digest > *after));
        Ok(behind.take(limit).collect())
    }
}

#[async_trait]
impl Catalog for DistributionFolder {
    async fn put_manifest(&self, _: PutManifest) -> Result<Stored> {
        Err(READ_ONLY)
    }

    async fn resolve(&self, repository: &RepositoryName, selector: &Selector) -> Result<Arc<Manifest>> {
        self.selected(repository, selector, MAX_MANIFEST_BYTES).await.map(Arc::new)
    }

    async fn delete_manifest(&self, _: &RepositoryName, _: &Digest, _: &ImmutableTags) -> Result<()> {
        Err(READ_ONLY)
    }

    async fn untag(&self, _: &RepositoryName, _: &Tag, _: &TagRules) -> Result<()> {
        Err(READ_ONLY)
    }

    /// The last move alone: of those before the folder knows where they led, and not in which order.
    async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        limit: usize,
    ) -> Result<Vec<TagMove>> {
        let (repository, tag) = (repository.clone(), tag.clone());
        let last = self.ask(move |tree| tree.last_move(&repository, &tag)).await?;
        Ok(last.into_iter().take(limit).collect())
    }

    async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>> {
        let name = repository.clone();
        let missing = || Error::NotFound { subject: Subject::Repository(repository.clone()) };
        let tags = self.ask(move |tree| tree.tags(&name)).await?.ok_or_else(missing)?;
        Ok(Page::of(tags.into_keys().filter(|tag| is_behind(tag.as_str(), after)), limit))
    }

    async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<RepositoryName>> {
        let names = self.all_repositories().await?;
        Ok(Page::of(names.into_iter().filter(|name| is_behind(name.as_str(), after)), limit))
    }

    async fn referrers(&self, repository: &RepositoryName, of: &ReferrersOf) -> Result<Page<Descriptor>> {
        let (repository, wanted) = (repository.clone(), of.clone());
        let found = self
            .ask(move |tree| referrers(tree, &repository, &wanted.subject, wanted.after.as_ref()))
            .await?;
        let is_wanted = |manifest: &&Manifest| {
            of.artifact_type.is_none() || manifest.artifact_type() == of.artifact_type.as_deref()
        };
        let mut page = ReferrersPage::new(of.limit);
        for manifest in found.iter().filter(is_wanted) {
            if !page.has_room() {
                return Ok(page.full());
            }
            page.add(manifest);
        }
        Ok(page.last())
    }

    /// A blob that the repository shows is shown already, and there are no leases to renew.
    async fn link(&self, repository: &RepositoryName, digest: &Digest, claim: Claim) -> Result<u64> {
        if let Some(size) = self.size_of(repository, digest).await? {
            return Ok(size);
        }
        match claim {
            Claim::From(from) if self.size_of(&from, digest).await?.is_none() => {
                Err(Error::NotFound { subject: Subject::RepositoryBlob(from, *digest) })
            }
            _ => Err(READ_ONLY),
        }
    }

    async fn linked(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        self.size_of(repository, digest).await
    }

    async fn unlink(&self, _: &RepositoryName, _: &Digest) -> Result<()> {
        Err(READ_ONLY)
    }
}

fn is_behind(name: &str, after: Option<&str>) -> bool {
    after.is_none_or(|after| name > after)
}
