//! What the contract is for, on the real store: pull-through to many readers, an unpacker that follows, a push that streams.
//!
//! Sources and clients here move when the test says so, so that what is visible in between is asserted and not hoped for.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

use std::{
    fs,
    io::Write as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use pier_content::{
    BlobStore as _, ByteRange, ByteStream, Catalog as _, Commit, Error, Filling, Following, Ingest,
    IngestKey, Opened, Origin, Progress, Result, Source, Withheld, pump,
    transfer::{Destination, transfer},
};
use pier_oci::{
    Descriptor, Digest, Hasher, Manifest, MediaType, Reference, Repository, RepositoryName, Selector,
    SessionId,
};
use pier_store::{Store, StoreOptions};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// What a reader that cannot check is not given before the commit.
const HELD_BACK: usize = 64 << 10;

fn content(seed: u8, length: usize) -> Bytes {
    (0..length).map(|at| seed ^ at.to_le_bytes()[0] ^ at.to_le_bytes()[1].wrapping_mul(31)).collect()
}

fn opened_store() -> (Arc<Store>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(Store::open(folder.path(), StoreOptions::default()).unwrap()), folder)
}

fn here() -> RepositoryName {
    "here".parse().unwrap()
}

/// A source that sends what the test feeds it.
#[derive(Debug)]
struct Fed {
    chunks: Mutex<Option<mpsc::UnboundedReceiver<Result<Bytes>>>>,
    opened: AtomicUsize,
}

impl Fed {
    fn new() -> (mpsc::UnboundedSender<Result<Bytes>>, Arc<Self>) {
        let (feed, chunks) = mpsc::unbounded_channel();
        (feed, Arc::new(Self { chunks: Mutex::new(Some(chunks)), opened: AtomicUsize::new(0) }))
    }
}

fn received(chunks: mpsc::UnboundedReceiver<Result<Bytes>>) -> ByteStream {
    stream::unfold(chunks, async |mut chunks| Some((chunks.recv().await?, chunks))).boxed()
}

#[async_trait]
impl Source for Fed {
    fn name(&self) -> String {
        "upstream".to_owned()
    }

    async fn resolve(&self, _: &Reference) -> Result<Descriptor> {
        Err(Error::Unsupported { what: "names" })
    }

    async fn manifest(&self, _: &Repository, _: &Selector, _: u64) -> Result<Manifest> {
        Err(Error::Unsupported { what: "names" })
    }

    async fn open(&self, _: &Repository, _: &Descriptor, range: ByteRange) -> Result<Opened> {
        self.opened.fetch_add(1, SeqCst);
        let chunks = self.chunks.lock().unwrap().take().unwrap();
        Ok(Opened { start: range.start, size: None, stream: received(chunks) })
    }

    async fn referrers(&self, _: &Repository, _: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }
}

/// A registry that fetches what it does not have: fills are tasks of its own, and requests follow them.
#[derive(Debug)]
struct PullThrough {
    store: Arc<Store>,
    source: Arc<Fed>,
    descriptor: Descriptor,
    fills: Mutex<Vec<JoinHandle<Result<()>>>>,
}

impl PullThrough {
    fn new(store: &Arc<Store>, source: Arc<Fed>, descriptor: Descriptor) -> Arc<Self> {
        Arc::new(Self { store: Arc::clone(store), source, descriptor, fills: Mutex::default() })
    }

    /// The body of a response to a client that cannot check what it gets.
    async fn request(&self) -> ByteStream {
        let Descriptor { digest, size, .. } = self.descriptor;
        match self.store.ingest(IngestKey::Blob { digest, size: Some(size) }).await.unwrap() {
            Ingest::Present(blob) => blob.read(ByteRange::ALL).await.unwrap(),
            Ingest::Following(following) => Withheld::new(following).unwrap().read(ByteRange::ALL),
            Ingest::Filling(filling) => {
                let (source, descriptor) = (Arc::clone(&self.source), self.descriptor.clone());
                let fill = tokio::spawn(fill(filling, source, descriptor));
                self.fills.lock().unwrap().push(fill);
                // Now there is somebody to follow.
                Box::pin(self.request()).await
            }
        }
    }
}

