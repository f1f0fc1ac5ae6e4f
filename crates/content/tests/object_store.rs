//! The contract holds over object storage: opaque keys, objects that are put once and never changed, no rename, no locks.
//!
//! ```text
//! ObjectStore ── index   digest → segments        what a database would keep; the only thing that moves
//!             ├─ parts   key → segments so far
//!             └─ Bucket  key → bytes              put, get a range, delete
//! ```
//!
//! A blob is a list of *segments*, each an object of its own. Bytes are appended by putting the next segment; a commit moves the list from the
//! part to the index, and not a byte. One multipart upload for a blob would be fewer objects, but what it holds cannot be read before
//! it is completed: whoever follows would have nothing to follow, and a commit under another algorithm nothing to hash.
//!
//! It is a paper exercise made real: it has to pass the suite, and it is not more than that needs.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::{Bound, Range},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use pier_content::{
    Blob, BlobInfo, BlobStore, Body, ByteRange, ByteStream, Catalog, Claim, Commit, Error, Filling,
    Following, ImmutableTags, Ingest, IngestKey, Keeper, Order, Page, PutManifest, RangeReader, ReferrersOf,
    Result, Stored, Subject, TagMove, TagRules,
    suite::{Harness, Stores},
};
use pier_oci::{Algorithm, Descriptor, Digest, Hasher, Manifest, RepositoryName, Selector, SessionId, Tag};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

/// How long a request waits for another one on the same session.
const SESSION_WAIT: Duration = Duration::from_secs(5);

/// Object storage: every call is a request, and none of them changes an object.
#[derive(Debug, Default)]
struct Bucket {
    objects: Mutex<HashMap<u64, Bytes>>,
    next: AtomicU64,
}

impl Bucket {
    async fn put(self: &Arc<Self>, bytes: Bytes) -> Arc<Segment> {
        tokio::task::yield_now().await;
        let (key, length) = (self.next.fetch_add(1, SeqCst), bytes.len() as u64);
        self.objects.lock().unwrap().insert(key, bytes);
        let segment = Arc::new(Segment { bucket: Arc::clone(self), key, length });
        // The answer is on its way, and the caller may hang up.
        tokio::task::yield_now().await;
        segment
    }

    async fn get(&self, key: u64, range: Range<u64>) -> Result<Bytes> {
        tokio::task::yield_now().await;
        let objects = self.objects.lock().unwrap();
        let bytes = objects.get(&key).ok_or(Error::Unsupported { what: "reading an object that is gone" })?;
        Ok(bytes.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()))
    }
}

/// An object that goes with the last that needs it: a part, the index, a blob that is being read. Between processes that would be a
/// lease and a collector.
#[derive(Debug)]
struct Segment {
    bucket: Arc<Bucket>,
    key: u64,
    length: u64,
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.bucket.objects.lock().unwrap().remove(&self.key);
    }
}

/// Segments one behind the other.
#[derive(Clone, Debug, Default)]
struct Segments(Vec<Arc<Segment>>);

impl Segments {
    fn length(&self) -> u64 {
        self.0.iter().map(|segment| segment.length).sum()
    }

    /// What lies at `position`: its segment, and the range in it.
    fn at(&self, position: u64, end: u64) -> Option<(Arc<Segment>, Range<u64>)> {
        let mut start = 0;
        for segment in &self.0 {
            let behind = start + segment.length;
            if position < behind {
                return Some((Arc::clone(segment), position - start..end.min(behind) - start));
            }
            start = behind;
        }
        None
    }

    async fn digest(&self, algorithm: Algorithm) -> Result<Digest> {
        let mut hasher = Hasher::new(algorithm);
        for segment in &self.0 {
            hasher.update(&segment.bucket.get(segment.key, 0..segment.length).await?);
        }
        Ok(hasher.finish())
    }
}

