//! Large layers over as many connections as help, and over one where they do not.

use std::time::Duration;

use http::StatusCode;
use pier_oci::Digest;
use pier_testkit::{
    faults::{Canned, Fault, FaultyProxy, Kind, Pace, RetryAfter, Script, Seen, When},
    image::{BuiltImage, ImageBuilder, Layer},
};

use crate::{
    faults::{check_store, pull},
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