/// Owned by the registry, whoever asked first.
async fn fill(filling: Box<dyn Filling>, source: Arc<Fed>, descriptor: Descriptor) -> Result<()> {
    let upstream = "upstream.test/app".parse::<Reference>().unwrap().repository;
    source.fill(&upstream, &descriptor, &*filling).await?;
    filling.commit(Commit { digest: descriptor.digest, link: Some(here()) }).await.map(drop)
}

/// A client: what it has got so far can be waited for.
struct Client {
    got: watch::Receiver<usize>,
    done: JoinHandle<(Vec<u8>, Option<Error>)>,
}

impl Client {
    fn of(mut body: ByteStream) -> Self {
        let (tell, got) = watch::channel(0);
        let done = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(bytes) = body.next().await {
                match bytes {
                    Ok(bytes) => all.extend_from_slice(&bytes),
                    Err(error) => return (all, Some(error)),
                }
                tell.send_replace(all.len());
            }
            (all, None)
        });
        Self { got, done }
    }

    async fn has(&mut self, bytes: usize) {
        self.got.wait_for(|&got| got >= bytes).await.unwrap();
    }
}

#[tokio::test]
async fn ten_clients_share_one_download_whose_first_hangs_up() {
    let (store, _folder) = opened_store();
    let bytes = content(1, HELD_BACK + 300_000);
    let streamed = bytes.len() - HELD_BACK;
    let descriptor = Descriptor::new(MediaType::OCI_LAYER, Digest::sha256(&bytes), bytes.len() as u64);
    let (feed, source) = Fed::new();
    let registry = PullThrough::new(&store, Arc::clone(&source), descriptor.clone());

    let mut first = Client::of(registry.request().await);
    feed.send(Ok(bytes.slice(..1000))).unwrap();
    first.has(1000).await;
    first.done.abort();
    assert!(first.done.await.unwrap_err().is_cancelled());

    let mut clients = Vec::new();
    for _ in 0..9 {
        clients.push(Client::of(registry.request().await));
    }
    feed.send(Ok(bytes.slice(1000..bytes.len() - 1))).unwrap();
    for client in &mut clients {
        client.has(streamed).await;
    }
    // One byte is missing. Whatever a client could have been given it has been given.
    assert!(clients.iter().all(|client| *client.got.borrow() == streamed && !client.done.is_finished()));
    assert_eq!(store.stat(&descriptor.digest).await.unwrap(), None);

    feed.send(Ok(bytes.slice(bytes.len() - 1..))).unwrap();
    drop(feed);
    for client in clients {
        let (got, error) = client.done.await.unwrap();
        assert!(error.is_none(), "{error:?}");
        assert!(got == bytes, "a client got other bytes");
    }
    assert_eq!(source.opened.load(SeqCst), 1);
    let fills = std::mem::take(&mut *registry.fills.lock().unwrap());
    assert_eq!(fills.len(), 1);
    for fill in fills {
        fill.await.unwrap().unwrap();
    }
    // The eleventh finds it there.
    let (got, error) = Client::of(registry.request().await).done.await.unwrap();
    assert!(error.is_none() && got == bytes);
}

#[tokio::test]
async fn a_wrong_source_cuts_every_client_before_its_end() {
    let (store, _folder) = opened_store();
    let (bytes, wrong) = (content(1, HELD_BACK + 300_000), content(2, HELD_BACK + 300_000));
    let descriptor = Descriptor::new(MediaType::OCI_LAYER, Digest::sha256(&bytes), bytes.len() as u64);
    let (feed, source) = Fed::new();
    let registry = PullThrough::new(&store, source, descriptor.clone());
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::of(registry.request().await));
    }
    feed.send(Ok(wrong.clone())).unwrap();
    for client in clients {
        let (got, error) = client.done.await.unwrap();
        assert_eq!(error.unwrap().code(), "integrity");
        assert!(got.len() <= wrong.len() - HELD_BACK, "{} bytes", got.len());
    }
    assert_eq!(store.stat(&descriptor.digest).await.unwrap(), None);
}

