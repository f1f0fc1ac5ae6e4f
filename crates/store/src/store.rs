//! The store: the contract's two traits over the files and the database.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use pier_content::{
    Blob, BlobInfo, BlobStore, Body, Catalog, Claim, Error, ImmutableTags, Ingest, IngestKey, NameCache,
    Page, PutManifest, ReferrersOf, RememberedName, RemoteTag, Result, Stored, Subject, TagMove, TagRules,
};
use pier_oci::{Descriptor, Digest, Manifest, RepositoryName, Selector, Tag};
use tokio::sync::Semaphore;

use crate::{
    Clock, OpenError,
    blobs::Blobs,
    catalog::{
        CatalogFile,
        blob_rows::{self, Link},
        database::not_found,
        manifest_rows, name_rows,
    },
    data_dir::DataDir,
    part::{Join, PartTable},
};

/// How a store behaves. The default suits a server.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How long content that was just written is kept before something has to name it.
    pub lease: Duration,
    /// How long an unfinished blob is kept for somebody to go on with it.
    pub part_expiry: Duration,
    /// How long an unfinished push is kept.
    pub upload_expiry: Duration,
    /// How long a call waits for a writer that makes no progress.
    pub writer_wait: Duration,
    /// The time of day.
    pub clock: Clock,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_hours(24),
            part_expiry: Duration::from_hours(7 * 24),
            upload_expiry: Duration::from_hours(24),
            writer_wait: Duration::from_secs(30),
            clock: Clock::system(),
        }
    }
}

/// Image content on disk. Cheap to clone; see the crate's documentation for the layout and the guarantees.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) context: Arc<Context>,
    parts: Arc<PartTable>,
}

/// What every part of the store needs.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) dir: DataDir,
    pub(crate) blobs: Blobs,
    pub(crate) catalog: CatalogFile,
    pub(crate) options: StoreOptions,
    pub(crate) clock: Clock,
    /// Held by the one task of this process that takes content away.
    pub(crate) collecting: Semaphore,
}

