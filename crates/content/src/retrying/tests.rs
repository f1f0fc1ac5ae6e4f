//! Attempts and waits, on a clock that stands still until everybody waits.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use super::*;
use crate::{
    Subject,
    fixtures::{CHUNK, LAYER, Part, Shelf, blob_descriptor, reference, repository, unavailable},
};

const POLICY_WAITS: Duration = Duration::from_millis(250 + 500 + 1000 + 2000);

fn policy() -> RetryPolicy {
    RetryPolicy::new(Jitter::none())
}

/// A shelf that fails so and then answers.
fn shelf(failures: Vec<Error>) -> Shelf {
    let mut shelf = Shelf::default();
    let image = shelf.image("c", &[]);
    shelf.tag("t", &image);
    *shelf.failures.lock().unwrap() = failures;
    shelf
}

/// Resolves against a shelf; gives the outcome, the calls and how long it took.
async fn resolve(failures: Vec<Error>, policy: RetryPolicy) -> (Result<Descriptor>, usize, Duration) {
    let shelf = Arc::new(shelf(failures));
    let before = Instant::now();
    let outcome = Retrying::new(shelf.clone(), policy).resolve(&reference("r.test/a:t")).await;
    (outcome, shelf.asked().len(), before.elapsed())
}

fn failing(times: usize) -> Vec<Error> {
    std::iter::repeat_with(|| unavailable(None)).take(times).collect()
}

#[tokio::test(start_paused = true)]
async fn asks_again_until_it_succeeds() {
    let (outcome, calls, waited) = resolve(failing(2), policy()).await;
    outcome.unwrap();
    assert_eq!((calls, waited), (3, Duration::from_millis(750)));
}

#[tokio::test(start_paused = true)]
async fn gives_the_last_error_when_the_attempts_are_used_up() {
    let (outcome, calls, waited) = resolve(failing(9), policy()).await;
    assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    assert_eq!((calls, waited), (5, POLICY_WAITS));
}