#[async_trait]
impl RangeReader for Segments {
    async fn read(&self, range: Range<u64>) -> Result<ByteStream> {
        let state = (self.clone(), range);
        Ok(stream::try_unfold(state, |(segments, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let found = segments.at(range.start, range.end);
            let (segment, inside) = found.ok_or(Error::Unsupported { what: "reading beyond the end" })?;
            let bytes = segment.bucket.get(segment.key, inside).await?;
            let next = range.start + bytes.len() as u64..range.end;
            Ok(Some((bytes, (segments, next))))
        })
        .boxed())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Blob(Digest),
    Upload(SessionId),
}

impl Key {
    fn subject(&self) -> Subject {
        match self {
            Self::Blob(digest) => Subject::Blob(*digest),
            Self::Upload(session) => Subject::Upload(*session),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Blob(digest) => digest.algorithm(),
            Self::Upload(_) => Algorithm::Sha256,
        }
    }
}

#[derive(Debug, Default)]
struct ObjectStore {
    bucket: Arc<Bucket>,
    world: Arc<Mutex<World>>,
}

#[derive(Debug, Default)]
struct World {
    index: BTreeMap<Digest, Segments>,
    parts: HashMap<Key, Arc<Part>>,
    links: HashSet<(RepositoryName, Digest)>,
}

impl World {
    fn blob(&self, digest: &Digest) -> Option<Blob> {
        let segments = self.index.get(digest)?;
        let size = segments.length();
        Some(Blob { digest: *digest, size, body: Body::Ranges(Arc::new(segments.clone())) })
    }

    fn forget(&mut self, part: &Arc<Part>) {
        if self.parts.get(&part.key).is_some_and(|known| Arc::ptr_eq(known, part)) {
            self.parts.remove(&part.key);
        }
    }
}

/// A part under one writer.
#[derive(Debug)]
struct Part {
    key: Key,
    size: Option<u64>,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Segments are put one after the other.
    turn: Semaphore,
}

#[derive(Clone, Debug)]
struct State {
    phase: Phase,
    segments: Segments,
    hasher: Hasher,
    epoch: u64,
    rejected: Option<(Digest, Digest)>,
}

#[derive(Clone, Debug)]
enum Phase {
    Filling,
    Committing,
    Committed(Blob),
    Abandoned,
}

impl Part {
    fn new(key: Key, size: Option<u64>, left: Option<State>) -> Self {
        let hasher = Hasher::new(key.algorithm());
        let fresh =
            State { phase: Phase::Filling, segments: Segments::default(), hasher, epoch: 0, rejected: None };
        let fits = |left: &State| size.is_none_or(|size| left.segments.length() <= size);
        let state = match left.filter(fits) {
            Some(left) => State { segments: left.segments, hasher: left.hasher, ..fresh },
            None => fresh,
        };
        Self { key, size, state: Mutex::new(state), changed: watch::Sender::new(()), turn: Semaphore::new(1) }
    }

    fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.send_replace(());
    }

    fn is_held(&self) -> bool {
        matches!(self.state().phase, Phase::Filling | Phase::Committing)
    }

    fn reset(&self, rejected: Option<(Digest, Digest)>) {
        let hasher = Hasher::new(self.key.algorithm());
        self.change(|state| {
            let epoch = state.epoch + 1;
            *state = State { phase: Phase::Filling, segments: Segments::default(), hasher, epoch, rejected };
        });
    }

    fn invalid(&self, reason: &str) -> Error {
        Error::Invalid { subject: self.key.subject(), reason: reason.to_owned() }
    }

    fn abandoned(&self) -> Error {
        Error::Abandoned { subject: self.key.subject() }
    }

    fn check_epoch(&self, state: &State, epoch: u64) -> Result<()> {
        match state.rejected {
            _ if state.epoch == epoch => Ok(()),
            Some((expected, actual)) => Err(Error::Integrity { expected, actual, origin: None }),
            None => Err(self.abandoned()),
        }
    }
}

impl ObjectStore {
    /// The one writer of a part that nobody holds, with what its last writer left.
    fn hold(&self, world: &mut World, key: Key, size: Option<u64>) -> Ingest {
        let left = world.parts.get(&key).map(|left| left.state());
        let part = Arc::new(Part::new(key.clone(), size, left));
        world.parts.insert(key, Arc::clone(&part));
        Ingest::Filling(Box::new(Writer {
            bucket: Arc::clone(&self.bucket),
            world: Arc::clone(&self.world),
            part,
        }))
    }

