//! One blob from a source into a store, and one stream into a part: joined, resumed, taken over, blamed, proved.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use pier_content::{
    Blob, BlobStore as _, ByteRange, Catalog as _, Claim, Commit, Error, Event, Fallback, Filling, Following,
    Ingest, IngestKey, Memory, Opened, Origin, Progress, Result, Source, Subject, pump,
    transfer::{Destination, transfer},
};
use pier_oci::{Descriptor, Digest, Manifest, MediaType, Reference, Repository, RepositoryName, Selector};
use tokio::sync::mpsc;

/// What a source does when it is opened.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Sends what is asked for.
    Honest,
    /// Sends everything from the first byte on, whatever is asked for.
    IgnoresRanges,
    /// Sends so many bytes of what is asked for, and then its line breaks.
    Breaks(usize),
    /// Sends so many bytes of what is asked for, and then ends as if that were all.
    Ends(usize),
    /// Says that it starts so much later than asked.
    StartsLate(u64),
    /// Says that the content has this size.
    Announces(u64),
    /// Sends chunks without a byte in them.
    Nothing,
    Unreachable,
    Lacks,
}

/// A source of one content, which does one thing when it is first opened and another thing from then on.
#[derive(Debug)]
struct Shelf {
    name: &'static str,
    content: Bytes,
    first: Manner,
    later: Manner,
    opened: Mutex<Vec<(u64, Option<u64>)>>,
}

impl Shelf {
    fn new(content: &Bytes) -> Self {
        Self::named("shelf", content, Manner::Honest, Manner::Honest)
    }

    fn named(name: &'static str, content: &Bytes, first: Manner, later: Manner) -> Self {
        Self { name, content: content.clone(), first, later, opened: Mutex::default() }
    }

    fn of_manner(content: &Bytes, manner: Manner) -> Self {
        Self::named("shelf", content, manner, manner)
    }

    /// The ranges that it was asked for.
    fn opened(&self) -> Vec<(u64, Option<u64>)> {
        self.opened.lock().unwrap().clone()
    }
}

fn broken(name: &str) -> Error {
    Error::Unavailable { origin: name.to_owned(), operation: "send", retry_after: None, source: None }
}

#[async_trait]
impl Source for Shelf {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    async fn resolve(&self, _: &Reference) -> Result<Descriptor> {
        Err(Error::Unsupported { what: "names" })
    }

    async fn manifest(&self, _: &Repository, _: &Selector, _: u64) -> Result<Manifest> {
        Err(Error::Unsupported { what: "names" })
    }

    async fn open(&self, _: &Repository, descriptor: &Descriptor, range: ByteRange) -> Result<Opened> {
        let manner = {
            let mut opened = self.opened.lock().unwrap();
            opened.push((range.start, range.end));
            if opened.len() == 1 { self.first } else { self.later }
        };
        let whole = self.content.clone();
        let end = range.end.map_or(whole.len(), |end| usize::try_from(end).unwrap().min(whole.len()));
        let asked = whole.slice(usize::try_from(range.start).unwrap().min(end)..end);
        let (mut start, mut size) = (range.start, Some(whole.len() as u64));
        let mut ending = None;
        let sent = match manner {
            Manner::Honest => asked,
            Manner::IgnoresRanges => {
                start = 0;
                whole
            }
            Manner::Breaks(after) => {
                ending = Some(Err(broken(self.name)));
                asked.slice(..after.min(asked.len()))
            }
            Manner::Ends(after) => {
                size = None;
                asked.slice(..after.min(asked.len()))
            }
            Manner::StartsLate(by) => {
                start += by;
                asked
            }
            Manner::Announces(other) => {
                size = Some(other);
                asked
            }
            Manner::Nothing => Bytes::new(),
            Manner::Unreachable => return Err(broken(self.name)),
            Manner::Lacks => return Err(Error::blob_not_found(descriptor.digest)),
        };
        // An empty chunk is what some HTTP bodies begin with.
        let middle = sent.len() / 2;
        let chunks = [Bytes::new(), sent.slice(..middle), sent.slice(middle..)];
        let stream = stream::iter(chunks.into_iter().map(Ok).chain(ending)).boxed();
        Ok(Opened { start, size, stream })
    }

    async fn referrers(&self, _: &Repository, _: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }
}

fn content(seed: u8, length: usize) -> Bytes {
    (0..length).map(|at| at.to_le_bytes()[0].wrapping_mul(7).wrapping_add(seed)).collect()
}