#[tokio::test(start_paused = true)]
async fn never_asks_again_after_an_answer() {
    let digest = blob_descriptor(b"x").digest;
    let answers = [
        Error::NotFound { subject: Subject::Blob(digest) },
        Error::Denied { origin: "shelf".to_owned(), reason: "no".to_owned() },
        Error::Integrity { expected: digest, actual: digest, origin: None },
        Error::Unsupported { what: "that" },
    ];
    for answer in answers {
        let code = answer.code();
        let (outcome, calls, waited) = resolve(vec![answer], policy()).await;
        assert_eq!(outcome.unwrap_err().code(), code);
        assert_eq!((calls, waited), (1, Duration::ZERO), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_the_other_side_asks() {
    let (outcome, calls, waited) = resolve(vec![unavailable(Some(Duration::from_secs(7)))], policy()).await;
    outcome.unwrap();
    assert_eq!((calls, waited), (2, Duration::from_secs(7)));
}

#[tokio::test(start_paused = true)]
async fn does_not_ask_earlier_than_the_other_side_wants_nor_wait_longer_than_the_policy_allows() {
    let wait = |seconds| resolve(vec![unavailable(Some(Duration::from_secs(seconds)))], policy());
    let (outcome, calls, waited) = wait(60).await;
    outcome.unwrap();
    assert_eq!((calls, waited), (2, Duration::from_mins(1)));
    let (outcome, calls, waited) = wait(61).await;
    assert_eq!(outcome.unwrap_err().retry_after(), Some(Duration::from_secs(61)));
    assert_eq!((calls, waited), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn tells_of_each_wait_and_of_its_reason() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let progress = Progress::to(move |event| listener.lock().unwrap().push(event));
    resolve(failing(2), RetryPolicy { progress, ..policy() }).await.0.unwrap();
    let wait = |milliseconds| Event::Waiting {
        origin: shelf(Vec::new()).name(),
        delay: Duration::from_millis(milliseconds),
        reason: unavailable(None).to_string(),
    };
    assert_eq!(*told.lock().unwrap(), [wait(250), wait(500)]);
}

#[test]
fn a_reason_has_its_causes_once() {
    let error = |source: &str| Error::Unavailable {
        origin: "r.test".to_owned(),
        operation: "resolve",
        retry_after: None,
        source: Some(source.into()),
    };
    let expected = "r.test cannot be reached or did not finish: resolve: no route to it";
    assert_eq!(Causes(&error("no route to it")).to_string(), expected);
    assert_eq!(Causes(&error("resolve")).to_string(), "r.test cannot be reached or did not finish: resolve");
}

#[tokio::test(start_paused = true)]
async fn does_not_begin_a_wait_beyond_the_sum_of_all_waits() {
    let policy = RetryPolicy { max_wait: Duration::from_millis(800), ..policy() };
    let (outcome, calls, waited) = resolve(failing(9), policy).await;
    assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    assert_eq!((calls, waited), (3, Duration::from_millis(750)));
}

#[tokio::test(start_paused = true)]
async fn a_launcher_asks_as_often_as_it_said_with_waits_that_grow_by_half_up_to_a_minute() {
    let attempts = NonZeroU32::new(20).unwrap();
    let insistent = RetryPolicy::insistent(attempts, Duration::from_secs(1), Duration::from_secs(10));
    let (outcome, calls, waited) = resolve(failing(99), insistent).await;
    assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    assert_eq!(calls, 20);
    // 1, 1.5, 2.25 … 57.67 seconds, and nine minutes more; the timer counts whole milliseconds.
    let expected: f64 = (0..19).map(|wait| 1.5_f64.powi(wait).min(60.0)).sum();
    assert!((waited.as_secs_f64() - expected).abs() < 0.1, "{waited:?} and not {expected} s");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_made_again() {
    let mut shelf = shelf(Vec::new());
    let entry = shelf.blob(LAYER, b"small");
    shelf.stalls = Some(crate::fixtures::named(&entry));
    let shelf = Arc::new(shelf);
    let attempts = NonZeroU32::new(3).unwrap();
    let insistent = RetryPolicy::insistent(attempts, Duration::from_secs(1), Duration::from_secs(10));
    let before = Instant::now();
    let part = Part::new(5);
    let outcome = Retrying::new(shelf.clone(), insistent)
        .fill(&repository("r.test/a:t"), &blob_descriptor(b"small"), &part)
        .await;
    let Err(Error::Unavailable { operation, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!((operation, shelf.asked().len()), ("answer in time", 3));
    assert_eq!(before.elapsed(), Duration::from_millis(30_000 + 1000 + 1500));
}

#[tokio::test(start_paused = true)]
async fn jitter_takes_at_most_half_of_a_wait() {
    for (random, expected) in [(0.0, 125), (0.5, 187), (1.0, 250), (f64::NAN, 250), (-3.0, 250)] {
        let policy = RetryPolicy::new(Jitter::from_random(move || random));
        let (outcome, _, waited) = resolve(failing(1), policy).await;
        outcome.unwrap();
        // The timer counts whole milliseconds and rounds up.
        assert!(waited.as_millis().abs_diff(expected) <= 1, "{random}: {waited:?}");
    }
}

#[test]
fn a_wait_cannot_overflow() {
    for growth in [f64::MAX, f64::INFINITY] {
        let policy = RetryPolicy { growth, ..policy() };
        let patience = Patience { policy: &policy, failures: u32::MAX, waited: Duration::ZERO };
        assert_eq!(patience.delay(Some(Duration::MAX)), Duration::from_mins(1));
        assert_eq!(patience.delay(None), Duration::from_mins(1));
    }
    for growth in [f64::NAN, 0.0, -2.0] {
        let policy = RetryPolicy { growth, ..policy() };
        let patience = Patience { policy: &policy, failures: 9, waited: Duration::ZERO };
        assert_eq!(patience.delay(None), Duration::from_millis(250), "{growth}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fill_counts_its_attempts_anew_when_bytes_arrived() {
    let content: Vec<u8> = (0..=250).cycle().take(CHUNK * 20).collect();
    let mut shelf = Shelf { breaks_after: Some(CHUNK), ..Shelf::default() };
    shelf.blob(LAYER, &content);
    let shelf = Arc::new(shelf);
    let part = Part::new(content.len());
    let policy = RetryPolicy { attempts: NonZeroU32::new(2).unwrap(), ..policy() };
    let before = Instant::now();

    let retrying = Retrying::new(shelf.clone(), policy);
    retrying.fill(&repository("r.test/a:t"), &blob_descriptor(&content), &part).await.unwrap();

    assert_eq!(part.content(), content);
    assert_eq!(shelf.asked().len(), 20);
    assert_eq!(shelf.served.load(std::sync::atomic::Ordering::SeqCst), content.len(), "no byte comes twice");
    assert_eq!(before.elapsed(), Duration::from_millis(19 * 250));
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_gets_one_byte_an_attempt_ends_too() {
    let content = vec![7; CHUNK * 20];
    let mut shelf = Shelf { breaks_after: Some(1), ..Shelf::default() };
    shelf.blob(LAYER, &content);
    let part = Part::new(content.len());
    let policy = RetryPolicy { max_wait: Duration::from_secs(2), ..policy() };

    let outcome = Retrying::new(Arc::new(shelf), policy)
        .fill(&repository("r.test/a:t"), &blob_descriptor(&content), &part)
        .await;

    assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    assert_eq!(part.holds(), 9, "eight waits of a quarter of a second fit into two seconds");
}

#[tokio::test(start_paused = true)]
async fn a_fill_without_progress_gives_up() {
    let content = vec![7; CHUNK];
    let mut shelf = Shelf { breaks_after: Some(0), ..Shelf::default() };
    shelf.blob(LAYER, &content);
    let shelf = Arc::new(shelf);
    let part = Part::new(content.len());

    let outcome = Retrying::new(shelf.clone(), policy())
        .fill(&repository("r.test/a:t"), &blob_descriptor(&content), &part)
        .await;

    assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    assert_eq!(shelf.asked().len(), 5);
}
