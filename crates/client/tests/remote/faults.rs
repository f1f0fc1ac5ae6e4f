//! Everything that a network or a registry can do wrong: each ends in success after another attempt, or in an error that says what it is.
//! Nothing wrong is ever stored.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{Method, StatusCode};
use pier_client::{Client, Timeouts};
use pier_content::{
    BlobStore as _, CopyOptions, Error, Jitter, Memory, Progress, RetryPolicy, Retrying, RetryingTarget,
    Source, StoreTarget, copy,
};
use pier_oci::{Digest, Reference};
use pier_testkit::{
    faults::{Canned, Fault, FaultyProxy, Kind, RetryAfter, Script, When},
    image::{BuiltImage, ImageBuilder, Layer},
    mock,
    test_registry::TestRegistry,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{places, pulled, reference, registry};

/// A layer that goes in one request, and one that is large enough to be gone on with.
fn image() -> BuiltImage {
    ImageBuilder::new().layer(Layer::random(1, 200_000)).layer(Layer::random(2, 5_000_000)).build()
}

fn client() -> Client {
    let short = Duration::from_millis(400);
    let timeouts = Timeouts { connect: Duration::from_secs(5), answer: short, stall: short };
    Client::builder().timeouts(timeouts).build().unwrap()
}

fn patience() -> RetryPolicy {
    RetryPolicy {
        attempts: const { NonZeroU32::new(3).unwrap() },
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(1100),
        ..RetryPolicy::new(Jitter::none())
    }
}

/// Pulls through the proxy into a store in memory.
pub(crate) async fn pull(proxy: &FaultyProxy, name: &str) -> (Arc<Memory>, Result<Digest, Error>) {
    let reference: Reference = proxy.image_ref(name).parse().unwrap();
    let remote = client().remote(&reference.repository.registry).unwrap();
    pull_from(&Retrying::new(Arc::new(remote), patience()), &reference).await
}

/// The same with one attempt for everything.
pub(crate) async fn pull_once(address: SocketAddr, name: &str) -> (Arc<Memory>, Result<Digest, Error>) {
    let reference: Reference = format!("{address}/{name}").parse().unwrap();
    pull_from(&client().remote(&reference.repository.registry).unwrap(), &reference).await
}

async fn pull_from(source: &dyn Source, reference: &Reference) -> (Arc<Memory>, Result<Digest, Error>) {
    let memory = Arc::new(Memory::default());
    let target = StoreTarget { blobs: memory.clone(), catalog: memory.clone() };
    let tags: Vec<_> = reference.tag.iter().cloned().collect();
    let options = CopyOptions::default();
    let copied =
        copy(source, reference, &target, &reference.repository, &tags, &options, &Progress::default()).await;
    (memory, copied.map(|copied| copied.root.digest))
}

/// Pushes what `from` has through the proxy, out of files.
async fn push(proxy: &FaultyProxy, from: &TestRegistry, name: &str) -> Result<Digest, Error> {
    let [files, _] = places(from, name).await;
    push_from(&*files, proxy, from, name).await
}

/// The same out of `source`, where everything has the names that it has at `from`.
async fn push_from(
    source: &dyn Source,
    proxy: &FaultyProxy,
    from: &TestRegistry,
    name: &str,
) -> Result<Digest, Error> {
    let there: Reference = proxy.image_ref(name).parse().unwrap();
    let target =
        RetryingTarget::new(Arc::new(client().remote(&there.repository.registry).unwrap()), patience());
    let tags: Vec<_> = there.tag.iter().cloned().collect();
    let here = reference(from, name);
    let options = CopyOptions::default();
    copy(source, &here, &target, &there.repository, &tags, &options, &Progress::default())
        .await
        .map(|copied| copied.root.digest)
}

/// Nothing is stored under a digest that it does not have.
pub(crate) async fn check_store(store: &Memory, image: &BuiltImage) -> usize {
    let mut held = 0;
    for blob in &image.blobs {
        if let Ok(found) = store.open(&blob.descriptor.digest).await {
            let bytes = crate::support::read(found.read(pier_content::ByteRange::ALL).await.unwrap()).await;
            assert_eq!(Digest::sha256(&bytes), blob.descriptor.digest);
            held += 1;
        }
    }
    held
}

const SERVER_ERROR: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;

fn soon() -> RetryAfter {
    RetryAfter::Seconds(1)
}

#[tokio::test]
async fn a_fault_of_a_pull_that_passes_costs_an_attempt_and_nothing_else() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let blob = || When::get(Kind::Blob).once();
    let manifest = || When::get(Kind::Manifest).once();
    for (number, script) in [
        Script::new().rule(blob(), Fault::Truncate { after: 1000 }),
        Script::new().rule(blob(), Fault::Truncate { after: 0 }),
        Script::new().rule(manifest(), Fault::Truncate { after: 10 }),
        Script::new().rule(blob(), Fault::BeyondLength { extra: 100 }),
        Script::new().rule(blob(), Fault::NoLength),
        Script::new().rule(blob(), Fault::LyingDigest(Digest::sha256(b"lie"))),
        Script::new().rule(blob(), Fault::ClaimsGzip),
        Script::new().rule(blob(), Fault::IgnoresRange),
        Script::new().rule(blob(), Fault::Stall { after: 1000 }),
        Script::new().rule(blob(), Fault::StallHead),
        Script::new().rule(manifest(), Fault::StallHead),
        Script::new().rule(blob(), Fault::CutBefore),
        Script::new().rule(manifest(), Fault::CutBefore),
        Script::new().rule(blob(), Fault::CutAfter),
        Script::new().answer(blob(), Canned::error(SERVER_ERROR, "UNKNOWN")),
        Script::new().answer(blob(), Canned::html(BAD_GATEWAY)),
        Script::new().answer(manifest(), Canned::html(BAD_GATEWAY)),
        Script::new().answer(blob(), Canned::too_many_requests(soon())),
        Script::new().answer(manifest(), Canned::too_many_requests(soon())),
        Script::new().answer(manifest(), Canned::new(StatusCode::SERVICE_UNAVAILABLE).retry_after(soon())),
        // Gone on with after a break, by a server that has not got the range, ignores it, or sends another.
        Script::new()
            .rule(blob(), Fault::Truncate { after: 150_000 })
            .answer(When::get(Kind::Blob).ranged().once(), Canned::range_not_satisfiable()),
        Script::new()
            .rule(blob(), Fault::Truncate { after: 150_000 })
            .rule(When::get(Kind::Blob).ranged().once(), Fault::IgnoresRange),
        Script::new().rule(blob(), Fault::Truncate { after: 150_000 }).rule(
            When::get(Kind::Blob).ranged().once(),
            Fault::Field { name: "content-range", value: "bytes 0-9/5000000".to_owned() },
        ),
        Script::new()
            .rule(blob(), Fault::Truncate { after: 150_000 })
            .rule(When::get(Kind::Blob).ranged().once(), Fault::NoField("content-range")),
    ]
    .into_iter()
    .enumerate()
    {
        let proxy = FaultyProxy::start(registry.address(), script.clone()).await.unwrap();
        let (store, outcome) = pull(&proxy, "team/app:v1").await;
        assert_eq!(
            outcome.unwrap_or_else(|error| panic!("{number} {script:?}: {error:?}")),
            image.root.digest
        );
        assert_eq!(check_store(&store, &image).await, image.blobs.len(), "{script:?}");
    }
}

