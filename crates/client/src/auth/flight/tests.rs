//! One does the work for all who want it, whatever becomes of him.

use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{FutureExt as _, future::join_all};
use tokio::task::yield_now;

use super::*;

#[tokio::test]
async fn those_who_want_the_same_share_one_fetch_and_others_do_not() {
    let flights = Flights::default();
    let count = AtomicUsize::new(0);
    let (shared, counted) = (&flights, &count);
    let fetch = |key: &'static str| {
        shared.join(key, async move || {
            yield_now().await;
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(key)
        })
    };
    let results = join_all((0..100).map(|number| fetch(if number % 2 == 0 { "even" } else { "odd" }))).await;
    for (number, result) in results.into_iter().enumerate() {
        assert_eq!(result.unwrap(), if number % 2 == 0 { "even" } else { "odd" });
    }
    assert_eq!(count.load(Ordering::SeqCst), 2);
    // It is over: the next one fetches anew.
    fetch("even").await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 3);
    assert!(flights.under_way.lock().unwrap().is_empty());
}

#[tokio::test]
async fn one_that_gives_up_hands_over() {
    let flights = Flights::default();
    let mut first = Box::pin(flights.join("key", async || pending().await));
    let mut second = Box::pin(flights.join("key", async || Ok(2)));
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    assert_eq!(second.await.unwrap(), 2);
}

#[tokio::test]
async fn flights_that_all_gave_up_leave_nothing_behind() {
    let flights: Flights<u32, u32> = Flights::default();
    for key in 0..100 {
        assert!(flights.join(key, async || pending().await).now_or_never().is_none());
    }
    assert_eq!(flights.under_way.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failure_is_everybodys_who_waited() {
    let flights: Flights<&str, u32> = Flights::default();
    let fetch = |error: fn() -> Error| {
        flights.join("key", async move || {
            yield_now().await;
            Err(error())
        })
    };
    let denied = || Error::Denied { origin: "r.io".to_owned(), reason: "no".to_owned() };
    let credentials = || Error::Credentials { place: "`x`".to_owned(), reason: "no".to_owned() };
    let down = || Error::Unavailable {
        origin: "r.io".to_owned(),
        operation: "ask",
        retry_after: Some(std::time::Duration::from_secs(3)),
        source: Some("broken pipe".into()),
    };
    let untrusted = || Error::Untrusted { origin: "r.io".to_owned(), reason: "no".to_owned() };
    let malformed =
        || Error::Invalid { subject: pier_content::Subject::File("/x".into()), reason: "no".to_owned() };
    let too_many = || Error::TooManyRequests {
        origin: "r.io".to_owned(),
        reason: "no".to_owned(),
        retry_after: Some(std::time::Duration::from_secs(3)),
    };
    let busy = || Error::Abandoned { subject: pier_content::Subject::File("/x".into()) };
    let unable = || Error::Unsupported { what: "that" };
    let full = || Error::io("write", "/x", io::Error::other("odd"));
    for (error, code, text) in [
        (denied as fn() -> Error, "denied", "r.io refuses: no"),
        (credentials, "credentials", "`x`: no"),
        (down, "unavailable", "r.io cannot be reached or did not finish: ask"),
        (full, "io", "write `/x`"),
        (untrusted, "untrusted", "r.io is not to be trusted: no"),
        (malformed, "invalid", "`/x`: no"),
        (too_many, "too-many-requests", "r.io is asked too much: no"),
        (busy, "unavailable", "the token server cannot be reached or did not finish: get a token"),
        (unable, "denied", "the token server refuses: that is not supported here"),
    ] {
        for result in join_all((0..3).map(|_| fetch(error))).await {
            let shared = result.unwrap_err();
            assert_eq!((shared.code(), shared.to_string().as_str()), (code, text));
            assert_eq!(shared.retry_after(), error().retry_after());
        }
    }
    let cause = |error: &Error| std::error::Error::source(error).unwrap().to_string();
    assert_eq!(cause(&fetch(down).await.unwrap_err()), "broken pipe");
    assert_eq!(cause(&fetch(full).await.unwrap_err()), "odd");
}
