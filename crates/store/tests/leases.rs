//! Leases that are renewed by whoever asks for a blob.

#![expect(clippy::expect_used, reason = "what a test sets up has to work")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use pier_content::{BlobStore as _, Catalog as _, Claim, Commit, Ingest, IngestKey};
use pier_oci::{Digest, RepositoryName};
use pier_store::{Clock, Leases, Store, StoreOptions};

const LEASE: Duration = Duration::from_secs(1000);

/// A store with one blob, as several processes have it open, and the seconds that the test has let pass.
struct Leased {
    folder: tempfile::TempDir,
    seconds: Arc<AtomicU64>,
    store: Store,
    digest: Digest,
}

impl Leased {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let seconds = Arc::new(AtomicU64::new(1_000_000));
        let store = open(folder.path(), &seconds);
        let digest = Digest::sha256(b"content");
        let key = IngestKey::Blob { digest, size: Some(7) };
        let Ingest::Filling(filling) = store.ingest(key).await.expect("the part opens") else {
            panic!("it is there")
        };
        filling.write_at(0, vec![Bytes::from_static(b"content")]).await.expect("written");
        filling.commit(Commit { digest, link: Some(repository()) }).await.expect("committed");
        Self { folder, seconds, store, digest }
    }

    fn another_process(&self) -> Store {
        open(self.folder.path(), &self.seconds)
    }

    /// What a HEAD does.
    async fn renew(&self) -> pier_content::Result<u64> {
        self.store.link(&repository(), &self.digest, Claim::From(repository())).await
    }

    /// Seconds that the database keeps the link for from now on.
    fn left(&self) -> u64 {
        let path = self.folder.path().join("catalog.sqlite");
        let database = rusqlite::Connection::open(path).expect("the database opens");
        let until: i64 =
            database.query_row("SELECT leased_until FROM link", [], |row| row.get(0)).expect("a link");
        u64::try_from(until).expect("a time") / 1000 - self.seconds.load(SeqCst)
    }
}

fn open(path: &Path, seconds: &Arc<AtomicU64>) -> Store {
    let now = Arc::clone(seconds);
    let clock = Clock::from_fn(move || UNIX_EPOCH + Duration::from_secs(now.load(SeqCst)));
    Store::open(path, StoreOptions { lease: LEASE, clock, ..StoreOptions::default() })
        .expect("the store opens")
}

fn repository() -> RepositoryName {
    "app".parse().expect("a name")
}

#[tokio::test]
async fn in_the_first_half_of_a_lease_nothing_is_asked_and_nothing_written() {
    let leased = Leased::new().await;
    assert_eq!(leased.renew().await.expect("it is shown"), 7);
    for _ in 0..4 {
        leased.seconds.fetch_add(100, SeqCst);
        // At the first poll: no other thread was needed.
        let renewed = leased.renew().now_or_never().expect("answered at once");
        assert_eq!(renewed.expect("it is shown"), 7);
    }
    assert_eq!(leased.left(), 600);
    leased.seconds.fetch_add(100, SeqCst);
    assert_eq!(leased.renew().await.expect("it is shown"), 7);
    assert_eq!(leased.left(), 1000);
}

#[tokio::test]
async fn what_another_process_took_away_is_not_answered_from_memory() {
    let leased = Leased::new().await;
    let other = leased.another_process();
    leased.renew().await.expect("it is shown");
    other.unlink(&repository(), &leased.digest).await.expect("no longer shown");
    assert_eq!(leased.renew().await.expect_err("it is gone").code(), "not-found");

    other.link(&repository(), &leased.digest, Claim::Proven).await.expect("shown again");
    leased.renew().await.expect("it is shown");
    other.collect(Leases::Ignore).await.expect("collected");
    assert_eq!(leased.renew().await.expect_err("it is gone").code(), "not-found");
}
