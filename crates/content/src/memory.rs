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

mod names;
mod part;
mod reader;
mod writer;

use std::{
    collections::{BTreeMap, HashMap},
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
    Blob, BlobInfo, BlobStore, Body, Catalog, Claim, Error, ImmutableTags, Ingest, IngestKey, NameCache,
    Page, PutManifest, ReferrersOf, RememberedName, RemoteTag, Result, Stored, Subject, TagMove, TagRules,
};

/// How long a request waits for another one on the same upload session, which is one client's business.
const SESSION_WAIT: Duration = Duration::from_secs(5);

/// Image content in memory. Cheap to clone: all clones are one store, which ends with the last of them.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    world: Arc<Mutex<World>>,
}

/// Everything that the store holds.
#[derive(Debug, Default)]
struct World {
    blobs: BTreeMap<Digest, Bytes>,
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
    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
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
        Ok(size.map(|size| BlobInfo { digest: *digest, size }))
    }

    async fn open(&self, digest: &Digest) -> Result<Blob> {
        self.world().blob(digest).ok_or_else(|| Error::blob_not_found(*digest))
    }

    async fn ingest(&self, key: IngestKey) -> Result<Ingest> {
        match key {
            IngestKey::Blob { digest, size } => {
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
        let mut world = self.world();
        if !world.blobs.contains_key(digest) {
            return Err(Error::blob_not_found(*digest));
        }
        if let Some(repository) = world.names.shown_by(digest) {
            let by = format!("repository `{repository}` shows it");
            return Err(Error::InUse { subject: Subject::Blob(*digest), by });
        }
        world.blobs.remove(digest);
        Ok(())
    }

    async fn walk(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<BlobInfo>> {
        let start = after.map_or(Bound::Unbounded, |digest| Bound::Excluded(*digest));
        let world = self.world();
        let behind = world.blobs.range((start, Bound::Unbounded)).take(limit);
        Ok(behind.map(|(digest, bytes)| BlobInfo { digest: *digest, size: bytes.len() as u64 }).collect())
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
        let mut world = self.world();
        let (size, asked) = match claim {
            Claim::From(from) => (world.names.linked(&from, digest), from),
            Claim::FromAny => (world.names.shown(digest), repository.clone()),
            Claim::Proven => (world.blobs.get(digest).map(|bytes| bytes.len() as u64), repository.clone()),
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
