//! Large layers over as many connections as help, and over one where they do not.

use std::time::Duration;

use http::{Method, StatusCode};
use pier_oci::Digest;
use pier_testkit::{
    faults::{Canned, Fault, FaultyProxy, Kind, Pace, RetryAfter, Script, Seen, When},
    image::{BuiltImage, ImageBuilder, Layer},
    mock::{self, Place},
};

use crate::{
    faults::{check_store, pull, pull_once},
    support::registry,
};

/// Large enough to be worth several connections.
const LAYER: usize = 72 << 20;

fn image() -> BuiltImage {
    ImageBuilder::new().layer(Layer::random(7, LAYER)).build()
}

fn layer(image: &BuiltImage) -> Digest {
    image.blobs.iter().max_by_key(|blob| blob.descriptor.size).unwrap().descriptor.digest
}

fn of_layer(proxy: &FaultyProxy, digest: Digest) -> Vec<Seen> {
    proxy
        .requests()
        .into_iter()
        .filter(|seen| seen.kind == Kind::Blob && seen.digest == Some(digest))
        .collect()
}

/// Each connection gets so much and no more, as storage services have it.
fn limited() -> Pace {
    Pace { bytes_per_second: Some(20_000_000), delay: Duration::from_millis(40) }
}

fn connections(seen: &[Seen]) -> usize {
    let mut connections: Vec<u64> = seen.iter().map(|seen| seen.connection).collect();
    connections.sort_unstable();
    connections.dedup();
    connections.len()
}

#[tokio::test]
async fn slow_connections_are_multiplied_and_every_byte_comes_once() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let proxy = FaultyProxy::start(registry.address(), Script::new().pace(limited())).await.unwrap();
    let (store, outcome) = pull(&proxy, "team/app:v1").await;
    outcome.unwrap();
    assert_eq!(check_store(&store, &image).await, image.blobs.len());
    let seen = of_layer(&proxy, layer(&image));
    assert!(connections(&seen) >= 4, "{seen:#?}");
    // Always a range with an end: nobody is made to send what nobody reads.
    assert!(seen.iter().all(|seen| seen.range.as_ref().is_some_and(|range| !range.ends_with('-'))));
    assert_eq!(proxy.downloaded(&layer(&image)), LAYER as u64);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_sends_the_layer_once() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let script = Script::new().rule(When::get(Kind::Blob), Fault::IgnoresRange);
    let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
    let (store, outcome) = pull(&proxy, "team/app:v1").await;
    outcome.unwrap();
    assert_eq!(check_store(&store, &image).await, image.blobs.len());
    assert_eq!(of_layer(&proxy, layer(&image)).len(), 1);
    assert_eq!(proxy.downloaded(&layer(&image)), LAYER as u64);
}

#[tokio::test]
async fn a_complaint_about_too_many_requests_is_answered_with_fewer() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let complaint = Canned::too_many_requests(RetryAfter::Seconds(0));
    let script = Script::new()
        .pace(limited())
        .answer(When::get(Kind::Blob).ranged().skip(3).once(), complaint.clone())
        .answer(When::get(Kind::Blob).ranged().skip(4).once(), complaint);
    let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
    let (store, outcome) = pull(&proxy, "team/app:v1").await;
    outcome.unwrap();
    assert_eq!(check_store(&store, &image).await, image.blobs.len());
    let refused = of_layer(&proxy, layer(&image))
        .iter()
        .filter(|seen| seen.status == Some(StatusCode::TOO_MANY_REQUESTS.as_u16()))
        .count();
    assert_eq!(refused, 2);
    assert_eq!(proxy.downloaded(&layer(&image)), LAYER as u64 + 2 * body());
}

/// Bytes of a complaint's body, which the proxy counts as well.
fn body() -> u64 {
    Canned::too_many_requests(RetryAfter::Seconds(0)).body.len() as u64
}

#[tokio::test]
async fn a_range_that_breaks_off_is_asked_for_again_and_nothing_else() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let script = Script::new()
        .pace(limited())
        .rule(When::get(Kind::Blob).ranged().skip(3).once(), Fault::Truncate { after: 1_000_000 });
    let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
    let (store, outcome) = pull(&proxy, "team/app:v1").await;
    outcome.unwrap();
    assert_eq!(check_store(&store, &image).await, image.blobs.len());
    assert_eq!(proxy.downloaded(&layer(&image)), LAYER as u64);
}

/// One attempt for the whole layer: what is told here is mended without waiting and without failing.
#[tokio::test]
async fn while_several_ranges_are_under_way_one_that_fails_is_asked_for_again() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let third = || When::get(Kind::Blob).ranged().skip(3).once();
    for script in [
        Script::new().answer(third(), Canned::new(StatusCode::SERVICE_UNAVAILABLE)),
        Script::new().rule(third(), Fault::Truncate { after: 1_000_000 }),
        Script::new().rule(third(), Fault::CutBefore),
        // Silent while the others bring bytes, at its first byte and in its middle.
        Script::new().rule(third(), Fault::StallHead),
        Script::new().rule(third(), Fault::Stall { after: 1_000_000 }),
    ] {
        let proxy = FaultyProxy::start(registry.address(), script.clone().pace(limited())).await.unwrap();
        let (store, outcome) = pull_once(proxy.address(), "team/app:v1").await;
        outcome.unwrap_or_else(|error| panic!("{script:?}: {error:?}"));
        assert_eq!(check_store(&store, &image).await, image.blobs.len(), "{script:?}");
    }
}

/// A line that is dead is not asked for ever.
#[tokio::test]
async fn ranges_that_all_fail_end_in_an_error() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let dead = When::get(Kind::Blob).ranged().skip(3);
    let script = Script::new().pace(limited()).rule(dead, Fault::Stall { after: 0 });
    let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
    let (_, outcome) = pull_once(proxy.address(), "team/app:v1").await;
    assert_eq!(outcome.unwrap_err().code(), "unavailable");
    assert!(of_layer(&proxy, layer(&image)).len() <= 3 + 16);
}

fn asked(registry: &mock::Registry, place: Place, digest: Digest) -> usize {
    let of_layer = |asked: &&mock::Asked| {
        asked.place == place && asked.method == Method::GET && asked.path.ends_with(&digest.to_string())
    };
    registry.requests().iter().filter(of_layer).count()
}

#[tokio::test]
async fn a_signed_url_serves_all_ranges_until_its_time_is_over() {
    let manners = mock::Manners { blobs: mock::Blobs::Presigned, ..mock::PLAIN };
    let registry = mock::Registry::start(manners).await.unwrap();
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let (store, outcome) = pull_once(registry.address(), "team/app:v1").await;
    outcome.unwrap();
    assert_eq!(check_store(&store, &image).await, image.blobs.len());
    // What the registry is asked, it may count; the storage is asked range by range.
    assert_eq!(asked(&registry, Place::Registry, layer(&image)), 1);
    assert!(registry.count(Place::Storage) > 2);
    assert_eq!(registry.violations(), []);

    let manners = mock::Manners { url_requests: 1, ..manners };
    let registry = mock::Registry::start(manners).await.unwrap();
    registry.push(&image, "team/app:v1").await.unwrap();
    let (store, outcome) = pull_once(registry.address(), "team/app:v1").await;
    outcome.unwrap();
    assert_eq!(check_store(&store, &image).await, image.blobs.len());
    assert!(asked(&registry, Place::Registry, layer(&image)) > 1);
    assert_eq!(registry.violations(), []);
}