    async fn session(&self, session: SessionId, may_begin: Option<()>) -> Result<Ingest> {
        let key = Key::Upload(session);
        let wait = async {
            loop {
                let held = {
                    let mut world = self.world.lock().unwrap();
                    match world.parts.get(&key) {
                        Some(part) if part.is_held() => Arc::clone(part),
                        None if may_begin.is_none() => {
                            return Err(Error::NotFound { subject: key.subject() });
                        }
                        _ => return Ok(self.hold(&mut world, key.clone(), None)),
                    }
                };
                let mut changes = held.changed.subscribe();
                if held.is_held() {
                    drop(changes.changed().await);
                }
            }
        };
        let busy = Error::Busy { subject: key.subject(), waited: SESSION_WAIT };
        timeout(SESSION_WAIT, wait).await.unwrap_or(Err(busy))
    }
}

#[async_trait]
impl BlobStore for ObjectStore {
    async fn stat(&self, digest: &Digest) -> Result<Option<BlobInfo>> {
        let size = self.world.lock().unwrap().index.get(digest).map(Segments::length);
        Ok(size.map(|size| BlobInfo { digest: *digest, size }))
    }

    async fn open(&self, digest: &Digest) -> Result<Blob> {
        self.world.lock().unwrap().blob(digest).ok_or_else(|| Error::blob_not_found(*digest))
    }

    async fn ingest(&self, key: IngestKey) -> Result<Ingest> {
        let (digest, size) = match key {
            IngestKey::NewUpload(session) => return self.session(session, Some(())).await,
            IngestKey::Upload(session) => return self.session(session, None).await,
            IngestKey::Blob { digest, size } => (digest, size),
        };
        let mut world = self.world.lock().unwrap();
        if let Some(blob) = world.blob(&digest) {
            return Ok(Ingest::Present(blob));
        }
        match world.parts.get(&Key::Blob(digest)) {
            Some(part) if part.is_held() => {
                let part = Arc::clone(part);
                let epoch = part.state().epoch;
                Ok(Ingest::Following(Box::new(Reader { part, epoch })))
            }
            _ => Ok(self.hold(&mut world, Key::Blob(digest), size)),
        }
    }

    async fn delete(&self, digest: &Digest) -> Result<()> {
        let mut world = self.world.lock().unwrap();
        if !world.index.contains_key(digest) {
            return Err(Error::blob_not_found(*digest));
        }
        if let Some((repository, _)) = world.links.iter().find(|(_, linked)| linked == digest) {
            let by = Keeper::Repository(repository.clone());
            return Err(Error::InUse { subject: Subject::Blob(*digest), by });
        }
        world.index.remove(digest);
        Ok(())
    }

    async fn walk(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<BlobInfo>> {
        let start = after.map_or(Bound::Unbounded, |digest| Bound::Excluded(*digest));
        let world = self.world.lock().unwrap();
        let behind = world.index.range((start, Bound::Unbounded)).take(limit);
        Ok(behind.map(|(digest, blob)| BlobInfo { digest: *digest, size: blob.length() }).collect())
    }
}

#[derive(Debug)]
struct Writer {
    bucket: Arc<Bucket>,
    world: Arc<Mutex<World>>,
    part: Arc<Part>,
}

impl Writer {
    /// Where the next byte goes, while bytes are taken.
    fn end(&self) -> Result<u64> {
        match self.part.state() {
            State { phase: Phase::Filling, segments, .. } => Ok(segments.length()),
            _ => Err(self.part.invalid("it takes no more bytes")),
        }
    }
}

/// Puts a part back to taking bytes when its commit did not come to its end.
struct Committing<'a>(&'a Part);

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        self.0.change(|state| {
            if matches!(state.phase, Phase::Committing) {
                state.phase = Phase::Filling;
            }
        });
    }
}

#[async_trait]
impl Filling for Writer {
    fn order(&self) -> Order {
        Order::FrontToBack
    }

    fn missing(&self) -> Vec<ByteRange> {
        let there = self.part.state().segments.length();
        match self.part.size {
            None => vec![ByteRange::starting_at(there)],
            Some(size) if there < size => vec![(there..size).into()],
            Some(_) => Vec::new(),
        }
    }

