//! Fills that one source begins and another ends, with a made-up swarm that loses its peers half-way.

use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::*;
use crate::{
    Subject,
    fixtures::{CHUNK, LAYER, Part, Shelf, blob_descriptor, reference, repository, unavailable},
};

/// A swarm whose peers hold some pieces and leave when those are sent: pieces come at random and several at once.
#[derive(Debug)]
struct Swarm {
    content: Bytes,
    pieces: Vec<usize>,
}

#[async_trait]
impl Source for Swarm {
    fn name(&self) -> String {
        "swarm".to_owned()
    }

    async fn resolve(&self, _: &Reference) -> Result<Descriptor> {
        Err(Error::Unsupported { what: "resolving names" })
    }

    async fn manifest(&self, _: &Repository, _: &Selector, _: u64) -> Result<Manifest> {
        Err(Error::Unsupported { what: "manifests" })
    }

    async fn open(&self, _: &Repository, _: &Descriptor, _: ByteRange) -> Result<Opened> {
        Err(Error::Unsupported { what: "reading in order" })
    }

    async fn referrers(&self, _: &Repository, _: &Digest) -> Result<Vec<Descriptor>> {
        Err(Error::Unsupported { what: "referrers" })
    }

    async fn fill(&self, _: &Repository, _: &Descriptor, filling: &dyn Filling) -> Result<()> {
        let mut written = stream::iter(self.pieces.clone())
            .map(|piece| async move {
                // Later pieces overtake earlier ones.
                for _ in 0..(piece * 7) % 5 {
                    tokio::task::yield_now().await;
                }
                let bytes = self.content.slice(piece * CHUNK..((piece + 1) * CHUNK).min(self.content.len()));
                filling.write_at((piece * CHUNK) as u64, vec![bytes]).await
            })
            .buffer_unordered(4);
        while let Some(written) = written.next().await {
            written?;
        }
        Err(unavailable(None))
    }
}

fn content() -> Bytes {
    (0..=250).cycle().take(CHUNK * 12 + 5).collect::<Vec<u8>>().into()
}

fn shelf(content: &Bytes) -> Arc<Shelf> {
    let mut shelf = Shelf::default();
    shelf.blob(LAYER, content);
    Arc::new(shelf)
}

#[tokio::test]
async fn asks_the_next_source_only_for_what_a_swarm_left_over() {
    let content = content();
    let swarm = Arc::new(Swarm { content: content.clone(), pieces: vec![11, 2, 7, 5, 3, 10] });
    let shelf = shelf(&content);
    let part = Part::new(content.len());
    let descriptor = blob_descriptor(&content);

    let fallback = Fallback::new(swarm, vec![shelf.clone()]);
    fallback.fill(&repository("r.test/a:t"), &descriptor, &part).await.unwrap();

    assert_eq!(part.content(), content);
    assert_eq!(shelf.served.load(SeqCst), content.len() - 6 * CHUNK);
    let asked: Vec<String> = [(0, 2), (4, 5), (6, 7), (8, 10)]
        .map(|(from, to)| format!("open {} {}..{}", descriptor.digest, from * CHUNK, to * CHUNK))
        .into_iter()
        .chain([format!("open {} {}..{}", descriptor.digest, 12 * CHUNK, content.len())])
        .collect();
    assert_eq!(shelf.asked(), asked);
}

#[tokio::test]
async fn asks_nobody_when_a_swarm_lost_its_peers_behind_the_last_byte() {
    let content = content();
    let swarm = Arc::new(Swarm { content: content.clone(), pieces: (0..13).rev().collect() });
    let shelf = shelf(&content);
    let part = Part::new(content.len());

    let fallback = Fallback::new(swarm, vec![shelf.clone()]);
    fallback.fill(&repository("r.test/a:t"), &blob_descriptor(&content), &part).await.unwrap();

    assert_eq!(part.content(), content);
    assert_eq!(shelf.asked(), Vec::<String>::new());
}

/// A source that answers every question with this error.
fn broken(error: Error) -> Arc<Shelf> {
    let shelf = Shelf::default();
    shelf.failures.lock().unwrap().push(error);
    Arc::new(shelf)
}

fn not_found() -> Error {
    Error::NotFound { subject: Subject::Repository(repository("r.test/a:t").name) }
}