/// Unpacks what it follows: acts in a staging folder while bytes come, and publishes by one rename.
async fn unpack(following: Box<dyn Following>, place: &Path, got: watch::Sender<usize>) -> Result<Digest> {
    let staging = tempfile::tempdir_in(place).unwrap();
    let mut file = fs::File::create(staging.path().join("file")).unwrap();
    let mut stream = following.read(ByteRange::ALL);
    let mut hasher = Hasher::new(pier_oci::Algorithm::Sha256);
    let mut length = 0;
    while let Some(bytes) = stream.try_next().await? {
        hasher.update(&bytes);
        file.write_all(&bytes).unwrap();
        length += bytes.len();
        got.send_replace(length);
    }
    let blob = following.committed().await?;
    assert_eq!(hasher.finish(), blob.digest);
    fs::rename(staging.keep(), place.join("published")).unwrap();
    Ok(blob.digest)
}

/// An unpacker on a part of this size, and the writer that it follows.
async fn unpacking(
    store: &Arc<Store>,
    bytes: &Bytes,
    place: &Path,
) -> (Box<dyn Filling>, JoinHandle<Result<Digest>>, watch::Receiver<usize>) {
    let key = IngestKey::Blob { digest: Digest::sha256(bytes), size: Some(bytes.len() as u64) };
    let Ingest::Filling(part) = store.ingest(key.clone()).await.unwrap() else {
        panic!("nobody else writes")
    };
    let Ingest::Following(following) = store.ingest(key).await.unwrap() else { panic!("somebody writes") };
    let (tell, got) = watch::channel(0);
    let place = place.to_owned();
    let unpacker = tokio::spawn(async move { unpack(following, &place, tell).await });
    (part, unpacker, got)
}

#[tokio::test]
async fn an_unpacker_follows_what_fills_out_of_order_and_shows_nothing_before_the_commit() {
    let (store, _folder) = opened_store();
    let place = tempfile::tempdir().unwrap();
    let bytes = content(3, 100_000);
    let (part, unpacker, mut got) = unpacking(&store, &bytes, place.path()).await;
    let pieces = [80_000..100_000, 20_000..40_000, 0..20_000, 60_000..80_000, 40_000..60_000];
    let readable = [0, 0, 40_000, 40_000, 100_000];
    for (piece, readable) in pieces.into_iter().zip(readable) {
        part.write_at(piece.start as u64, vec![bytes.slice(piece)]).await.unwrap();
        got.wait_for(|&got| got >= readable).await.unwrap();
        assert_eq!(*got.borrow(), readable);
        assert!(!place.path().join("published").exists());
    }
    part.commit(Commit { digest: Digest::sha256(&bytes), link: None }).await.unwrap();
    assert_eq!(unpacker.await.unwrap().unwrap(), Digest::sha256(&bytes));
    assert_eq!(fs::read(place.path().join("published/file")).unwrap(), bytes);
}

