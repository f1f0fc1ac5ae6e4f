//! The faulty proxy: what it passes on it passes on as it is, and each fault is what it says.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

#[path = "../raw/client.rs"]
mod client;
mod tls;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Answer, exchange, get, put};
use http::{Method, StatusCode};
use pier_oci::{Digest, wire::query::percent_encoded};
use pier_testkit::faults::{Canned, Fault, FaultyProxy, Kind, Pace, RetryAfter, Scheme, Script, When};
use pier_testkit::image::{ImageBuilder, Layer};
use pier_testkit::test_registry::{Options, Storage, TestRegistry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SIZE: usize = 300_000;

/// A registry with one image of one layer, and a proxy in front of it.
struct Scene {
    registry: TestRegistry,
    proxy: FaultyProxy,
    layer: Digest,
    bytes: Bytes,
}

impl Scene {
    async fn new(script: Script) -> Self {
        let registry = TestRegistry::start_with(Options { storage: Storage::Memory, ..Options::default() })
            .await
            .unwrap();
        let layer = Layer::random(1, SIZE);
        let (digest, bytes) = (layer.diff_id(), layer.content().bytes().unwrap());
        registry.push(&ImageBuilder::new().layer(layer).build(), "app:v1").await.unwrap();
        let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
        Self { registry, proxy, layer: digest, bytes }
    }

    /// A proxy that strikes the first blob that is got.
    async fn with(fault: Fault) -> Self {
        Self::new(Script::new().rule(When::get(Kind::Blob).once(), fault)).await
    }

    fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    fn blob(&self) -> String {
        format!("/v2/app/blobs/{}", self.layer)
    }

    async fn get_blob(&self, fields: &str) -> Answer {
        exchange(self.address(), &get(&self.blob(), fields)).await
    }
}

#[tokio::test]
async fn without_rules_everything_passes_as_it_is() {
    let scene = Scene::new(Script::new()).await;
    let whole = scene.get_blob("").await;
    assert_eq!((whole.status(), whole.length()), (200, Some(SIZE as u64)));
    assert_eq!(whole.body, scene.bytes);
    let range = scene.get_blob("Range: bytes=10-19\r\nAuthorization: Bearer secret\r\n").await;
    assert_eq!(range.status(), 206);
    assert_eq!(range.body, scene.bytes[10..20]);
    let head = exchange(scene.address(), &get("/v2/app/manifests/v1", "").replace("GET", "HEAD")).await;
    assert_eq!((head.status(), head.body.len()), (200, 0));

    let seen =
        scene.proxy.wait_for(|seen| seen.len() == 3 && seen.iter().all(|seen| seen.ended)).await.unwrap();
    let told: Vec<_> =
        seen.iter().map(|seen| (&seen.method, seen.kind, seen.status, seen.downloaded)).collect();
    assert_eq!(
        told,
        [
            (&Method::GET, Kind::Blob, Some(200), SIZE as u64),
            (&Method::GET, Kind::Blob, Some(206), 10),
            (&Method::HEAD, Kind::Manifest, Some(200), 0),
        ]
    );
    assert_eq!(
        (seen[1].range.as_deref(), seen[1].authorization),
        (Some("bytes=10-19"), Some(Scheme::Bearer))
    );
    assert!(!format!("{seen:?}").contains("secret"), "{seen:?}");
    assert_eq!(scene.proxy.downloaded(&scene.layer), SIZE as u64 + 10);
    assert_eq!(scene.proxy.connections(), 3);
}

#[tokio::test]
async fn a_connection_takes_one_request_after_the_other() {
    let scene = Scene::new(Script::new().answer(
        When::kind(Kind::Base).skip(1).once(),
        Canned::error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
    ))
    .await;
    let mut stream = TcpStream::connect(scene.address()).await.unwrap();
    let mut all = String::new();
    for request in ["GET /v2/ HTTP/1.1", "GET /v2/ HTTP/1.1", "GET /v2/ HTTP/1.1\r\nConnection: close"] {
        stream.write_all(format!("{request}\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    }
    stream.read_to_string(&mut all).await.unwrap();
    let statuses: Vec<_> = all.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "503", "200"]);
    assert_eq!(scene.proxy.connections(), 1);
}

#[tokio::test]
async fn truncates_after_the_bytes_that_it_says() {
    for after in [0, 1, 1000, 200_000] {
        let scene = Scene::with(Fault::Truncate { after }).await;
        let answer = scene.get_blob("").await;
        assert_eq!(answer.length(), Some(SIZE as u64));
        assert_eq!(answer.body, scene.bytes[..usize::try_from(after).unwrap()]);
        assert_eq!(scene.proxy.downloaded(&scene.layer), after);
        assert_eq!(scene.get_blob("").await.body, scene.bytes);
    }
}

#[tokio::test]
async fn lengths_are_what_the_fault_says() {
    let size = SIZE as u64;
    for (fault, announced, sent) in [
        (Fault::TooLong { extra: 70_000 }, Some(size + 70_000), SIZE + 70_000),
        (Fault::BeyondLength { extra: 5 }, Some(size), SIZE + 5),
        (Fault::WrongLength { by: 7 }, Some(size + 7), SIZE),
        (Fault::WrongLength { by: -7 }, Some(size - 7), SIZE),
        (Fault::NoLength, None, SIZE),
    ] {
        let scene = Scene::with(fault.clone()).await;
        let answer = scene.get_blob("").await;
        assert_eq!((answer.length(), answer.body.len()), (announced, sent), "{fault:?}");
        assert_eq!(answer.body[..SIZE], scene.bytes, "{fault:?}");
    }
}

#[tokio::test]
async fn flips_one_bit_of_the_byte_that_it_says() {
    for at in [0, 150_000, SIZE - 1] {
        let scene = Scene::with(Fault::Flip { at: at as u64 }).await;
        let mut expected = scene.bytes.to_vec();
        expected[at] ^= 1;
        assert!(scene.get_blob("").await.body == expected, "{at}");
    }
}

#[tokio::test]
async fn fields_are_what_the_fault_says() {
    let lie = Digest::sha256(b"another");
    let range = || "bytes 0-9/10".to_owned();
    for (fault, name, expected) in [
        (Fault::LyingDigest(lie), "Docker-Content-Digest", Some(lie.to_string())),
        (Fault::Field { name: "Content-Range", value: range() }, "Content-Range", Some(range())),
        (Fault::NoField("Docker-Content-Digest"), "Docker-Content-Digest", None),
        (Fault::ClaimsGzip, "Content-Encoding", Some("gzip".to_owned())),
        // There is none that could be wrong.
        (Fault::WrongLocation("/elsewhere".to_owned()), "Location", None),
    ] {
        let scene = Scene::with(fault.clone()).await;
        let answer = scene.get_blob("Range: bytes=5-9\r\n").await;
        assert_eq!(answer.field(name).map(str::to_owned), expected, "{fault:?}");
        assert_eq!(answer.body, scene.bytes[5..10], "{fault:?}");
    }
}

#[tokio::test]
async fn a_range_is_ignored_as_by_a_server_that_knows_none() {
    let scene = Scene::with(Fault::IgnoresRange).await;
    let answer = scene.get_blob("Range: bytes=5-9\r\n").await;
    assert_eq!((answer.status(), answer.field("Content-Range")), (200, None));
    assert_eq!(answer.body, scene.bytes);
}

#[tokio::test]
async fn answers_in_the_registrys_place() {
    let challenge = "Bearer realm=\"http://127.0.0.1:1/token\",service=\"s\"";
    for (canned, status, field, value) in [
        (Canned::html(StatusCode::BAD_GATEWAY), 502, "Content-Type", "text/html; charset=utf-8"),
        (Canned::challenge(challenge), 401, "WWW-Authenticate", challenge),
        (Canned::error(StatusCode::FORBIDDEN, "DENIED"), 403, "Content-Type", "application/json"),
        (Canned::too_many_requests(RetryAfter::Seconds(2)), 429, "Retry-After", "2"),
        (Canned::range_not_satisfiable(), 416, "Content-Range", "bytes */0"),
        (Canned::redirect("http://localhost:1/x"), 307, "Location", "http://localhost:1/x"),
    ] {
        let scene = Scene::with(Fault::Answer(canned.clone())).await;
        let answer = scene.get_blob("").await;
        assert_eq!((answer.status(), answer.field(field)), (status, Some(value)));
        assert_eq!(answer.body, canned.body.as_bytes());
        assert_eq!(scene.get_blob("").await.status(), 200);
    }
}

#[tokio::test]
async fn redirects_to_where_somebody_notes_who_comes() {
    let other = Scene::new(Script::new()).await;
    let scene = Scene::with(Fault::RedirectTo(other.proxy.url())).await;
    let answer = scene.get_blob("").await;
    let location = format!("http://{}{}", other.address(), scene.blob());
    assert_eq!((answer.status(), answer.field("Location")), (307, Some(location.as_str())));
    let followed = exchange(other.address(), &get(&scene.blob(), "Authorization: Basic QTpC\r\n")).await;
    assert_eq!(followed.status(), 200);
    assert_eq!(other.proxy.requests()[0].authorization, Some(Scheme::Basic));

    let scene = Scene::with(Fault::RedirectLoop).await;
    assert_eq!(scene.get_blob("").await.field("Location"), Some(scene.blob().as_str()));
}

#[tokio::test]
async fn stalls_until_it_is_released_or_the_client_is_gone() {
    let scene = Scene::new(
        Script::new()
            .rule(When::get(Kind::Blob).times(2), Fault::Stall { after: 1000 })
            .rule(When::kind(Kind::Manifest), Fault::StallHead),
    )
    .await;
    // One that gives up.
    let mut stream = TcpStream::connect(scene.address()).await.unwrap();
    stream.write_all(get(&scene.blob(), "Host: a\r\n").as_bytes()).await.unwrap();
    scene.proxy.wait_for(|seen| seen.first().is_some_and(|seen| seen.downloaded == 1000)).await.unwrap();
    assert!(!scene.proxy.requests()[0].ended);
    drop(stream);
    scene.proxy.wait_for(|seen| seen[0].ended).await.unwrap();
    // One that waits.
    let (answer, ()) = tokio::join!(scene.get_blob(""), async {
        scene.proxy.wait_for(|seen| seen.len() == 2 && seen[1].downloaded == 1000).await.unwrap();
        scene.proxy.release();
    });
    assert_eq!(answer.body, scene.bytes);
    // Nothing at all, and nothing of it reaches the registry before the release.
    let request = get("/v2/app/manifests/v1", "");
    let (answer, ()) = tokio::join!(exchange(scene.address(), &request), async {
        scene.proxy.wait_for(|seen| seen.len() == 3).await.unwrap();
        assert_eq!(scene.proxy.requests()[2].status, None);
        scene.proxy.release();
    });
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn cuts_before_and_after_the_registry_has_heard() {
    let digest = Digest::sha256(b"hello");
    let start = format!("/v2/app/blobs/uploads/?digest={}", percent_encoded(&digest.to_string()));
    for (fault, is_there) in [(Fault::CutBefore, false), (Fault::CutAfter, true)] {
        let scene = Scene::new(Script::new().rule(When::on(Method::POST, Kind::Upload), fault.clone())).await;
        let answer = exchange(scene.address(), &put("POST", &start, "", "hello")).await;
        assert_eq!(answer.head, "", "{fault:?}");
        let there = exchange(scene.registry.address(), &get(&format!("/v2/app/blobs/{digest}"), "")).await;
        assert_eq!(there.status() == 200, is_there, "{fault:?}");
        assert_eq!(scene.proxy.uploaded_blobs(), if is_there { 5 } else { 0 });
    }
}

#[tokio::test]
async fn cuts_an_upload_after_the_bytes_that_it_says() {
    let rule = When::on(Method::PATCH, Kind::Upload).once();
    let scene = Scene::new(Script::new().rule(rule, Fault::CutUpload { after: 1234 })).await;
    let started = exchange(scene.address(), &put("POST", "/v2/app/blobs/uploads/", "", "")).await;
    let session = started.field("Location").unwrap().to_owned();
    let body = "x".repeat(500_000);
    let cut = exchange(scene.address(), &put("PATCH", &session, "", &body)).await;
    assert_eq!(cut.head, "");
    assert_eq!(scene.proxy.uploaded_blobs(), 1234);
    // As much of it as the registry read before the cut, and no more.
    let status = exchange(scene.address(), &get(&session, "")).await;
    let range = status.field("Range").unwrap().to_owned();
    let kept: usize = range.strip_prefix("0-").unwrap().parse().unwrap();
    assert!(kept <= 1233, "{range}");
    // The session goes on from there, and the count follows it.
    let from = if kept == 0 { 0 } else { kept + 1 };
    let digest = Digest::sha256(body.as_bytes());
    let finish = format!("{session}?digest={}", percent_encoded(&digest.to_string()));
    let done = exchange(scene.address(), &put("PUT", &finish, "", &body[from..])).await;
    assert_eq!(done.status(), 201, "{done:?}");
    assert_eq!(scene.proxy.uploaded(&digest), 1234 + (500_000 - from as u64));
}

#[tokio::test]
async fn an_upload_is_led_astray() {
    let elsewhere = || "http://127.0.0.1:1/x?y=z".to_owned();
    let rule = When::on(Method::POST, Kind::Upload);
    let scene = Scene::new(Script::new().rule(rule, Fault::WrongLocation(elsewhere()))).await;
    let started = exchange(scene.address(), &put("POST", "/v2/app/blobs/uploads/", "", "")).await;
    assert_eq!((started.status(), started.field("Location")), (202, Some(elsewhere().as_str())));
    assert_eq!(scene.proxy.requests()[0].location.as_deref(), Some("/x"));
}

#[tokio::test]
async fn chunked_bodies_and_expectations_pass() {
    let scene = Scene::new(Script::new()).await;
    let digest = Digest::sha256(b"hello world");
    let start = format!("/v2/app/blobs/uploads/?digest={}", percent_encoded(&digest.to_string()));
    let head = format!(
        "POST {start} HTTP/1.1\r\nConnection: close\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    );
    let mut stream = TcpStream::connect(scene.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert_eq!(scene.proxy.uploaded(&digest), 11);
}

#[tokio::test]
async fn cutting_all_leaves_no_connection_open() {
    let scene = Scene::with(Fault::Stall { after: 10 }).await;
    let mut stream = TcpStream::connect(scene.address()).await.unwrap();
    stream.write_all(get(&scene.blob(), "Host: a\r\n").as_bytes()).await.unwrap();
    scene.proxy.wait_for(|seen| seen.first().is_some_and(|seen| seen.downloaded == 10)).await.unwrap();
    scene.proxy.cut_all().await;
    assert!(scene.proxy.requests()[0].ended);
    let mut rest = Vec::new();
    // Closed or reset, the answer ends short.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 1000, "{}", rest.len());
    assert_eq!(scene.get_blob("").await.status(), 200);
}

#[tokio::test]
async fn another_script_begins_anew() {
    let script = || Script::new().rule(When::get(Kind::Blob).once(), Fault::Truncate { after: 0 });
    let scene = Scene::new(script()).await;
    let mut lengths = Vec::new();
    for _ in 0..2 {
        lengths.push(scene.get_blob("").await.body.len());
        lengths.push(scene.get_blob("").await.body.len());
        scene.proxy.set_script(script());
    }
    assert_eq!(lengths, [0, SIZE, 0, SIZE]);
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_a_bad_gateway() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = FaultyProxy::start(gone, Script::new()).await.unwrap();
    assert_eq!(exchange(proxy.address(), &get("/v2/", "")).await.status(), 502);
}

#[tokio::test]
async fn each_connection_has_the_speed_of_the_line() {
    let pace = Pace { bytes_per_second: Some(1_000_000), delay: Duration::from_millis(40) };
    let scene = Scene::new(Script::new().pace(pace)).await;
    let started = Instant::now();
    // Two at once, each at full speed.
    let (one, two) = tokio::join!(scene.get_blob(""), scene.get_blob(""));
    let took = started.elapsed();
    assert!(one.body == scene.bytes && two.body == scene.bytes);
    // A round trip to connect, one for the answer, and 300 ms of bytes. The other bound is what two in turn would take.
    let least = Duration::from_millis(375);
    assert!((least..2 * least).contains(&took), "{took:?}");
}

#[tokio::test]
async fn what_is_not_seen_is_told() {
    tokio::time::pause();
    let registry = FaultyProxy::start(([127, 0, 0, 1], 1).into(), Script::new()).await.unwrap();
    let error = registry.wait_for(|seen| !seen.is_empty()).await.unwrap_err();
    assert!(error.seen.is_empty() && error.to_string().contains("within 30s"), "{error}");
}
