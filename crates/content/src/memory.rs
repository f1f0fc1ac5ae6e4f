//! A store in memory: for tests, for registries that live as long as a process, and as the contract's plainest reading.
//!
//! ```text
//! Memory ── World (mutex) ┬ blobs   digest → bytes
//!                         ├ parts   what is being made, held or left behind
//!                         └ names   repositories, manifests, tags, links
//! Part (mutex + wake-up) ◄── Writer   the one; its drop frees the part
//!                        ◄── Reader   follows; outlives the writer
//! ```
//!
//! No call awaits while it holds a mutex, and none but those that wait for others awaits at all: a call that is dropped
//! has either not begun or is done. The world's mutex is taken before a part's.
//!
//! There are no leases: nothing is collected, so what was committed stays until somebody deletes it.
//!
//! It may lie over another store ([`Memory::over`]), whose blobs it shows as its own and which it only reads: what is
//! written, deleted and named stays in memory.

mod names;
mod part;
mod reader;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use pier_oci::{Descriptor, Digest, Manifest, RepositoryName, Selector, Tag};
use tokio::time::timeout;

use self::{
    names::Names,
    part::{Part, PartKey},
    reader::Reader,
    writer::Writer,
};
use crate::{
    Blob, BlobInfo, BlobStore, Body, Catalog, Claim, Error, ImmutableTags, Ingest, IngestKey, Keeper,
    NameCache, Page, PutManifest, ReferrersOf, RememberedName, RemoteTag, Result, Stored, Subject, TagMove,
    TagRules,
};

/// How long a request waits for another one on the same upload session, which is one client's business.
const SESSION_WAIT: Duration = Duration::from_secs(5);

/// Image content in memory. Cheap to clone: all clones are one store, which ends with the last of them.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    world: Arc<Mutex<World>>,
    /// What is read of when it is not in memory.
    below: Option<Arc<dyn BlobStore>>,
}

/// Everything that the store holds.
#[derive(Debug, Default)]
struct World {
    blobs: BTreeMap<Digest, Bytes>,
    /// Blobs of the store below that were deleted here.
    hidden: BTreeSet<Digest>,
    parts: HashMap<PartKey, Arc<Part>>,
    names: Names,
    remembered: HashMap<RemoteTag, RememberedName>,
}

impl World {
    fn blob(&self, digest: &Digest) -> Option<Blob> {
        let bytes = self.blobs.get(digest)?;
        Some(Blob { digest: *digest, size: bytes.len() as u64, body: Body::Memory(bytes.clone()) })
    }

    /// Makes the caller the one writer of a part that nobody holds, with what its last writer has left.
    fn hold(&mut self, key: PartKey, size: Option<u64>) -> Arc<Part> {
        let part = Arc::new(match self.parts.get(&key) {
            Some(left) => left.succeeded(size),
            None => Part::new(key.clone(), size),
        });
        self.parts.insert(key, Arc::clone(&part));
        part
    }

    /// Removes a part, unless it is no longer the one under its key.
    fn forget(&mut self, part: &Arc<Part>) {
        if self.parts.get(&part.key).is_some_and(|known| Arc::ptr_eq(known, part)) {
            self.parts.remove(&part.key);
        }
    }
}

/// Whether an upload session may be begun by the call.
#[derive(Clone, Copy)]
enum Opening {
    Create,
    Existing,
}