    fn size(&self) -> Option<u64> {
        self.part.size
    }

    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()> {
        let _turn = self.part.turn.acquire().await.unwrap();
        let expected = self.end()?;
        let subject = self.part.key.subject();
        if offset > expected {
            return Err(Error::OutOfRange { subject, offset, expected });
        }
        let data = Bytes::from(data.concat());
        let end = offset + data.len() as u64;
        if let Some(expected) = self.part.size.filter(|&size| end > size) {
            return Err(Error::Size { subject, expected, actual: end, origin: None });
        }
        if end <= expected {
            return Ok(());
        }
        let new = data.slice(usize::try_from(expected - offset).unwrap()..);
        let segment = self.bucket.put(new.clone()).await;
        self.part.change(|state| {
            state.segments.0.push(segment);
            state.hasher.update(&new);
        });
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<Blob> {
        let Commit { digest: expected, link } = commit;
        if matches!(self.part.key, Key::Blob(digest) if digest != expected) {
            return Err(self.part.invalid("it cannot be committed as another"));
        }
        let there = self.end()?;
        if self.part.size.is_some_and(|size| size != there) {
            return Err(self.part.invalid("it is not complete"));
        }
        let State { segments, hasher, .. } = self.part.state();
        self.part.change(|state| state.phase = Phase::Committing);
        let committing = Committing(&self.part);
        let actual = if hasher.algorithm() == expected.algorithm() {
            hasher.finish()
        } else {
            segments.digest(expected.algorithm()).await?
        };
        if actual != expected {
            self.part.reset(Some((expected, actual)));
            return Err(Error::Integrity { expected, actual, origin: None });
        }
        // The database's answer takes its time too.
        tokio::task::yield_now().await;
        let blob = {
            let mut world = self.world.lock().unwrap();
            world.index.entry(expected).or_insert(segments);
            world.links.extend(link.map(|repository| (repository, expected)));
            world.forget(&self.part);
            world.blob(&expected).unwrap()
        };
        self.part.change(|state| state.phase = Phase::Committed(blob.clone()));
        drop(committing);
        Ok(blob)
    }

    async fn reset(&self) -> Result<()> {
        self.part.reset(None);
        Ok(())
    }

    async fn abort(&self) -> Result<()> {
        self.world.lock().unwrap().forget(&self.part);
        self.part.change(|state| state.phase = Phase::Abandoned);
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.part.is_held() {
            self.part.change(|state| state.phase = Phase::Abandoned);
        }
    }
}

#[derive(Clone, Debug)]
struct Reader {
    part: Arc<Part>,
    epoch: u64,
}

impl Reader {
    /// Waits until `look` finds something.
    async fn wait<T>(&self, mut look: impl FnMut(&State) -> Option<T>) -> Result<T> {
        let mut changes = self.part.changed.subscribe();
        loop {
            let state = self.part.state();
            self.part.check_epoch(&state, self.epoch)?;
            if let Some(found) = look(&state) {
                return Ok(found);
            }
            if matches!(state.phase, Phase::Abandoned) {
                return Err(self.part.abandoned());
            }
            changes.changed().await.map_err(|_| self.part.abandoned())?;
        }
    }

    async fn next(&self, range: &ByteRange) -> Result<Option<Bytes>> {
        if range.is_empty() {
            return Ok(None);
        }
        let end = range.end.unwrap_or(u64::MAX);
        let found = self
            .wait(|state| match state.segments.at(range.start, end) {
                None if matches!(state.phase, Phase::Committed(_)) => Some(None),
                None => None,
                found => Some(found),
            })
            .await?;
        match found {
            Some((segment, inside)) => segment.bucket.get(segment.key, inside).await.map(Some),
            None => Ok(None),
        }
    }
}

#[async_trait]
impl Following for Reader {
    fn size(&self) -> Option<u64> {
        self.part.size
    }

    fn present(&self) -> Vec<Range<u64>> {
        let there = self.part.state().segments.length();
        if there == 0 { Vec::new() } else { std::iter::once(0..there).collect() }
    }

    fn read(&self, range: ByteRange) -> ByteStream {
        stream::try_unfold((self.clone(), range), |(reader, mut range)| async move {
            let Some(bytes) = reader.next(&range).await? else { return Ok(None) };
            range.start += bytes.len() as u64;
            Ok(Some((bytes, (reader, range))))
        })
        .boxed()
    }

    async fn committed(&self) -> Result<Blob> {
        self.wait(|state| match &state.phase {
            Phase::Committed(blob) => Some(blob.clone()),
            _ => None,
        })
        .await
    }
}

/// Only links: what the blob half of the suite needs of names.
#[async_trait]
impl Catalog for ObjectStore {
    async fn link(&self, repository: &RepositoryName, digest: &Digest, claim: Claim) -> Result<u64> {
        let missing = || Error::NotFound { subject: Subject::RepositoryBlob(repository.clone(), *digest) };
        let mut world = self.world.lock().unwrap();
        let size = world.index.get(digest).map(Segments::length).ok_or_else(missing)?;
        let is_shown = world.links.iter().any(|(_, shown)| shown == digest);
        if claim == Claim::FromAny && !is_shown {
            return Err(missing());
        }
        if matches!(claim, Claim::From(from) if !world.links.contains(&(from.clone(), *digest))) {
            return Err(missing());
        }
        world.links.insert((repository.clone(), *digest));
        Ok(size)
    }

