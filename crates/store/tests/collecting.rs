//! The collector in turns, as a server runs it.

#![expect(clippy::expect_used, reason = "what a test sets up has to work")]

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use pier_content::{Catalog as _, Completeness, ImmutableTags, PutManifest, TagMove, TagRules};
use pier_oci::{Digest, Manifest, RepositoryName, Tag};
use pier_store::{Clock, Collected, Leases, Rest, Store, StoreOptions, Turn};

const ONE: NonZeroUsize = NonZeroUsize::MIN;

/// Digests in one round.
const ROUND: u32 = 128;

/// Has digests of no blob reviewed at these times.
fn queue(data: &Path, dues: impl Iterator<Item = i64>) {
    let mut database = rusqlite::Connection::open(data.join("catalog.sqlite")).expect("the database opens");
    let all = database.transaction().expect("begun");
    for (number, due) in dues.enumerate() {
        let mut digest = vec![1; 33];
        digest[1..9].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        all.execute("INSERT INTO review (digest, due_at) VALUES (?1, ?2)", rusqlite::params![digest, due])
            .expect("queued");
    }
    all.commit().expect("committed");
}

fn waiting(data: &Path) -> u32 {
    rows(data, "review")
}

fn rows(data: &Path, table: &str) -> u32 {
    let database = rusqlite::Connection::open(data.join("catalog.sqlite")).expect("the database opens");
    database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("counted")
}

/// A store whose days pass when the test says so.
struct Days {
    store: Store,
    day: Arc<AtomicU64>,
    data: tempfile::TempDir,
}

impl Days {
    fn new() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let day = Arc::new(AtomicU64::new(1000));
        let now = Arc::clone(&day);
        let clock = Clock::from_fn(move || UNIX_EPOCH + Duration::from_hours(24 * now.load(SeqCst)));
        let options = StoreOptions { clock, ..StoreOptions::default() };
        Self { store: Store::open(data.path(), options).expect("the store opens"), day, data }
    }

    fn pass(&self, days: u64) {
        self.day.fetch_add(days, SeqCst);
    }

    async fn put(&self, repository: &str, manifest: &Manifest, tags: &[&str]) {
        let put = PutManifest {
            repository: name(repository),
            manifest: Arc::new(manifest.clone()),
            tags: tags.iter().map(|tag| self::tag(tag)).collect(),
            completeness: Completeness::Sparse,
            rules: TagRules::default(),
        };
        self.store.put_manifest(put).await.expect("stored");
    }

    async fn untag(&self, repository: &str, tag: &str) {
        let tag = self::tag(tag);
        self.store.untag(&name(repository), &tag, &TagRules::default()).await.expect("removed");
    }

    async fn delete(&self, repository: &str, manifest: &Manifest) {
        let digest = manifest.digest();
        let outcome = self.store.delete_manifest(&name(repository), &digest, &ImmutableTags::default()).await;
        outcome.expect("deleted");
    }

    async fn history(&self, repository: &str, tag: &str) -> Vec<Option<Digest>> {
        let tag = self::tag(tag);
        let moves: Vec<TagMove> =
            self.store.tag_history(&name(repository), &tag, 100).await.expect("a history");
        moves.into_iter().map(|step| step.digest).collect()
    }

    /// Turns until nothing is due, as a server takes them, and how many it took.
    async fn collect(&self) -> u32 {
        let mut turns = 0;
        loop {
            turns += 1;
            if self.store.collect_turn(ONE).await.expect("collected").rest == Rest::Nothing {
                return turns;
            }
        }
    }
}

fn name(repository: &str) -> RepositoryName {
    repository.parse().expect("a name")
}

fn tag(tag: &str) -> Tag {
    tag.parse().expect("a tag")
}

/// An index of nothing, told from others by a number.
fn index(number: u32) -> Manifest {
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{{"n":"{number}"}}}}"#
    );
    Manifest::parse(Bytes::from(text), None).expect("an index")
}

#[tokio::test]
async fn a_turn_looks_at_no_more_than_it_may_and_turns_come_to_an_end() {
    let data = tempfile::tempdir().expect("a folder");
    let store = Store::open(data.path(), StoreOptions::default()).expect("the store opens");
    let all = 5 * ROUND + 1;
    queue(data.path(), (0..all).map(|due| 1 + i64::from(due % 7)));
    for turn in 1..=5 {
        let done = store.collect_turn(ONE).await.expect("collected");
        assert_eq!(done.rest, Rest::More, "turn {turn}");
        assert_eq!(waiting(data.path()), all - turn * ROUND);
    }
    let last = store.collect_turn(ONE).await.expect("collected");
    assert_eq!(last, Turn { collected: Collected::default(), rest: Rest::Nothing });
    assert_eq!(waiting(data.path()), 0);
}