fn denied() -> Error {
    Error::Denied { origin: "shelf".to_owned(), reason: "no".to_owned() }
}

fn integrity() -> Error {
    let digest = blob_descriptor(b"x").digest;
    Error::Integrity { expected: digest, actual: digest, origin: None }
}

fn unsupported() -> Error {
    Error::Unsupported { what: "that" }
}

fn disk_full() -> Error {
    Error::StorageFull { operation: "write", path: "/data".into() }
}

#[tokio::test]
async fn a_later_source_answers_for_one_that_cannot() {
    for error in [unavailable(None), not_found(), denied(), integrity(), unsupported()] {
        let code = error.code();
        let mut good = Shelf::default();
        let image = good.image("c", &[]);
        good.tag("t", &image);
        let fallback = Fallback::new(broken(error), vec![Arc::new(good)]);
        let resolved = fallback.resolve(&reference("r.test/a:t")).await.unwrap();
        assert_eq!(resolved.digest, crate::fixtures::named(&image), "{code}");
    }
}

#[tokio::test]
async fn reports_what_leaves_the_caller_most_to_do() {
    async fn check(errors: Vec<Error>, expected: &str) {
        let codes: Vec<_> = errors.iter().map(Error::code).collect();
        let mut sources = errors.into_iter().map(|error| broken(error) as Arc<dyn Source>);
        let fallback = Fallback::new(sources.next().unwrap(), sources.collect());
        let error = fallback.resolve(&reference("r.test/a:t")).await.unwrap_err();
        assert_eq!(error.code(), expected, "{codes:?}");
    }
    check(vec![not_found(), not_found()], "not-found").await;
    check(vec![unsupported(), not_found()], "not-found").await;
    check(vec![denied(), not_found()], "denied").await;
    check(vec![not_found(), denied()], "denied").await;
    check(vec![denied(), unavailable(None)], "unavailable").await;
    check(vec![unavailable(None), denied()], "unavailable").await;
    check(vec![integrity(), denied(), not_found()], "integrity").await;
    check(vec![integrity(), unavailable(None)], "unavailable").await;
}

#[tokio::test]
async fn a_failure_of_our_own_ends_at_once() {
    let second = broken(not_found());
    let fallback = Fallback::new(broken(disk_full()), vec![second.clone()]);
    let error = fallback.resolve(&reference("r.test/a:t")).await.unwrap_err();
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    assert_eq!(second.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn wrong_content_names_its_sender() {
    let fallback = Fallback::new(broken(integrity()), vec![broken(not_found())]);
    let error = fallback.resolve(&reference("r.test/a:t")).await.unwrap_err();
    assert!(matches!(&error, Error::Integrity { origin: Some(name), .. } if name == "shelf"), "{error}");
}

#[tokio::test]
async fn a_mirror_without_referrers_does_not_hide_those_of_the_next() {
    let mut registry = Shelf::default();
    let subject = blob_descriptor(b"subject").digest;
    let referrer = blob_descriptor(b"referrer");
    registry.referrers.insert(subject, vec![referrer.clone()]);
    let fallback = Fallback::new(Arc::new(Shelf::default()), vec![Arc::new(registry)]);
    assert_eq!(fallback.referrers(&repository("r.test/a:t"), &subject).await.unwrap(), [referrer]);
}

#[tokio::test]
async fn referrers_are_none_only_when_every_source_answered() {
    let subject = blob_descriptor(b"subject").digest;
    let asked = Fallback::new(Arc::new(Shelf::default()), vec![broken(unavailable(None))]);
    let error = asked.referrers(&repository("r.test/a:t"), &subject).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");

    let asked = Fallback::new(broken(unsupported()), vec![Arc::new(Shelf::default())]);
    assert_eq!(asked.referrers(&repository("r.test/a:t"), &subject).await.unwrap(), []);
}

#[test]
fn parts_are_the_single_sources() {
    let shelf = || Arc::new(Shelf::default()) as Arc<dyn Source>;
    let inner = Fallback::new(shelf(), vec![shelf()]);
    let outer = Fallback::new(shelf(), vec![Arc::new(inner), shelf()]);
    assert_eq!(outer.parts().len(), 4);
    assert!(outer.parts().iter().all(|part| part.parts().is_empty()));
}
