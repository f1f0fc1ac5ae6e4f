//! Names asked for at once, and remembered for as long as the caller likes.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use pier_oci::{Descriptor, Digest, Manifest, MediaType};

use super::*;
use crate::{ByteRange, Memory, Opened, Subject, fixtures::reference};

const MINUTE: Duration = Duration::from_mins(1);

/// A registry whose tags name what they are called; `gone` is not there.
#[derive(Debug, Default)]
struct Registrar {
    asked: Mutex<Vec<String>>,
    under_way: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[async_trait]
impl Source for Registrar {
    fn name(&self) -> String {
        "registrar".to_owned()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        self.asked.lock().unwrap().push(reference.to_string());
        let under_way = self.under_way.fetch_add(1, SeqCst) + 1;
        self.most_at_once.fetch_max(under_way, SeqCst);
        tokio::task::yield_now().await;
        self.under_way.fetch_sub(1, SeqCst);
        let selector = reference.selector();
        if selector.to_string() == "gone" {
            let subject = Subject::RemoteManifest(reference.repository.clone(), selector);
            return Err(Error::NotFound { subject });
        }
        Ok(described(&reference.to_string()))
    }

    async fn manifest(&self, _: &Repository, _: &Selector, _: u64) -> Result<Manifest> {
        Err(Error::Unsupported { what: "reading manifests" })
    }

    async fn open(&self, _: &Repository, _: &Descriptor, _: ByteRange) -> Result<Opened> {
        Err(Error::Unsupported { what: "reading blobs" })
    }