#[tokio::test]
async fn an_unpacker_of_wrong_or_abandoned_content_leaves_nothing() {
    let (store, _folder) = opened_store();
    let place = tempfile::tempdir().unwrap();
    let (bytes, wrong) = (content(4, 50_000), content(5, 50_000));
    for (whole, expected) in [(&wrong, "integrity"), (&wrong.slice(..20_000), "abandoned")] {
        let (part, unpacker, mut got) = unpacking(&store, &bytes, place.path()).await;
        part.write_at(0, vec![whole.clone()]).await.unwrap();
        got.wait_for(|&got| got == whole.len()).await.unwrap();
        let _ = part.commit(Commit { digest: Digest::sha256(&bytes), link: None }).await.unwrap_err();
        drop(part);
        assert_eq!(unpacker.await.unwrap().unwrap_err().code(), expected);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}

/// A PATCH: what the client sends goes into its session until its line breaks or it is done.
async fn patch(store: Arc<Store>, key: IngestKey, body: ByteStream) -> Result<u64> {
    let Ingest::Filling(part) = store.ingest(key).await? else { panic!("a session is never followed") };
    let start = part.missing()[0].start;
    pump(body, start, ByteRange::starting_at(start), &*part).await
}

#[tokio::test]
async fn a_push_streams_with_pauses_and_shows_nothing_before_its_commit() {
    let (store, _folder) = opened_store();
    let bytes = content(6, 200_000);
    let digest = Digest::sha256(&bytes);
    let session = SessionId::from_bits(1);
    let nothing = async || {
        assert_eq!(store.stat(&digest).await.unwrap(), None);
        assert_eq!(store.open(&digest).await.unwrap_err().code(), "not-found");
        assert_eq!(store.walk(None, 10).await.unwrap(), []);
        assert_eq!(store.linked(&here(), &digest).await.unwrap(), None);
    };

    let mut there = 0;
    let mut key = IngestKey::NewUpload(session);
    // The line breaks twice, and the third request goes on to the end.
    for (end, broken) in [(50_000, true), (120_000, true), (200_000, false)] {
        let (feed, chunks) = mpsc::unbounded_channel();
        let request = tokio::spawn(patch(Arc::clone(&store), key, received(chunks)));
        while there < end {
            feed.send(Ok(bytes.slice(there..there + 10_000))).unwrap();
            there += 10_000;
            // The client pauses, for as long as this takes.
            nothing().await;
        }
        if broken {
            let gone = Error::Unavailable {
                origin: "the client".to_owned(),
                operation: "send",
                retry_after: None,
                source: None,
            };
            feed.send(Err(gone)).unwrap();
            assert_eq!(request.await.unwrap().unwrap_err().code(), "unavailable");
        } else {
            drop(feed);
            assert_eq!(request.await.unwrap().unwrap(), 200_000);
        }
        key = IngestKey::Upload(session);
        nothing().await;
    }

    let Ingest::Filling(part) = store.ingest(key).await.unwrap() else {
        panic!("a session is never followed")
    };
    assert_eq!(part.missing(), [ByteRange::starting_at(200_000)]);
    part.commit(Commit { digest, link: Some(here()) }).await.unwrap();
    assert_eq!(store.stat(&digest).await.unwrap().unwrap().size, 200_000);
    assert_eq!(store.linked(&here(), &digest).await.unwrap(), Some(200_000));
}

#[tokio::test]
async fn a_swarm_that_loses_its_peers_half_way_is_finished_by_a_registry() {
    let (store, _folder) = opened_store();
    let bytes = content(7, 90_000);
    let descriptor = Descriptor::new(MediaType::OCI_LAYER, Digest::sha256(&bytes), bytes.len() as u64);
    let key = IngestKey::Blob { digest: descriptor.digest, size: Some(descriptor.size) };
    let Ingest::Filling(part) = store.ingest(key).await.unwrap() else { panic!("nobody else writes") };
    // Peers send pieces at once and at random; two overlap, and those from 30,000 to 70,000 never come.
    let pieces = [70_000..90_000, 0..10_000, 5_000..20_000, 20_000..30_000];
    let writes = pieces.map(|piece| part.write_at(piece.start as u64, vec![bytes.slice(piece)]));
    for written in futures_util::future::join_all(writes).await {
        written.unwrap();
    }
    assert_eq!(part.missing(), [(30_000..70_000).into()]);
    drop(part);

    let (feed, source) = Fed::new();
    feed.send(Ok(bytes.slice(30_000..70_000))).unwrap();
    drop(feed);
    let upstream = "upstream.test/app".parse::<Reference>().unwrap().repository;
    let origin = Origin { source: &*source, repository: &upstream };
    let to = Destination { blobs: &*store, catalog: &*store, repository: &here() };
    let blob = transfer(origin, &descriptor, to, &Progress::default()).await.unwrap();
    let read: Vec<Bytes> = blob.read(ByteRange::ALL).await.unwrap().try_collect().await.unwrap();
    assert!(read.concat() == bytes, "other bytes");
    assert_eq!(source.opened.load(SeqCst), 1);
}