fn described(bytes: &Bytes) -> Descriptor {
    Descriptor::new(MediaType::OCI_LAYER, Digest::sha256(bytes), bytes.len() as u64)
}

fn here() -> RepositoryName {
    "here".parse().unwrap()
}

/// A store, what happens in it, and a way to bring a blob there.
#[derive(Clone, Default)]
struct Place {
    store: Memory,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Place {
    fn progress(&self) -> Progress {
        let events = Arc::clone(&self.events);
        Progress::to(move |event| events.lock().unwrap().push(event))
    }

    async fn bring(&self, source: &dyn Source, descriptor: &Descriptor) -> Result<Blob> {
        self.bring_telling(source, descriptor, &self.progress()).await
    }

    async fn bring_telling(
        &self,
        source: &dyn Source,
        descriptor: &Descriptor,
        progress: &Progress,
    ) -> Result<Blob> {
        let repository = "registry.test/there".parse::<Reference>().unwrap().repository;
        let origin = Origin { source, repository: &repository };
        let to = Destination { blobs: &self.store, catalog: &self.store, repository: &here() };
        transfer(origin, descriptor, to, progress).await
    }

    async fn writer(&self, digest: Digest, size: usize) -> Box<dyn Filling> {
        match self.store.ingest(IngestKey::Blob { digest, size: Some(size as u64) }).await.unwrap() {
            Ingest::Filling(filling) => filling,
            other => panic!("{other:?}"),
        }
    }

    /// Leaves a part behind that holds `bytes` from the first on.
    async fn leave(&self, digest: Digest, size: usize, bytes: &Bytes) {
        self.writer(digest, size).await.write_at(0, vec![bytes.clone()]).await.unwrap();
    }

    async fn shown(&self, bytes: &Bytes) -> Option<u64> {
        self.store.linked(&here(), &Digest::sha256(bytes)).await.unwrap()
    }

    fn discarded(&self) -> usize {
        self.events.lock().unwrap().iter().filter(|event| matches!(event, Event::Discarded(_))).count()
    }
}

/// Commits content that no repository shows.
async fn committed(place: &Place, bytes: &Bytes) {
    let digest = Digest::sha256(bytes);
    let part = place.writer(digest, bytes.len()).await;
    part.write_at(0, vec![bytes.clone()]).await.unwrap();
    part.commit(Commit { digest, link: None }).await.unwrap();
}

#[tokio::test]
async fn what_is_missing_is_fetched_linked_and_told() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    let (source, descriptor) = (Shelf::new(&bytes), described(&bytes));
    let blob = place.bring(&source, &descriptor).await.unwrap();
    assert_eq!((blob.digest, blob.size), (descriptor.digest, 3000));
    assert_eq!(source.opened(), [(0, Some(3000))]);
    assert_eq!(place.shown(&bytes).await, Some(3000));
    let started = Event::Started { descriptor: descriptor.clone(), done: 0 };
    let advanced = Event::Advanced { digest: descriptor.digest, bytes: 3000 };
    assert_eq!(*place.events.lock().unwrap(), [started, advanced, Event::Committed(descriptor)]);
}

#[tokio::test]
async fn only_the_holes_are_fetched() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    let (source, descriptor) = (Shelf::new(&bytes), described(&bytes));
    let part = place.writer(descriptor.digest, 3000).await;
    for at in [0, 2000] {
        part.write_at(at as u64, vec![bytes.slice(at..at + 500)]).await.unwrap();
    }
    drop(part);
    place.bring(&source, &descriptor).await.unwrap();
    assert_eq!(source.opened(), [(500, Some(2000)), (2500, Some(3000))]);
    assert_eq!(place.events.lock().unwrap()[0], Event::Started { descriptor, done: 1000 });
}

#[tokio::test]
async fn a_source_that_ignores_ranges_fills_the_holes_all_the_same() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    let source = Shelf::of_manner(&bytes, Manner::IgnoresRanges);
    place.leave(Digest::sha256(&bytes), 3000, &bytes.slice(..1000)).await;
    place.bring(&source, &described(&bytes)).await.unwrap();
    assert_eq!(source.opened(), [(1000, Some(3000))]);
}

#[tokio::test]
async fn what_the_repository_shows_is_not_asked_for() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    let (source, descriptor) = (Shelf::new(&bytes), described(&bytes));
    committed(&place, &bytes).await;
    place.store.link(&here(), &descriptor.digest, Claim::Proven).await.unwrap();
    place.bring(&source, &descriptor).await.unwrap();
    assert_eq!(source.opened(), []);
    assert_eq!(*place.events.lock().unwrap(), [Event::Present(descriptor)]);
}