    async fn referrers(&self, _: &Repository, _: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }
}

fn described(name: &str) -> Descriptor {
    Descriptor::new(MediaType::OCI_MANIFEST, Digest::sha256(name.as_bytes()), name.len() as u64)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

async fn ask(
    registrar: &Arc<Registrar>,
    texts: &[&str],
    freshness: Freshness<'_>,
    now: SystemTime,
) -> Answers {
    let references: Vec<_> = texts.iter().map(|text| reference(text)).collect();
    let sources = |_: &Registry| Ok(Arc::clone(registrar) as Arc<dyn Source>);
    let at_once = NonZeroUsize::new(3).unwrap();
    resolve_all(&references, &sources, freshness, at_once, now).await.unwrap()
}

/// Who answered for each name.
fn told(answers: &Answers) -> Vec<String> {
    let told = |outcome: &Result<Resolved>| match outcome {
        Ok(Resolved { from: AnsweredBy::Source, .. }) => "asked".to_owned(),
        Ok(Resolved { from: AnsweredBy::Cache { age }, .. }) => format!("{} s old", age.as_secs()),
        Err(error) => error.code().to_owned(),
    };
    answers.outcomes.iter().map(told).collect()
}

fn asked(registrar: &Registrar) -> Vec<String> {
    let mut asked = std::mem::take(&mut *registrar.asked.lock().unwrap());
    asked.sort();
    asked
}

#[tokio::test]
async fn each_name_is_asked_for_once_and_answered_wherever_it_was_given() {
    let registrar = Arc::new(Registrar::default());
    let answers = ask(&registrar, &["a.io/b:1", "a.io/b:2", "a.io/b:1"], Freshness::Now, at(0)).await;
    assert_eq!(asked(&registrar), ["a.io/b:1", "a.io/b:2"]);
    assert_eq!(answers.places, [0, 1, 0]);
    let found: Vec<_> = answers.outcomes.into_iter().map(|outcome| outcome.unwrap().descriptor).collect();
    assert_eq!(found, [described("a.io/b:1"), described("a.io/b:2")]);
}

#[tokio::test]
async fn one_that_fails_does_not_keep_the_others() {
    let registrar = Arc::new(Registrar::default());
    let answers = ask(&registrar, &["a.io/b:gone", "a.io/b:1"], Freshness::Now, at(0)).await;
    assert!(matches!(answers.outcomes[0], Err(Error::NotFound { .. })));
    assert_eq!(answers.outcomes[1].as_ref().unwrap().descriptor, described("a.io/b:1"));
}

#[tokio::test]
async fn no_more_than_allowed_are_asked_for_at_once() {
    let registrar = Arc::new(Registrar::default());
    let texts: Vec<String> = (0..20).map(|tag| format!("a.io/b:{tag}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let answers = ask(&registrar, &texts, Freshness::Now, at(0)).await;
    assert_eq!(answers.outcomes.len(), 20);
    assert_eq!(registrar.most_at_once.load(SeqCst), 3);
}

#[tokio::test]
async fn what_is_young_enough_is_not_asked_for_again() {
    let (registrar, cache) = (Arc::new(Registrar::default()), Memory::default());
    let fresh = Freshness::UpTo(&cache, MINUTE);
    assert_eq!(told(&ask(&registrar, &["a.io/b:1"], fresh, at(0)).await), ["asked"]);
    assert_eq!(asked(&registrar), ["a.io/b:1"]);
    let answers = ask(&registrar, &["a.io/b:1", "a.io/b:2"], fresh, at(60)).await;
    assert_eq!(told(&answers), ["60 s old", "asked"]);
    assert_eq!(answers.outcomes[0].as_ref().unwrap().descriptor, described("a.io/b:1"));
    assert_eq!(asked(&registrar), ["a.io/b:2"]);
    // A second later the first is too old, and the new answer takes its place.
    assert_eq!(told(&ask(&registrar, &["a.io/b:1"], fresh, at(61)).await), ["asked"]);
    assert_eq!(told(&ask(&registrar, &["a.io/b:1"], fresh, at(100)).await), ["39 s old"]);
}

#[tokio::test]
async fn a_refresh_asks_and_remembers() {
    let (registrar, cache) = (Arc::new(Registrar::default()), Memory::default());
    for now in [at(0), at(10)] {
        let answers = ask(&registrar, &["a.io/b:1"], Freshness::Refresh(&cache), now).await;
        assert_eq!(told(&answers), ["asked"]);
        assert_eq!(asked(&registrar), ["a.io/b:1"]);
    }
    let answers = ask(&registrar, &["a.io/b:1"], Freshness::UpTo(&cache, MINUTE), at(15)).await;
    assert_eq!(told(&answers), ["5 s old"]);
}

#[tokio::test]
async fn what_is_from_the_future_is_asked_for() {
    let (registrar, cache) = (Arc::new(Registrar::default()), Memory::default());
    let fresh = Freshness::UpTo(&cache, MINUTE);
    ask(&registrar, &["a.io/b:1"], fresh, at(10)).await;
    assert_eq!(told(&ask(&registrar, &["a.io/b:1"], fresh, at(9)).await), ["asked"]);
}

#[tokio::test]
async fn s7_an_answer_for_one_registry_is_none_for_another() {
    let (registrar, cache) = (Arc::new(Registrar::default()), Memory::default());
    let fresh = Freshness::UpTo(&cache, MINUTE);
    ask(&registrar, &["a.io/b:1"], fresh, at(0)).await;
    asked(&registrar);
    let others = ["b.io/b:1", "a.io:443/b:1", "a.io/c:1", "a.io/b:2"];
    assert_eq!(told(&ask(&registrar, &others, fresh, at(1)).await), ["asked"; 4]);
    assert_eq!(asked(&registrar).len(), 4);
}

#[tokio::test]
async fn a_digest_is_asked_for_whatever_is_remembered() {
    let (registrar, cache) = (Arc::new(Registrar::default()), Memory::default());
    let fresh = Freshness::UpTo(&cache, MINUTE);
    let text = format!("a.io/b:1@{}", Digest::sha256(b"content"));
    for now in [at(0), at(1)] {
        assert_eq!(told(&ask(&registrar, &[&text], fresh, now).await), ["asked"]);
        assert_eq!(asked(&registrar).len(), 1);
    }
    // What was said of the digest was not remembered of the tag.
    assert_eq!(told(&ask(&registrar, &["a.io/b:1"], fresh, at(2)).await), ["asked"]);
}

#[tokio::test]
async fn a_failure_is_not_remembered() {
    let (registrar, cache) = (Arc::new(Registrar::default()), Memory::default());
    let fresh = Freshness::UpTo(&cache, MINUTE);
    for now in [at(0), at(1)] {
        assert_eq!(told(&ask(&registrar, &["a.io/b:gone"], fresh, now).await), ["not-found"]);
        assert_eq!(asked(&registrar), ["a.io/b:gone"]);
    }
}