impl Store {
    /// Opens the store in a folder, which is made when it is not there, and settles what a crash has left.
    /// Blocks: to be called before the reactor is busy.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        let dir = DataDir::open(path)?;
        let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
        let blobs = Blobs::open_folders(&dir).map_err(unusable)?;
        let catalog = CatalogFile::open(dir.catalog()).map_err(unusable)?;
        let clock = options.clock.clone();
        let context =
            Arc::new(Context { dir, blobs, catalog, options, clock, collecting: Semaphore::new(1) });
        crate::collector::empty_trash(&context).map_err(unusable)?;
        Ok(Self { context, parts: Arc::default() })
    }

    /// A secret of this store, the same for every process that has it open, made at the first call.
    pub async fn secret(&self, name: &'static str) -> Result<[u8; 32]> {
        let path = Path::new("/dev/urandom");
        let fresh = blocking(move || {
            use std::io::Read as _;
            let mut fresh = [0; 32];
            std::fs::File::open(path)
                .and_then(|mut file| file.read_exact(&mut fresh))
                .map_err(|error| Error::io("read", path, error))?;
            Ok(fresh)
        })
        .await?;
        self.context.catalog.secret(name, fresh).await
    }

    async fn present(&self, digest: &Digest) -> Result<Option<Blob>> {
        match self.open(digest).await {
            Ok(blob) => Ok(Some(blob)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl BlobStore for Store {
    async fn stat(&self, digest: &Digest) -> Result<Option<BlobInfo>> {
        let size = self.context.catalog.blob_size(digest).await?;
        Ok(size.map(|size| BlobInfo { digest: *digest, size }))
    }

    async fn open(&self, digest: &Digest) -> Result<Blob> {
        let digest = *digest;
        let size =
            self.context.catalog.blob_size(&digest).await?.ok_or_else(|| Error::blob_not_found(digest))?;
        let file = match self.context.blobs.open_cached(&digest) {
            Some(file) => file,
            None => {
                let context = Arc::clone(&self.context);
                blocking(move || context.blobs.open(&digest)).await?
            }
        };
        Ok(Blob { digest, size, body: Body::File(Arc::new(file)) })
    }

    async fn ingest(&self, key: IngestKey) -> Result<Ingest> {
        let join = Join { context: &self.context, parts: &self.parts };
        match key {
            IngestKey::Blob { digest, size } => {
                if let Some(blob) = self.present(&digest).await? {
                    return Ok(Ingest::Present(blob));
                }
                let joined = join.blob(digest, size).await?;
                // Another process may have finished it while this one waited for the part.
                match joined {
                    Ingest::Filling(filling) => match self.present(&digest).await? {
                        Some(blob) => {
                            filling.abort().await?;
                            Ok(Ingest::Present(blob))
                        }
                        None => Ok(Ingest::Filling(filling)),
                    },
                    other => Ok(other),
                }
            }
            IngestKey::NewUpload(session) => join.new_upload(session).await,
            IngestKey::Upload(session) => join.upload(session).await,
        }
    }

    async fn delete(&self, digest: &Digest) -> Result<()> {
        self.context.delete_blob(*digest).await
    }

    async fn walk(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<BlobInfo>> {
        let after = after.copied();
        let page = self
            .context
            .catalog
            .read(move |connection| blob_rows::page(connection, after.as_ref(), limit))
            .await?;
        Ok(page.into_iter().map(|(digest, size)| BlobInfo { digest, size }).collect())
    }
}

#[async_trait]
impl Catalog for Store {
    async fn put_manifest(&self, put: PutManifest) -> Result<Stored> {
        let now = self.context.clock.now();
        self.context
            .catalog
            .write_checked("store a manifest", move |connection| manifest_rows::put(connection, &put, now))
            .await
    }

    async fn resolve(&self, repository: &RepositoryName, selector: &Selector) -> Result<Arc<Manifest>> {
        self.context.catalog.manifest(repository, selector).await
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        immutable: &ImmutableTags,
    ) -> Result<()> {
        let now = self.context.clock.now();
        let (repository, digest, immutable) = (repository.clone(), *digest, immutable.clone());
        self.context
            .catalog
            .write("delete a manifest", move |connection| {
                manifest_rows::delete(connection, &repository, &digest, &immutable, now)
            })
            .await
    }

    async fn untag(&self, repository: &RepositoryName, tag: &Tag, rules: &TagRules) -> Result<()> {
        let now = self.context.clock.now();
        let (repository, tag, rules) = (repository.clone(), tag.clone(), rules.clone());
        self.context
            .catalog
            .write("remove a tag", move |connection| {
                manifest_rows::untag(connection, &repository, &tag, &rules, now)
            })
            .await
    }

    async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        limit: usize,
    ) -> Result<Vec<TagMove>> {
        let (repository, tag) = (repository.clone(), tag.clone());
        self.context
            .catalog
            .read(move |connection| manifest_rows::history(connection, &repository, &tag, limit))
            .await
    }

    async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>> {
        let (repository, after) = (repository.clone(), after.map(str::to_owned));
        self.context
            .catalog
            .read(move |connection| manifest_rows::tags(connection, &repository, after.as_deref(), limit))
            .await
    }

    async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<RepositoryName>> {
        let after = after.map(str::to_owned);
        self.context
            .catalog
            .read(move |connection| manifest_rows::repositories(connection, after.as_deref(), limit))
            .await
    }

    async fn referrers(&self, repository: &RepositoryName, of: &ReferrersOf) -> Result<Page<Descriptor>> {
        let (repository, of) = (repository.clone(), of.clone());
        self.context
            .catalog
            .read(move |connection| manifest_rows::referrers(connection, &repository, &of))
            .await
    }

    async fn link(&self, repository: &RepositoryName, digest: &Digest, claim: Claim) -> Result<u64> {
        let now = self.context.clock.now();
        let lease = self.context.options.lease;
        // A lease that has more than half of its time left is as good as a new one, and costs no write.
        if let Some(Link { size, leased_until }) = self.context.catalog.linked(repository, digest).await?
            && leased_until > now.after(lease / 2)
        {
            return match &claim {
                Claim::From(from) if from != repository => self
                    .linked(from, digest)
                    .await?
                    .ok_or_else(|| not_found(Subject::RepositoryBlob(from.clone(), *digest))),
                _ => Ok(size),
            };
        }
        let (repository, digest) = (repository.clone(), *digest);
        self.context
            .catalog
            .write_checked("link a blob", move |connection| {
                blob_rows::link(connection, &repository, &digest, &claim, now, now.after(lease))
            })
            .await
    }

    async fn linked(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        Ok(self.context.catalog.linked(repository, digest).await?.map(|link| link.size))
    }

    async fn unlink(&self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        let now = self.context.clock.now();
        let (repository, digest) = (repository.clone(), *digest);
        self.context
            .catalog
            .write("unlink a blob", move |connection| {
                blob_rows::unlink(connection, &repository, &digest, now)
            })
            .await
    }
}

#[async_trait]
impl NameCache for Store {
    async fn get_many(&self, tags: &[RemoteTag]) -> Result<Vec<Option<RememberedName>>> {
        let tags = tags.to_vec();
        self.context.catalog.read(move |connection| name_rows::get_many(connection, &tags)).await
    }

    async fn put_many(&self, names: &[(RemoteTag, RememberedName)]) -> Result<()> {
        let now = self.context.clock.now();
        let names = names.to_vec();
        self.context
            .catalog
            .write("remember resolved names", move |connection| name_rows::put_many(connection, &names, now))
            .await
    }
}

/// Runs blocking work on a thread that may block. It goes on to its end even when nobody waits any more.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(source) => Err(Error::Task { operation: "blocking work", source }),
    }
}

/// Locks a mutex whose data stays consistent when a holder panics: every critical section here is a few
/// assignments.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