/// Knowing a digest is no right to read: whatever state the content is in, a byte of the source comes first.
async fn check_proof(prepare: impl AsyncFn(&Place, &Bytes)) {
    let bytes = content(1, 3000);
    for (manner, expected) in [
        (Manner::Honest, "ok"),
        (Manner::Ends(1), "ok"),
        (Manner::Lacks, "not-found"),
        (Manner::Unreachable, "unavailable"),
        (Manner::Breaks(0), "unavailable"),
        (Manner::Nothing, "unavailable"),
    ] {
        let (place, source) = (Place::default(), Shelf::of_manner(&bytes, manner));
        prepare(&place, &bytes).await;
        let outcome = place.bring(&source, &described(&bytes)).await;
        assert_eq!(outcome.map_or_else(|error| error.code(), |_| "ok"), expected, "{manner:?}");
        assert_eq!(place.shown(&bytes).await, (expected == "ok").then_some(3000), "{manner:?}");
        assert_eq!(source.opened(), [(0, Some(1))], "{manner:?}");
    }
}

#[tokio::test]
async fn a_blob_of_others_is_shown_only_after_the_source_gave_a_byte() {
    check_proof(async |place, bytes| committed(place, bytes).await).await;
}

#[tokio::test]
async fn a_part_that_others_have_filled_is_shown_only_after_the_source_gave_a_byte() {
    check_proof(async |place, bytes| place.leave(Digest::sha256(bytes), 3000, bytes).await).await;
}

#[tokio::test]
async fn an_empty_blob_needs_no_proof() {
    let (place, bytes) = (Place::default(), Bytes::new());
    let source = Shelf::of_manner(&bytes, Manner::Lacks);
    committed(&place, &bytes).await;
    place.bring(&source, &described(&bytes)).await.unwrap();
    assert_eq!(place.shown(&bytes).await, Some(0));
}

/// Brings a blob while the test is its writer; `then` decides what becomes of the writer once the transfer follows.
async fn joined(
    place: &Place,
    source: Shelf,
    descriptor: Descriptor,
    size: usize,
    then: impl AsyncFnOnce(Box<dyn Filling>),
) -> (Result<Blob>, Vec<(u64, Option<u64>)>) {
    let part = place.writer(descriptor.digest, size).await;
    let (told, mut events) = mpsc::unbounded_channel();
    let other = place.clone();
    let source = Arc::new(source);
    let shelf = Arc::clone(&source);
    let transfer = tokio::spawn(async move {
        let progress = Progress::to(move |event| drop(told.send(event)));
        other.bring_telling(&*shelf, &descriptor, &progress).await
    });
    assert!(matches!(events.recv().await, Some(Event::Started { done: 0, .. })));
    then(part).await;
    let outcome = transfer.await.unwrap();
    (outcome, source.opened())
}

#[tokio::test]
async fn a_transfer_that_is_under_way_is_joined() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    let descriptor = described(&bytes);
    let digest = descriptor.digest;
    let (outcome, opened) = joined(&place, Shelf::new(&bytes), descriptor, 3000, async |part| {
        part.write_at(0, vec![bytes.clone()]).await.unwrap();
        part.commit(Commit { digest, link: None }).await.unwrap();
    })
    .await;
    assert_eq!(outcome.unwrap().size, 3000);
    // The byte that proves the right to it, and no other.
    assert_eq!(opened, [(0, Some(1))]);
    assert_eq!(place.shown(&bytes).await, Some(3000));
}

#[tokio::test]
async fn a_joined_transfer_shows_nothing_that_its_source_does_not_give() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    let descriptor = described(&bytes);
    let digest = descriptor.digest;
    let source = Shelf::of_manner(&bytes, Manner::Lacks);
    let (outcome, _) = joined(&place, source, descriptor, 3000, async |part| {
        part.write_at(0, vec![bytes.clone()]).await.unwrap();
        part.commit(Commit { digest, link: None }).await.unwrap();
    })
    .await;
    assert_eq!(outcome.unwrap_err().code(), "not-found");
    assert_eq!(place.shown(&bytes).await, None);
}

#[tokio::test]
async fn a_follower_takes_over_from_a_writer_that_vanishes() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    let (outcome, opened) = joined(&place, Shelf::new(&bytes), described(&bytes), 3000, async |part| {
        part.write_at(0, vec![bytes.slice(..1000)]).await.unwrap();
    })
    .await;
    outcome.unwrap();
    assert_eq!(opened, [(1000, Some(3000))]);
    assert_eq!(place.shown(&bytes).await, Some(3000));
}