#[tokio::test]
async fn a_fault_of_a_pull_that_stays_is_an_error_of_its_kind() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let blob = || When::get(Kind::Blob);
    let manifest = || When::get(Kind::Manifest);
    for (expected, script) in [
        ("unavailable", Script::new().rule(blob(), Fault::Truncate { after: 0 })),
        ("integrity", Script::new().rule(blob(), Fault::Flip { at: 99 })),
        ("integrity", Script::new().rule(manifest(), Fault::Flip { at: 99 })),
        ("integrity", Script::new().rule(manifest(), Fault::LyingDigest(Digest::sha256(b"lie")))),
        ("size", Script::new().rule(blob(), Fault::TooLong { extra: 7 })),
        ("size", Script::new().rule(blob(), Fault::WrongLength { by: 7 })),
        ("size", Script::new().rule(blob(), Fault::WrongLength { by: -7 })),
        ("unavailable", Script::new().rule(blob(), Fault::Stall { after: 0 })),
        ("unavailable", Script::new().rule(manifest(), Fault::StallHead)),
        ("unavailable", Script::new().rule(blob(), Fault::CutBefore)),
        ("untrusted", Script::new().rule(blob(), Fault::RedirectLoop)),
        ("unavailable", Script::new().answer(manifest(), Canned::error(SERVER_ERROR, "UNKNOWN"))),
        ("unavailable", Script::new().answer(blob(), Canned::html(BAD_GATEWAY))),
        ("invalid", Script::new().answer(manifest(), Canned::html(StatusCode::OK))),
        ("size", Script::new().answer(blob(), Canned::html(StatusCode::OK))),
        (
            "not-found",
            Script::new().answer(manifest(), Canned::error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN")),
        ),
        ("not-found", Script::new().answer(blob(), Canned::error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"))),
        ("denied", Script::new().answer(manifest(), Canned::error(StatusCode::FORBIDDEN, "DENIED"))),
        ("denied", Script::new().answer(manifest(), Canned::challenge("Basic realm=\"r\""))),
        (
            "too-many-requests",
            Script::new().answer(manifest(), Canned::too_many_requests(RetryAfter::Seconds(0))),
        ),
        ("untrusted", Script::new().answer(blob(), Canned::redirect("http://169.254.169.254/latest"))),
        ("untrusted", Script::new().answer(blob(), Canned::redirect("ftp://example.org/"))),
    ] {
        let proxy = FaultyProxy::start(registry.address(), script.clone()).await.unwrap();
        let (store, outcome) = pull(&proxy, "team/app:v1").await;
        let error = outcome.map(|_| ()).unwrap_err();
        assert_eq!(error.code(), expected, "{script:?}: {error:?}");
        check_store(&store, &image).await;
    }
}

#[tokio::test]
async fn a_fault_of_a_push_that_passes_costs_an_attempt_and_nothing_else() {
    let from = registry().await;
    let image = image();
    from.push(&image, "team/app:v1").await.unwrap();
    let on = |method: Method, kind| When::on(method, kind).once();
    for script in [
        Script::new().rule(on(Method::HEAD, Kind::Blob), Fault::CutBefore),
        Script::new().rule(on(Method::POST, Kind::Upload), Fault::CutBefore),
        Script::new().rule(on(Method::POST, Kind::Upload), Fault::CutAfter),
        Script::new().rule(on(Method::PATCH, Kind::Upload), Fault::CutBefore),
        Script::new().rule(on(Method::PATCH, Kind::Upload), Fault::CutUpload { after: 2_000_000 }),
        Script::new().rule(on(Method::PATCH, Kind::Upload), Fault::CutAfter),
        Script::new().rule(on(Method::PUT, Kind::Upload), Fault::CutBefore),
        Script::new().rule(on(Method::PUT, Kind::Upload), Fault::CutAfter),
        Script::new().rule(on(Method::PUT, Kind::Manifest), Fault::CutBefore),
        Script::new().rule(on(Method::PUT, Kind::Manifest), Fault::CutAfter),
        Script::new().answer(on(Method::POST, Kind::Upload), Canned::too_many_requests(soon())),
        Script::new().answer(on(Method::PATCH, Kind::Upload), Canned::html(BAD_GATEWAY)),
        Script::new().answer(on(Method::PUT, Kind::Upload), Canned::error(SERVER_ERROR, "UNKNOWN")),
        Script::new().answer(on(Method::PUT, Kind::Manifest), Canned::error(SERVER_ERROR, "UNKNOWN")),
        Script::new().rule(on(Method::POST, Kind::Upload), Fault::StallHead),
    ] {
        for source in places(&from, "team/app:v1").await {
            let to = registry().await;
            let proxy = FaultyProxy::start(to.address(), script.clone()).await.unwrap();
            let pushed = push_from(&*source, &proxy, &from, "team/app:v1").await;
            let pushed = pushed.unwrap_or_else(|error| panic!("{script:?} {source:?}: {error:?}"));
            assert_eq!(pushed, image.root.digest);
            let back = pulled(&to, "team/app:v1").await;
            for blob in &image.blobs {
                let held = back.blobs.open(&blob.descriptor.digest).await.unwrap();
                assert_eq!(held.size, blob.descriptor.size, "{script:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_it_stopped() {
    let (from, to) = (registry().await, registry().await);
    let image = image();
    from.push(&image, "team/app:v1").await.unwrap();
    let cut = Fault::CutUpload { after: 3_000_000 };
    let script = Script::new().rule(When::on(Method::PATCH, Kind::Upload).once(), cut);
    let proxy = FaultyProxy::start(to.address(), script).await.unwrap();
    push(&proxy, &from, "team/app:v1").await.unwrap();
    let again = proxy.uploaded_blobs() - image.blob_bytes();
    // What was in flight when the line was cut, and no more.
    assert!(again <= 1 << 20, "{again} bytes were sent twice");
}

#[tokio::test]
async fn what_is_too_large_for_one_request_goes_in_several() {
    let (from, to) = (registry().await, registry().await);
    let image = image();
    from.push(&image, "team/app:v1").await.unwrap();
    let too_large = Canned::new(StatusCode::PAYLOAD_TOO_LARGE);
    let script = Script::new().answer(When::on(Method::PATCH, Kind::Upload).once(), too_large);
    let proxy = FaultyProxy::start(to.address(), script).await.unwrap();
    push(&proxy, &from, "team/app:v1").await.unwrap();
    let sent = proxy.requests().iter().filter(|seen| seen.method == Method::PATCH).count();
    assert_eq!(sent, 3, "one that was too large, and two halves");
    let back = pulled(&to, "team/app:v1").await;
    for blob in &image.blobs {
        assert_eq!(back.blobs.open(&blob.descriptor.digest).await.unwrap().size, blob.descriptor.size);
    }
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let large = image.blobs.iter().max_by_key(|blob| blob.descriptor.size).unwrap();
    let when = When::get(Kind::Blob).digest(large.descriptor.digest).once();
    let proxy = FaultyProxy::start(
        registry.address(),
        Script::new().rule(when, Fault::Truncate { after: 3_000_000 }),
    )
    .await
    .unwrap();
    pull(&proxy, "team/app:v1").await.1.unwrap();
    assert_eq!(proxy.downloaded(&large.descriptor.digest), large.descriptor.size);
}

#[tokio::test]
async fn a_missing_tag_and_refused_credentials_are_answered_at_once() {
    let registry = registry().await;
    let denied = Canned::challenge("Basic realm=\"r\"");
    for script in [Script::new(), Script::new().answer(When::any(), denied)] {
        let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
        let start = Instant::now();
        pull(&proxy, "team/app:v9").await.1.unwrap_err();
        let asked = proxy.requests().iter().filter(|seen| seen.kind == Kind::Manifest).count();
        assert_eq!(asked, 1, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn s1_a_redirect_to_another_host_takes_no_credentials_along() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let storage = FaultyProxy::start(registry.address(), Script::new()).await.unwrap();
    let script = Script::new().rule(When::get(Kind::Blob), Fault::RedirectTo(storage.url()));
    let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
    let (store, outcome) = pull(&proxy, "team/app:v1").await;
    outcome.unwrap();
    assert_eq!(check_store(&store, &image).await, image.blobs.len());
    let blobs: Vec<_> = storage.requests().into_iter().filter(|seen| seen.kind == Kind::Blob).collect();
    assert_eq!(blobs.len(), image.blobs.len());
    assert!(blobs.iter().all(|seen| seen.authorization.is_none()));
}

#[tokio::test]
async fn a_fault_of_a_push_that_stays_is_an_error_of_its_kind() {
    let from = registry().await;
    let image = image();
    from.push(&image, "team/app:v1").await.unwrap();
    let upload = |method| When::on(method, Kind::Upload);
    let manifest = || When::on(Method::PUT, Kind::Manifest);
    let denied = || Canned::error(StatusCode::FORBIDDEN, "DENIED");
    let error = || Canned::error(SERVER_ERROR, "UNKNOWN");
    let elsewhere = || "http://169.254.169.254/upload".to_owned();
    for (expected, script) in [
        ("denied", Script::new().answer(When::on(Method::HEAD, Kind::Blob), denied())),
        ("unavailable", Script::new().answer(When::on(Method::HEAD, Kind::Blob), error())),
        ("denied", Script::new().answer(upload(Method::POST), denied())),
        ("denied", Script::new().answer(upload(Method::POST), Canned::challenge("Basic realm=\"r\""))),
        ("not-found", Script::new().answer(upload(Method::POST), Canned::new(StatusCode::NOT_FOUND))),
        ("unavailable", Script::new().answer(upload(Method::POST), error())),
        ("unavailable", Script::new().rule(upload(Method::POST), Fault::CutBefore)),
        ("unavailable", Script::new().rule(upload(Method::POST), Fault::StallHead)),
        ("unavailable", Script::new().rule(upload(Method::POST), Fault::NoField("location"))),
        ("untrusted", Script::new().rule(upload(Method::POST), Fault::WrongLocation(elsewhere()))),
        ("untrusted", Script::new().rule(upload(Method::POST), Fault::RedirectLoop)),
        (
            "too-many-requests",
            Script::new().answer(upload(Method::POST), Canned::too_many_requests(RetryAfter::Seconds(0))),
        ),
        ("denied", Script::new().answer(upload(Method::PATCH), denied())),
        ("unavailable", Script::new().answer(upload(Method::PATCH), error())),
        ("unavailable", Script::new().answer(upload(Method::PATCH), Canned::html(BAD_GATEWAY))),
        ("unavailable", Script::new().rule(upload(Method::PATCH), Fault::CutBefore)),
        ("denied", Script::new().answer(upload(Method::PUT), denied())),
        ("unavailable", Script::new().answer(upload(Method::PUT), error())),
        ("unavailable", Script::new().rule(upload(Method::PUT), Fault::CutBefore)),
        (
            "invalid",
            Script::new()
                .answer(upload(Method::PUT), Canned::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID")),
        ),
        ("denied", Script::new().answer(manifest(), denied())),
        ("unavailable", Script::new().answer(manifest(), error())),
        ("unavailable", Script::new().rule(manifest(), Fault::CutBefore)),
        (
            "invalid",
            Script::new().answer(manifest(), Canned::error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID")),
        ),
        (
            "invalid",
            Script::new().answer(manifest(), Canned::error(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN")),
        ),
        (
            "too-many-requests",
            Script::new().answer(manifest(), Canned::too_many_requests(RetryAfter::Seconds(0))),
        ),
        ("integrity", Script::new().rule(manifest(), Fault::LyingDigest(Digest::sha256(b"lie")))),
    ] {
        for source in places(&from, "team/app:v1").await {
            let to = registry().await;
            let proxy = FaultyProxy::start(to.address(), script.clone()).await.unwrap();
            let error = push_from(&*source, &proxy, &from, "team/app:v1").await.unwrap_err();
            assert_eq!(error.code(), expected, "{script:?} {source:?}: {error:?}");
        }
    }
}

/// Clocks that are a second apart make a wait of none out of it, and that is one attempt earlier than wanted.
#[tokio::test]
async fn a_date_at_which_to_come_again_is_waited_for_or_passed_on() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let at = |seconds| RetryAfter::Date(SystemTime::now() + Duration::from_secs(seconds));
    let once = || When::get(Kind::Manifest).once();
    let soon = Script::new().answer(once(), Canned::too_many_requests(at(1)));
    let proxy = FaultyProxy::start(registry.address(), soon).await.unwrap();
    assert_eq!(pull(&proxy, "team/app:v1").await.1.unwrap(), image.root.digest);

    for later in [at(3600), RetryAfter::Seconds(3590)] {
        let asked = Script::new().answer(once(), Canned::too_many_requests(later));
        let proxy = FaultyProxy::start(registry.address(), asked).await.unwrap();
        let error = pull(&proxy, "team/app:v1").await.1.unwrap_err();
        assert_eq!(error.code(), "too-many-requests");
        let wait = error.retry_after().unwrap().as_secs();
        assert!((3500..=3600).contains(&wait), "{wait}");
        let hint = error.hint().unwrap();
        assert!(hint.ends_with(&format!("or try again in {wait} s")), "{hint}");
        let manifests = proxy.requests().iter().filter(|seen| seen.kind == Kind::Manifest).count();
        assert_eq!(manifests, 1, "it was not asked again");
    }
}

#[tokio::test]
async fn a_fault_of_a_question_is_an_error_of_its_kind() {
    let registry = registry().await;
    registry.push(&image(), "team/app:v1").await.unwrap();
    let error = Canned::error(SERVER_ERROR, "UNKNOWN");
    let denied = Canned::error(StatusCode::FORBIDDEN, "DENIED");
    let busy = Canned::too_many_requests(RetryAfter::Seconds(9));
    for (when, is_about_tags) in
        [(When::on(Method::HEAD, Kind::Manifest), false), (When::get(Kind::Tags), true)]
    {
        for (expected, fault) in [
            ("unavailable", Fault::Answer(error.clone())),
            ("denied", Fault::Answer(denied.clone())),
            ("too-many-requests", Fault::Answer(busy.clone())),
            ("not-found", Fault::Answer(Canned::new(StatusCode::NOT_FOUND))),
            ("unavailable", Fault::CutBefore),
            ("unavailable", Fault::CutAfter),
            ("unavailable", Fault::StallHead),
            ("untrusted", Fault::RedirectLoop),
            ("untrusted", Fault::Answer(Canned::redirect("http://169.254.169.254/latest"))),
        ] {
            let script = Script::new().rule(when.clone(), fault);
            let proxy = FaultyProxy::start(registry.address(), script.clone()).await.unwrap();
            let reference: Reference = proxy.image_ref("team/app:v1").parse().unwrap();
            let remote = client().remote(&reference.repository.registry).unwrap();
            let outcome = if is_about_tags {
                remote.tags(&reference.repository).await.map(drop)
            } else {
                remote.resolve(&reference).await.map(drop)
            };
            let error = outcome.unwrap_err();
            assert_eq!(error.code(), expected, "{script:?}: {error:?}");
        }
    }
}

/// What a registry sends its clients to for tokens is part of it for them, and so is what goes wrong there.
#[tokio::test]
async fn a_fault_of_a_token_server_is_an_error_of_its_kind() {
    let registry = mock::Registry::start(mock::HARBOR).await.unwrap();
    registry.push(&image(), "team/app:v1").await.unwrap();
    let token = || When::kind(Kind::Token);
    let text = |body: String| Canned { body, ..Canned::new(StatusCode::OK) };
    let long = || text(format!("{{\"token\":\"{}\"}}", "x".repeat(70_000)));
    let realm = |realm: &str| {
        let challenge = Canned::challenge(&format!("Bearer realm=\"{realm}\",service=\"s\""));
        Script::new().answer(When::on(Method::HEAD, Kind::Manifest), challenge)
    };
    for (expected, script) in [
        ("unavailable", Script::new().answer(token(), Canned::error(SERVER_ERROR, "UNKNOWN"))),
        ("unavailable", Script::new().rule(token(), Fault::CutBefore)),
        ("unavailable", Script::new().rule(token(), Fault::StallHead)),
        ("unavailable", Script::new().rule(token(), Fault::Truncate { after: 3 })),
        ("unavailable", Script::new().answer(token(), Canned::too_many_requests(RetryAfter::Seconds(9)))),
        ("denied", Script::new().answer(token(), Canned::challenge("Basic realm=\"r\""))),
        // S8: no token is as long as that.
        ("untrusted", Script::new().answer(token(), long())),
        // S3: nobody is asked for one who cannot be the registry's.
        ("untrusted", realm("http://169.254.169.254/token")),
        ("untrusted", realm("ftp://example.org/token")),
        ("untrusted", realm("http://user:secret@127.0.0.1/token")),
    ] {
        let proxy = FaultyProxy::start(registry.address(), script.clone()).await.unwrap();
        let reference: Reference = proxy.image_ref("team/app:v1").parse().unwrap();
        let remote = client().remote(&reference.repository.registry).unwrap();
        let error = remote.resolve(&reference).await.unwrap_err();
        assert_eq!(error.code(), expected, "{script:?}: {error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
        // All who wait for one token are told the same, and of the same kind.
        let (one, other) = tokio::join!(remote.resolve(&reference), remote.resolve(&reference));
        assert_eq!([one.unwrap_err().code(), other.unwrap_err().code()], [expected; 2]);
    }
}

#[tokio::test]
async fn s8_answers_are_read_as_far_as_anybody_could_want() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let long = |canned: Canned, bytes: usize| Canned { body: "x".repeat(bytes), ..canned };
    let manifest = || When::get(Kind::Manifest);
    let index = Canned::new(StatusCode::OK).field("Content-Type", "application/vnd.oci.image.index.v1+json");
    for (expected, script) in [
        ("invalid", Script::new().answer(manifest(), long(index, (4 << 20) + 1))),
        ("unavailable", Script::new().answer(manifest(), long(Canned::html(BAD_GATEWAY), 24 << 20))),
        ("denied", Script::new().answer(manifest(), long(Canned::html(StatusCode::FORBIDDEN), 24 << 20))),
    ] {
        let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
        let (_, outcome) = pull_once(proxy.address(), "team/app:v1").await;
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), expected, "{error:?}");
        assert!(error.to_string().len() < 1000, "{error}");
        assert!(proxy.requests().iter().all(|seen| seen.downloaded < 16 << 20), "it was read to its end");
    }
}

#[tokio::test]
async fn s9_a_blob_that_is_longer_than_its_descriptor_is_not_kept() {
    let registry = registry().await;
    let image = image();
    registry.push(&image, "team/app:v1").await.unwrap();
    let large = image.blobs.iter().max_by_key(|blob| blob.descriptor.size).unwrap().descriptor.digest;
    for fault in [Fault::TooLong { extra: 1 }, Fault::TooLong { extra: 50_000_000 }] {
        let script = Script::new().rule(When::get(Kind::Blob).digest(large), fault);
        let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
        let (store, outcome) = pull_once(proxy.address(), "team/app:v1").await;
        assert_eq!(outcome.unwrap_err().code(), "size");
        assert!(store.open(&large).await.is_err());
        // It is left where the blob would end.
        assert!(proxy.downloaded(&large) < 30_000_000);
    }
}

/// Drop by drop an answer could go on for ever: no byte is ever late.
#[tokio::test]
async fn an_answer_that_comes_drop_by_drop_has_to_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let drops = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                // Before it is asked, nobody answers.
                let _ = stream.read(&mut [0; 4096]).await;
                let mut drop = &b"HTTP/1.1 404 Not Found\r\nContent-Length: 60000\r\n\r\n"[..];
                let mut clock = tokio::time::interval(Duration::from_millis(50));
                while stream.write_all(drop).await.is_ok() {
                    drop = b"x";
                    clock.tick().await;
                }
            });
        }
    });
    let begun = Instant::now();
    let (_, outcome) = pull_once(address, "team/app:v1").await;
    assert_eq!(outcome.unwrap_err().code(), "not-found");
    // 60,000 drops are fifty minutes.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    drops.abort();
}