impl Memory {
    /// A store over another one, which is only read: blobs that are not in memory are those of `below`. Names are not
    /// taken over; they can be put in, as into any catalog.
    pub fn over(below: Arc<dyn BlobStore>) -> Self {
        Self { world: Arc::default(), below: Some(below) }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// The store below, for what is neither in memory nor deleted.
    fn below(&self, digest: &Digest) -> Option<&Arc<dyn BlobStore>> {
        let world = self.world();
        let is_here = world.blobs.contains_key(digest) || world.hidden.contains(digest);
        self.below.as_ref().filter(|_| !is_here)
    }

    async fn stat_below(&self, digest: &Digest) -> Result<Option<BlobInfo>> {
        match self.below(digest) {
            Some(below) => below.stat(digest).await,
            None => Ok(None),
        }
    }

    async fn open_below(&self, digest: &Digest) -> Result<Option<Blob>> {
        let Some(below) = self.below(digest) else { return Ok(None) };
        match below.open(digest).await {
            Ok(blob) => Ok(Some(blob)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Up to `limit` blobs of the store below that were not deleted here.
    async fn walk_below(&self, after: Option<&Digest>, limit: usize) -> Result<BTreeMap<Digest, u64>> {
        let mut found = BTreeMap::new();
        let Some(below) = &self.below else { return Ok(found) };
        let mut last = after.copied();
        while found.len() < limit {
            let page = below.walk(last.as_ref(), limit).await?;
            let Some(end) = page.last() else { break };
            last = Some(end.digest);
            let world = self.world();
            let shown = page.iter().filter(|blob| !world.hidden.contains(&blob.digest));
            found.extend(shown.map(|blob| (blob.digest, blob.size)));
        }
        Ok(found)
    }

    fn filling(&self, part: Arc<Part>) -> Ingest {
        Ingest::Filling(Box::new(Writer::new(Arc::clone(&self.world), part)))
    }

    async fn session(&self, key: PartKey, opening: Opening) -> Result<Ingest> {
        let wait = async {
            loop {
                let held = {
                    let mut world = self.world();
                    match (world.parts.get(&key), opening) {
                        (Some(part), _) if part.is_held() => Arc::clone(part),
                        (None, Opening::Existing) => return Err(Error::NotFound { subject: key.subject() }),
                        _ => return Ok(self.filling(world.hold(key.clone(), None))),
                    }
                };
                held.released().await;
            }
        };
        match timeout(SESSION_WAIT, wait).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Busy { subject: key.subject(), waited: SESSION_WAIT }),
        }
    }
}

#[async_trait]
impl BlobStore for Memory {
    async fn stat(&self, digest: &Digest) -> Result<Option<BlobInfo>> {
        let size = self.world().blobs.get(digest).map(|bytes| bytes.len() as u64);
        match size {
            Some(size) => Ok(Some(BlobInfo { digest: *digest, size })),
            None => self.stat_below(digest).await,
        }
    }

    async fn open(&self, digest: &Digest) -> Result<Blob> {
        let here = self.world().blob(digest);
        let found = match here {
            Some(blob) => Some(blob),
            None => self.open_below(digest).await?,
        };
        found.ok_or_else(|| Error::blob_not_found(*digest))
    }

    async fn ingest(&self, key: IngestKey) -> Result<Ingest> {
        match key {
            IngestKey::Blob { digest, size } => {
                match self.open_below(&digest).await {
                    Ok(Some(blob)) => return Ok(Ingest::Present(blob)),
                    Ok(None) => {}
                    // What is wrong below is replaced here.
                    Err(error) if error.is_integrity() => {}
                    Err(error) => return Err(error),
                }
                let mut world = self.world();
                if let Some(blob) = world.blob(&digest) {
                    return Ok(Ingest::Present(blob));
                }
                let key = PartKey::Blob(digest);
                match world.parts.get(&key) {
                    Some(part) if part.is_held() => {
                        Ok(Ingest::Following(Box::new(Reader::new(Arc::clone(part)))))
                    }
                    _ => Ok(self.filling(world.hold(key, size))),
                }
            }
            IngestKey::NewUpload(session) => self.session(PartKey::Upload(session), Opening::Create).await,
            IngestKey::Upload(session) => self.session(PartKey::Upload(session), Opening::Existing).await,
        }
    }

    async fn delete(&self, digest: &Digest) -> Result<()> {
        let is_below = self.stat_below(digest).await?.is_some();
        let mut world = self.world();
        if !is_below && !world.blobs.contains_key(digest) {
            return Err(Error::blob_not_found(*digest));
        }
        if let Some(repository) = world.names.shown_by(digest) {
            let by = Keeper::Repository(repository.clone());
            return Err(Error::InUse { subject: Subject::Blob(*digest), by });
        }
        world.blobs.remove(digest);
        if self.below.is_some() {
            world.hidden.insert(*digest);
        }
        Ok(())
    }

    async fn walk(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<BlobInfo>> {
        let mut found = self.walk_below(after, limit).await?;
        let start = after.map_or(Bound::Unbounded, |digest| Bound::Excluded(*digest));
        let world = self.world();
        let behind = world.blobs.range((start, Bound::Unbounded)).take(limit);
        found.extend(behind.map(|(digest, bytes)| (*digest, bytes.len() as u64)));
        let found = found.into_iter().take(limit);
        Ok(found.map(|(digest, size)| BlobInfo { digest, size }).collect())
    }
}

#[async_trait]
impl Catalog for Memory {
    async fn put_manifest(&self, put: PutManifest) -> Result<Stored> {
        self.world().names.put(put)
    }

    async fn resolve(&self, repository: &RepositoryName, selector: &Selector) -> Result<Arc<Manifest>> {
        self.world().names.resolve(repository, selector)
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        immutable: &ImmutableTags,
    ) -> Result<()> {
        self.world().names.delete(repository, digest, immutable)
    }

    async fn untag(&self, repository: &RepositoryName, tag: &Tag, rules: &TagRules) -> Result<()> {
        self.world().names.untag(repository, tag, rules)
    }

    async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        limit: usize,
    ) -> Result<Vec<TagMove>> {
        Ok(self.world().names.history(repository, tag, limit))
    }

    async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>> {
        self.world().names.tags(repository, after, limit)
    }

    async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<RepositoryName>> {
        Ok(self.world().names.repositories(after, limit))
    }

    async fn referrers(&self, repository: &RepositoryName, of: &ReferrersOf) -> Result<Page<Descriptor>> {
        Ok(self.world().names.referrers(repository, of))
    }

    async fn link(&self, repository: &RepositoryName, digest: &Digest, claim: Claim) -> Result<u64> {
        let below = match claim {
            Claim::Proven => self.stat_below(digest).await?,
            Claim::From(_) | Claim::FromAny => None,
        };
        let mut world = self.world();
        let (size, asked) = match claim {
            Claim::From(from) => (world.names.linked(&from, digest), from),
            Claim::FromAny => (world.names.shown(digest), repository.clone()),
            Claim::Proven => {
                let here = world.blobs.get(digest).map(|bytes| bytes.len() as u64);
                (here.or(below.map(|blob| blob.size)), repository.clone())
            }
        };
        let size =
            size.ok_or_else(|| Error::NotFound { subject: Subject::RepositoryBlob(asked, *digest) })?;
        world.names.link(repository, digest, size);
        Ok(size)
    }

    async fn linked(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        Ok(self.world().names.linked(repository, digest))
    }

    async fn unlink(&self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        self.world().names.unlink(repository, digest)
    }
}

#[async_trait]
impl NameCache for Memory {
    async fn get_many(&self, tags: &[RemoteTag]) -> Result<Vec<Option<RememberedName>>> {
        let world = self.world();
        Ok(tags.iter().map(|tag| world.remembered.get(tag).cloned()).collect())
    }

    async fn put_many(&self, names: &[(RemoteTag, RememberedName)]) -> Result<()> {
        self.world().remembered.extend(names.iter().cloned());
        Ok(())
    }
}

/// Locks a mutex whose data stays consistent when a holder panics: every critical section here checks first and
/// assigns then.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