#[tokio::test]
async fn a_follower_takes_over_from_a_writer_whose_bytes_were_wrong() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    let descriptor = described(&bytes);
    let digest = descriptor.digest;
    let (outcome, opened) = joined(&place, Shelf::new(&bytes), descriptor, 3000, async |part| {
        part.write_at(0, vec![content(2, 3000)]).await.unwrap();
        assert_eq!(part.commit(Commit { digest, link: None }).await.unwrap_err().code(), "integrity");
    })
    .await;
    outcome.unwrap();
    assert_eq!(opened, [(0, Some(3000))]);
}

#[tokio::test]
async fn a_follower_takes_over_from_a_writer_who_was_told_another_size() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    // The writer's size is a lie, so it cannot ever commit.
    let (outcome, _) = joined(&place, Shelf::new(&bytes), described(&bytes), 4000, async |part| {
        part.write_at(0, vec![bytes.clone()]).await.unwrap();
    })
    .await;
    assert_eq!(outcome.unwrap().size, 3000);
}

#[tokio::test]
async fn content_of_two_runs_that_is_wrong_is_fetched_once_more_whole() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    let source = Shelf::new(&bytes);
    place.leave(Digest::sha256(&bytes), 3000, &content(2, 1000)).await;
    place.bring(&source, &described(&bytes)).await.unwrap();
    assert_eq!(source.opened(), [(1000, Some(3000)), (0, Some(3000))]);
    assert_eq!(place.discarded(), 1);
    assert_eq!(place.shown(&bytes).await, Some(3000));
}