    async fn linked(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        let world = self.world.lock().unwrap();
        let shown = world.links.contains(&(repository.clone(), *digest));
        Ok(world.index.get(digest).map(Segments::length).filter(|_| shown))
    }

    async fn unlink(&self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        let removed = self.world.lock().unwrap().links.remove(&(repository.clone(), *digest));
        let subject = Subject::RepositoryBlob(repository.clone(), *digest);
        if removed { Ok(()) } else { Err(Error::NotFound { subject }) }
    }

    async fn put_manifest(&self, _: PutManifest) -> Result<Stored> {
        Err(NAMES)
    }

    async fn resolve(&self, _: &RepositoryName, _: &Selector) -> Result<Arc<Manifest>> {
        Err(NAMES)
    }

    async fn delete_manifest(&self, _: &RepositoryName, _: &Digest, _: &ImmutableTags) -> Result<()> {
        Err(NAMES)
    }

    async fn untag(&self, _: &RepositoryName, _: &Tag, _: &TagRules) -> Result<()> {
        Err(NAMES)
    }

    async fn tag_history(&self, _: &RepositoryName, _: &Tag, _: usize) -> Result<Vec<TagMove>> {
        Err(NAMES)
    }

    async fn tags(&self, _: &RepositoryName, _: Option<&str>, _: usize) -> Result<Page<Tag>> {
        Err(NAMES)
    }

    async fn repositories(&self, _: Option<&str>, _: usize) -> Result<Page<RepositoryName>> {
        Err(NAMES)
    }

    async fn referrers(&self, _: &RepositoryName, _: &ReferrersOf) -> Result<Page<Descriptor>> {
        Err(NAMES)
    }
}

const NAMES: Error = Error::Unsupported { what: "keeping names in object storage" };

struct InObjects(Arc<ObjectStore>);

impl Harness for InObjects {
    fn fresh() -> Self {
        Self(Arc::default())
    }

    fn stores(&self) -> Stores {
        Stores::of(Arc::clone(&self.0))
    }

    fn reopened(self) -> Option<Self> {
        None
    }

    fn second(&self) -> Option<Stores> {
        None
    }
}

/// After every case: no object that neither a blob nor a part needs, and none missing.
impl Drop for InObjects {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let world = self.0.world.lock().unwrap();
        let parts = world.parts.values().map(|part| part.state().segments);
        let lists: Vec<Segments> = world.index.values().cloned().chain(parts).collect();
        let needed: HashSet<u64> =
            lists.iter().flat_map(|segments| &segments.0).map(|segment| segment.key).collect();
        drop(world);
        let kept: HashSet<u64> = self.0.bucket.objects.lock().unwrap().keys().copied().collect();
        assert_eq!(kept, needed);
    }
}

pier_content::blob_store_suite!(InObjects);

#[tokio::test]
async fn a_commit_moves_no_bytes() {
    let store = ObjectStore::default();
    let bytes = Bytes::from(vec![7; 5000]);
    let digest = Digest::sha256(&bytes);
    let Ingest::Filling(part) = store.ingest(IngestKey::Blob { digest, size: None }).await.unwrap() else {
        panic!("nobody else writes")
    };
    for start in (0..5000).step_by(1000) {
        part.write_at(start as u64, vec![bytes.slice(start..start + 1000)]).await.unwrap();
    }
    let before = store.bucket.next.load(SeqCst);
    let blob = part.commit(Commit { digest, link: None }).await.unwrap();
    assert_eq!((before, store.bucket.next.load(SeqCst)), (5, 5));
    let read: Vec<Bytes> = blob.read((900..2100).into()).await.unwrap().try_collect().await.unwrap();
    assert_eq!(read.iter().map(Bytes::len).collect::<Vec<_>>(), [100, 1000, 100]);
    assert_eq!(read.concat(), bytes[900..2100]);
    assert!(matches!(blob.body, Body::Ranges(_)));
}