#[tokio::test]
async fn what_is_not_due_is_not_looked_at() {
    let data = tempfile::tempdir().expect("a folder");
    let store = Store::open(data.path(), StoreOptions::default()).expect("the store opens");
    queue(data.path(), [1, i64::MAX].into_iter());
    assert_eq!(store.collect_turn(ONE).await.expect("collected").rest, Rest::Nothing);
    assert_eq!(waiting(data.path()), 1);
}

#[tokio::test]
async fn the_history_of_a_tag_that_is_gone_is_forgotten_in_time() {
    let days = Days::new();
    let (one, two) = (index(1), index(2));
    days.put("app", &one, &["kept", "gone", "back"]).await;
    days.put("app", &two, &["gone"]).await;
    days.untag("app", "gone").await;
    days.untag("app", "back").await;
    days.pass(1);
    days.put("app", &two, &["back"]).await;
    let (first, second) = (Some(one.digest()), Some(two.digest()));
    days.pass(88);
    days.collect().await;
    assert_eq!(days.history("app", "gone").await, [None, second, first]);
    days.pass(1);
    days.collect().await;
    assert_eq!(days.history("app", "gone").await, []);
    // Of one that came back, what was before it was gone; of one that stayed, nothing.
    assert_eq!(days.history("app", "back").await, [second]);
    days.pass(1000);
    days.collect().await;
    assert_eq!(days.history("app", "back").await, [second]);
    assert_eq!(days.history("app", "kept").await, [first]);
}

#[tokio::test]
async fn a_repository_that_shows_nothing_is_forgotten_with_its_history() {
    let days = Days::new();
    let one = index(1);
    for repository in ["held", "tagged", "plain"] {
        days.put(repository, &one, if repository == "tagged" { &["v1"] } else { &[] }).await;
    }
    days.delete("tagged", &one).await;
    days.delete("plain", &one).await;
    days.collect().await;
    assert_eq!(rows(days.data.path(), "repository"), 2);
    days.pass(90);
    days.collect().await;
    assert_eq!(rows(days.data.path(), "repository"), 1);
    assert_eq!((rows(days.data.path(), "repository_review"), rows(days.data.path(), "tag_history")), (0, 0));
    // Nothing is due any more, and what comes again is there again.
    assert_eq!(days.store.collect_turn(ONE).await.expect("collected").rest, Rest::Nothing);
    days.put("plain", &one, &["v1"]).await;
    let tags = days.store.tags(&name("plain"), None, 10).await.expect("tags");
    assert_eq!(tags.items, [tag("v1")]);
}

#[tokio::test]
async fn a_repository_that_loses_its_last_blob_is_forgotten() {
    let days = Days::new();
    days.put("source", &index(1), &[]).await;
    let content = Bytes::from_static(b"content");
    let digest = Digest::sha256(&content);
    let key = pier_content::IngestKey::Blob { digest, size: Some(7) };
    let pier_content::Ingest::Filling(filling) =
        pier_content::BlobStore::ingest(&days.store, key).await.expect("the part opens")
    else {
        panic!("it is there")
    };
    filling.write_at(0, vec![content]).await.expect("written");
    let commit = pier_content::Commit { digest, link: Some(name("blobs")) };
    filling.commit(commit).await.expect("committed");
    days.store.collect(Leases::Respect).await.expect("collected");
    assert_eq!(rows(days.data.path(), "repository"), 2);
    days.pass(2);
    days.store.collect(Leases::Respect).await.expect("collected");
    assert_eq!((rows(days.data.path(), "link"), rows(days.data.path(), "repository")), (0, 1));
}

#[tokio::test]
async fn what_is_forgotten_in_a_turn_is_bounded_too() {
    let days = Days::new();
    let one = index(1);
    let tags: Vec<String> = (0..3 * ROUND).map(|number| format!("t{number}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    days.put("app", &one, &tags).await;
    days.delete("app", &one).await;
    days.pass(90);
    assert_eq!(days.store.collect_turn(ONE).await.expect("collected").rest, Rest::More);
    assert_eq!(rows(days.data.path(), "tag_history"), 2 * 2 * ROUND);
    assert!(days.collect().await <= 4);
    assert_eq!((rows(days.data.path(), "tag_history"), rows(days.data.path(), "repository")), (0, 0));
}