fn blamed(outcome: Result<Blob>) -> (Digest, Digest, Option<String>) {
    match outcome {
        Err(Error::Integrity { expected, actual, origin }) => (expected, actual, origin),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_source_that_sent_everything_is_blamed_at_once() {
    let (place, bytes, wrong) = (Place::default(), content(1, 3000), content(2, 3000));
    let source = Shelf::new(&wrong);
    let expected = (Digest::sha256(&bytes), Digest::sha256(&wrong), Some("shelf".to_owned()));
    assert_eq!(blamed(place.bring(&source, &described(&bytes)).await), expected);
    assert_eq!(source.opened(), [(0, Some(3000))]);
    assert_eq!(place.discarded(), 0);
    assert_eq!(place.shown(&bytes).await, None);
}

#[tokio::test]
async fn a_source_that_is_wrong_again_is_blamed() {
    let (place, bytes, wrong) = (Place::default(), content(1, 3000), content(2, 3000));
    let source = Shelf::new(&wrong);
    place.leave(Digest::sha256(&bytes), 3000, &bytes.slice(..1000)).await;
    let (_, actual, origin) = blamed(place.bring(&source, &described(&bytes)).await);
    assert_eq!((actual, origin.as_deref()), (Digest::sha256(&wrong), Some("shelf")));
    assert_eq!(source.opened(), [(1000, Some(3000)), (0, Some(3000))]);
}

/// Two sources one behind the other: the first sends 1000 bytes and breaks, the second sends the rest.
fn two(first: (&Bytes, Manner), second: (&Bytes, Manner, Manner)) -> (Arc<Shelf>, Arc<Shelf>, Fallback) {
    let one = Arc::new(Shelf::named("one", first.0, Manner::Breaks(1000), first.1));
    let other = Arc::new(Shelf::named("other", second.0, second.1, second.2));
    let both = Fallback::new(one.clone(), vec![other.clone()]);
    (one, other, both)
}

#[tokio::test]
async fn of_mixed_content_each_source_sends_all_alone() {
    let (bytes, wrong) = (content(1, 3000), content(2, 3000));
    for (manner, discarded) in [(Manner::Honest, 2), (Manner::Breaks(500), 2), (Manner::Lacks, 2)] {
        let place = Place::default();
        let (one, other, both) = two((&wrong, manner), (&bytes, Manner::Honest, Manner::Honest));
        place.bring(&both, &described(&bytes)).await.unwrap();
        assert_eq!(one.opened(), [(0, Some(3000)), (0, Some(3000))]);
        // Whole, although the first one left some bytes when it broke again.
        assert_eq!(other.opened(), [(1000, Some(3000)), (0, Some(3000))]);
        assert_eq!(place.discarded(), discarded);
    }
}

#[tokio::test]
async fn of_liars_the_last_is_named() {
    let (place, bytes, wrong) = (Place::default(), content(1, 3000), content(2, 3000));
    let (_, _, both) = two((&wrong, Manner::Honest), (&wrong, Manner::Honest, Manner::Honest));
    let (_, _, origin) = blamed(place.bring(&both, &described(&bytes)).await);
    assert_eq!(origin.as_deref(), Some("other"));
}

#[tokio::test]
async fn a_liar_is_named_although_another_cannot_be_asked() {
    let (bytes, wrong) = (content(1, 3000), content(2, 3000));
    for manner in [Manner::Unreachable, Manner::Lacks] {
        let place = Place::default();
        let (_, _, both) = two((&wrong, Manner::Honest), (&bytes, Manner::Honest, manner));
        let (_, _, origin) = blamed(place.bring(&both, &described(&bytes)).await);
        assert_eq!(origin.as_deref(), Some("one"), "{manner:?}");
    }
}

#[tokio::test]
async fn wrong_content_that_nobody_can_send_again_is_worth_another_attempt_and_says_why() {
    let (place, bytes, wrong) = (Place::default(), content(1, 3000), content(2, 3000));
    let (_, _, both) = two((&wrong, Manner::Lacks), (&bytes, Manner::Honest, Manner::Unreachable));
    let error = place.bring(&both, &described(&bytes)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let Error::Unavailable { origin, operation, source: Some(cause), .. } = error else { panic!("{error}") };
    assert_eq!((&*origin, operation), ("other", "fetch content anew that did not match its digest"));
    let mixed = [wrong.slice(..1000), bytes.slice(1000..)].concat();
    assert!(cause.to_string().contains(&Digest::sha256(&mixed).to_string()), "{cause}");
    assert_eq!(cause.source().unwrap().to_string(), broken("other").to_string());
    // Nothing of it is left to be mixed with what comes next.
    let source = Shelf::new(&bytes);
    place.bring(&source, &described(&bytes)).await.unwrap();
    assert_eq!(source.opened(), [(0, Some(3000))]);
}

#[tokio::test]
async fn wrong_content_that_nobody_has_is_an_integrity_error_without_a_name() {
    let (place, bytes, wrong) = (Place::default(), content(1, 3000), content(2, 3000));
    let (_, _, both) = two((&wrong, Manner::Lacks), (&bytes, Manner::Honest, Manner::Lacks));
    assert_eq!(blamed(place.bring(&both, &described(&bytes)).await).2, None);
}

#[track_caller]
fn assert_size(outcome: Result<Blob>, digest: Digest, sizes: (u64, u64), sender: Option<&str>) {
    let Err(Error::Size { subject, expected, actual, origin }) = outcome else { panic!("{outcome:?}") };
    assert_eq!((subject, (expected, actual)), (Subject::Blob(digest), sizes));
    assert_eq!(origin.as_deref(), sender);
}

#[tokio::test]
async fn a_descriptor_that_lies_about_what_is_there_is_refused() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    committed(&place, &bytes).await;
    let lie = Descriptor { size: 2999, ..described(&bytes) };
    let source = Shelf::new(&bytes);
    assert_size(place.bring(&source, &lie).await, lie.digest, (2999, 3000), None);
    assert_eq!(source.opened(), []);
    assert_eq!(place.shown(&bytes).await, None);
}

#[tokio::test]
async fn a_source_that_announces_another_size_is_not_read() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    let source = Shelf::of_manner(&bytes, Manner::Announces(3001));
    let descriptor = described(&bytes);
    let outcome = place.bring(&source, &descriptor).await;
    assert_size(outcome, descriptor.digest, (3000, 3001), Some("shelf"));
    let honest = Shelf::new(&bytes);
    place.bring(&honest, &descriptor).await.unwrap();
    assert_eq!(honest.opened(), [(0, Some(3000))]);
}

#[tokio::test]
async fn a_stream_that_ends_early_is_gone_on_with() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    let source = Shelf::of_manner(&bytes, Manner::Ends(1000));
    let error = place.bring(&source, &described(&bytes)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let honest = Shelf::new(&bytes);
    place.bring(&honest, &described(&bytes)).await.unwrap();
    assert_eq!(honest.opened(), [(1000, Some(3000))]);
}

#[tokio::test]
async fn a_source_that_starts_behind_what_was_asked_for_is_not_asked_for_ever() {
    let (place, bytes) = (Place::default(), content(1, 3000));
    let source = Shelf::of_manner(&bytes, Manner::StartsLate(1));
    assert_eq!(place.bring(&source, &described(&bytes)).await.unwrap_err().code(), "unavailable");
    assert_eq!(source.opened().len(), 1);
}

// From a stream into a part.

/// A part of `size` bytes in a store of its own.
async fn part(size: Option<u64>) -> (Memory, Box<dyn Filling>, Digest) {
    let (store, digest) = (Memory::default(), Digest::sha256(b"of no account"));
    match store.ingest(IngestKey::Blob { digest, size }).await.unwrap() {
        Ingest::Filling(filling) => (store, filling, digest),
        other => panic!("{other:?}"),
    }
}

/// What can be read of the part, from `start` on.
async fn present(store: &Memory, digest: Digest) -> Vec<(u64, Bytes)> {
    let following = match store.ingest(IngestKey::Blob { digest, size: None }).await.unwrap() {
        Ingest::Following(following) => following,
        other => panic!("{other:?}"),
    };
    let mut found = Vec::new();
    for range in following.present() {
        let mut stream = following.read(range.clone().into());
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        found.push((range.start, bytes.into()));
    }
    found
}

fn streamed(chunks: Vec<Result<Bytes>>) -> pier_content::ByteStream {
    stream::iter(chunks).boxed()
}

#[tokio::test]
async fn bytes_around_a_hole_are_dropped() {
    let (store, filling, digest) = part(Some(3000)).await;
    let bytes = content(1, 3000);
    let chunks = (0..3000).step_by(250).map(|at| Ok(bytes.slice(at..at + 250))).collect();
    let reached = pump(streamed(chunks), 0, (600..1400).into(), &*filling).await.unwrap();
    assert_eq!(reached, 1400);
    assert_eq!(present(&store, digest).await, [(600, bytes.slice(600..1400))]);
}

#[tokio::test]
async fn what_came_before_an_error_is_kept() {
    let (store, filling, digest) = part(Some(3000)).await;
    let bytes = content(1, 3000);
    let chunks = vec![Ok(bytes.slice(..700)), Ok(bytes.slice(700..900)), Err(broken("line"))];
    let error = pump(streamed(chunks), 0, (0..3000).into(), &*filling).await.unwrap_err();
    assert_eq!(error.code(), "unavailable");
    assert_eq!(present(&store, digest).await, [(0, bytes.slice(..900))]);
}

#[tokio::test]
async fn a_stream_that_ends_before_its_hole_says_where() {
    let (_, filling, _) = part(Some(3000)).await;
    let chunks = vec![Ok(content(1, 700))];
    assert_eq!(pump(streamed(chunks), 100, (200..3000).into(), &*filling).await.unwrap(), 800);
    // One that does not even reach the hole.
    let chunks = vec![Ok(content(1, 50))];
    assert_eq!(pump(streamed(chunks), 900, (1000..3000).into(), &*filling).await.unwrap(), 1000);
}

#[tokio::test]
async fn an_open_end_takes_all_there_is() {
    let (store, filling, digest) = part(None).await;
    let bytes = content(1, 3 << 20);
    let chunks = (0..3 << 20).step_by(100_000).map(|at| Ok(bytes.slice(at..(at + 100_000).min(3 << 20))));
    let reached = pump(streamed(chunks.collect()), 0, ByteRange::ALL, &*filling).await.unwrap();
    assert_eq!(reached, 3 << 20);
    assert_eq!(present(&store, digest).await, [(0, bytes)]);
}

#[tokio::test]
async fn nothing_behind_the_hole_is_waited_for() {
    let (_, filling, _) = part(Some(3000)).await;
    let endless = stream::iter([Ok(content(1, 1000))]).chain(stream::pending()).boxed();
    assert_eq!(pump(endless, 0, (0..1000).into(), &*filling).await.unwrap(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_slow_stream_is_written_as_it_comes() {
    let (store, filling, digest) = part(Some(3000)).await;
    let following: Box<dyn Following> =
        match store.ingest(IngestKey::Blob { digest, size: Some(3000) }).await.unwrap() {
            Ingest::Following(following) => following,
            other => panic!("{other:?}"),
        };
    let slow = stream::iter([Ok(content(1, 10))]).chain(stream::pending()).boxed();
    let pumping = tokio::spawn(async move { pump(slow, 0, (0..3000).into(), &*filling).await });
    // Paused time goes on only when everybody waits: it is the batch's patience that ends.
    let first = following.read((0..10).into()).next().await.unwrap().unwrap();
    assert_eq!(first, content(1, 10));
    pumping.abort();
}
