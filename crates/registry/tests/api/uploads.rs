//! End-4 to end-6, end-11, end-13, end-14.

use std::{
    num::NonZeroUsize,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::join_all};
use http::Request;
use http_body::{Body, Frame};
use http_body_util::Full;
use pier_content::Memory;
use pier_oci::{Algorithm, Digest};
use tokio::sync::mpsc;

use crate::support::{get, open, over, push, registry, registry_with, send, settings};

const CONTENT: &[u8] = b"0123456789";

#[tokio::test]
async fn a_stream_and_an_empty_put_make_a_blob() {
    let registry = registry();
    let session = open(&registry, "a/b").await;
    let reply = send(&registry, "PATCH", &session, &[], CONTENT).await.is(202);
    assert_eq!((reply.header("range"), reply.header("location")), ("0-9", session.as_str()));
    assert!(session.ends_with(reply.header("docker-upload-uuid")));
    let digest = Digest::sha256(CONTENT);
    let reply = send(&registry, "PUT", &format!("{session}?digest={digest}"), &[], "").await.is(201);
    assert_eq!(reply.header("location"), format!("/v2/a/b/blobs/{digest}"));
    assert_eq!(reply.header("docker-content-digest"), digest.to_string());
    assert_eq!(get(&registry, reply.header("location")).await.is(200).body, CONTENT);
    get(&registry, &session).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_put_takes_the_whole_blob_or_the_last_chunk() {
    let registry = registry();
    let digest = Digest::sha256(CONTENT);
    let session = open(&registry, "a").await;
    send(&registry, "PUT", &format!("{session}?digest={digest}"), &[], CONTENT).await.is(201);

    let session = open(&registry, "b").await;
    send(&registry, "PATCH", &session, &[("content-range", "0-3")], &CONTENT[..4]).await.is(202);
    let last = [("content-range", "4-9")];
    send(&registry, "PUT", &format!("{session}?digest={digest}"), &last, &CONTENT[4..]).await.is(201);
    for repository in ["a", "b"] {
        assert_eq!(get(&registry, &format!("/v2/{repository}/blobs/{digest}")).await.is(200).body, CONTENT);
    }
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let registry = registry();
    let digest = push(&registry, "a", b"").await;
    let reply = get(&registry, &format!("/v2/a/blobs/{digest}")).await.is(200);
    assert_eq!((reply.header("content-length"), &*reply.body), ("0", &b""[..]));
}

#[tokio::test]
async fn a_chunk_out_of_order_stores_nothing() {
    let registry = registry();
    let session = open(&registry, "a").await;
    let empty = get(&registry, &session).await.is(204);
    assert_eq!(empty.header("range"), "0-0");
    send(&registry, "PATCH", &session, &[("content-range", "0-3")], &CONTENT[..4]).await.is(202);
    // It leaves a gap, repeats bytes, or is not as long as it says.
    for range in ["5-9", "0-5", "4-4"] {
        let reply = send(&registry, "PATCH", &session, &[("content-range", range)], &CONTENT[4..]).await;
        let reply = reply.refused(416, "BLOB_UPLOAD_INVALID");
        assert_eq!((reply.header("range"), reply.header("location")), ("0-3", session.as_str()), "{range}");
        assert_eq!(get(&registry, &session).await.is(204).header("range"), "0-3", "{range}");
    }
    let digest = Digest::sha256(CONTENT);
    let finish = format!("{session}?digest={digest}");
    send(&registry, "PUT", &finish, &[("content-range", "5-9")], &CONTENT[5..]).await.is(416);
    send(&registry, "PATCH", &session, &[("content-range", "x")], "")
        .await
        .refused(400, "BLOB_UPLOAD_INVALID");
    send(&registry, "PUT", &finish, &[("content-range", "4-9")], &CONTENT[4..]).await.is(201);
}

#[tokio::test]
async fn a_wrong_digest_ends_the_session() {
    let registry = registry();
    let other = Digest::sha256(b"other");
    let session = open(&registry, "a").await;
    let reply = send(&registry, "PUT", &format!("{session}?digest={other}"), &[], CONTENT).await;
    let reply = reply.refused(400, "DIGEST_INVALID");
    assert_eq!(reply.json()["errors"][0]["detail"]["actual"], Digest::sha256(CONTENT).to_string());
    get(&registry, &session).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
    get(&registry, &format!("/v2/a/blobs/{other}")).await.refused(404, "BLOB_UNKNOWN");

    let uri = format!("/v2/a/blobs/uploads/?digest={other}");
    send(&registry, "POST", &uri, &[], CONTENT).await.refused(400, "DIGEST_INVALID");
    for digest in ["sha256:12", "md5:d41d8cd98f00b204e9800998ecf8427e", ""] {
        let uri = format!("/v2/a/blobs/uploads/?digest={digest}");
        send(&registry, "POST", &uri, &[], CONTENT).await.refused(400, "DIGEST_INVALID");
    }
    let session = open(&registry, "a").await;
    send(&registry, "PUT", &session, &[], CONTENT).await.refused(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn sha512_is_a_digest_too() {
    let registry = registry();
    let digest = Digest::of(Algorithm::Sha512, CONTENT);
    send(&registry, "POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512", &[], "").await.is(202);
    send(&registry, "POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], CONTENT).await.is(201);
    assert_eq!(get(&registry, &format!("/v2/a/blobs/{digest}")).await.is(200).body, CONTENT);
}

#[tokio::test]
async fn a_cancelled_session_is_gone() {
    let registry = registry();
    let session = open(&registry, "a").await;
    send(&registry, "DELETE", &session, &[], "").await.is(204);
    get(&registry, &session).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
    send(&registry, "PATCH", &session, &[], CONTENT).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_session_belongs_to_its_repository_and_its_server() {
    let memory = Memory::default();
    let registry = over(&memory, settings());
    let session = open(&registry, "a").await;
    let foreign = session.replace("/v2/a/", "/v2/b/");
    let invented = "/v2/a/blobs/uploads/00112233-4455-4677-8899-aabbccddeeff";
    let traversal = "/v2/a/blobs/uploads/..%2f..%2fsecret";
    for uri in [&foreign, invented, "/v2/a/blobs/uploads/12"] {
        get(&registry, uri).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
        send(&registry, "PATCH", uri, &[], CONTENT).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
        let finish = format!("{uri}?digest={}", Digest::sha256(CONTENT));
        send(&registry, "PUT", &finish, &[], CONTENT).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
        send(&registry, "DELETE", uri, &[], "").await.refused(404, "BLOB_UPLOAD_UNKNOWN");
    }
    get(&registry, traversal).await.is(404);

    // The same store behind a new server with the same key: a restart.
    let restarted = over(&memory, settings());
    send(&registry, "PATCH", &session, &[], &CONTENT[..4]).await.is(202);
    assert_eq!(get(&restarted, &session).await.is(204).header("range"), "0-3");
}

#[tokio::test]
async fn a_mount_shows_a_blob_of_another_repository() {
    let registry = registry();
    let digest = push(&registry, "a", CONTENT).await;
    let mount = |to: &str, query: &str| format!("/v2/{to}/blobs/uploads/?mount={digest}{query}");
    let reply = send(&registry, "POST", &mount("b", "&from=a"), &[], "").await.is(201);
    assert_eq!(reply.header("location"), format!("/v2/b/blobs/{digest}"));
    assert_eq!(get(&registry, &format!("/v2/b/blobs/{digest}")).await.is(200).body, CONTENT);
    send(&registry, "POST", &mount("b", ""), &[], "").await.is(201);

    let reply = send(&registry, "POST", &mount("c", "&from=nowhere"), &[], "").await.is(202);
    get(&registry, reply.header("location")).await.is(204);
    get(&registry, &format!("/v2/c/blobs/{digest}")).await.refused(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn a_mount_that_names_no_repository_finds_one() {
    let registry = registry();
    let digest = push(&registry, "a", CONTENT).await;
    let mount = format!("/v2/b/blobs/uploads/?mount={digest}");
    let reply = send(&registry, "POST", &mount, &[], "").await.is(201);
    assert_eq!(reply.header("location"), format!("/v2/b/blobs/{digest}"));
    assert_eq!(get(&registry, &format!("/v2/b/blobs/{digest}")).await.is(200).body, CONTENT);
    let unknown = format!("/v2/b/blobs/uploads/?mount={}", Digest::sha256(b"nobody has it"));
    send(&registry, "POST", &unknown, &[], "").await.is(202);
}

#[tokio::test]
async fn a_blob_over_the_limit_is_refused() {
    let mut settings = settings();
    settings.max_blob_bytes = Some(9);
    let registry = registry_with(settings);
    let digest = Digest::sha256(CONTENT);
    let uri = format!("/v2/a/blobs/uploads/?digest={digest}");
    send(&registry, "POST", &uri, &[], CONTENT).await.refused(413, "SIZE_INVALID");
    let session = open(&registry, "a").await;
    send(&registry, "PATCH", &session, &[], &CONTENT[..5]).await.is(202);
    send(&registry, "PATCH", &session, &[], &CONTENT[5..]).await.refused(413, "SIZE_INVALID");
    assert_eq!(get(&registry, &session).await.is(204).header("range"), "0-4");
}

#[tokio::test]
async fn two_pushes_of_one_blob_both_succeed_and_readers_see_all_or_nothing() {
    let registry = registry();
    let digest = Digest::sha256(CONTENT);
    let uri = format!("/v2/a/blobs/{digest}");
    let push = || async {
        let session = open(&registry, "a").await;
        send(&registry, "PATCH", &session, &[], CONTENT).await.is(202);
        send(&registry, "PUT", &format!("{session}?digest={digest}"), &[], "").await.is(201);
    };
    let pull = || async {
        let reply = get(&registry, &uri).await;
        match reply.status.as_u16() {
            200 => assert_eq!(reply.body, CONTENT),
            404 => {}
            other => panic!("{other}: {reply:?}"),
        }
    };
    tokio::join!(push(), push(), join_all((0..10).map(|_| pull())));
    assert_eq!(get(&registry, &uri).await.is(200).body, CONTENT);
}

/// A body that a test feeds, and that breaks when the test says so.
struct Fed(mpsc::Receiver<Result<Bytes, std::io::Error>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(cx).map_ok(Frame::data)
    }
}

fn fed_patch(session: &str) -> (mpsc::Sender<Result<Bytes, std::io::Error>>, Request<Fed>) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Request::patch(session).body(Fed(receiver)).unwrap())
}

#[tokio::test]
async fn a_client_that_hangs_up_finds_what_arrived() {
    let registry = registry();
    let session = open(&registry, "a").await;
    let (sender, request) = fed_patch(&session);
    let patch = tokio::spawn({
        let registry = registry.clone();
        async move { registry.handle(request).await }
    });
    sender.send(Ok(Bytes::from_static(&CONTENT[..4]))).await.unwrap();
    sender.reserve().await.unwrap();
    // The server drops the request when the connection is gone, and its body breaks.
    patch.abort();
    sender.send(Err(std::io::ErrorKind::ConnectionReset.into())).await.unwrap();

    assert_eq!(get(&registry, &session).await.is(204).header("range"), "0-3");
    let rest = [("content-range", "4-9")];
    let finish = format!("{session}?digest={}", Digest::sha256(CONTENT));
    send(&registry, "PUT", &finish, &rest, &CONTENT[4..]).await.is(201);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_for_too_long_is_given_up_and_its_bytes_are_kept() {
    let registry = registry();
    let session = open(&registry, "a").await;
    let (sender, request) = fed_patch(&session);
    sender.send(Ok(Bytes::from_static(&CONTENT[..4]))).await.unwrap();
    let started = tokio::time::Instant::now();
    let response = registry.handle(request).await;
    assert_eq!(response.status(), 408);
    assert_eq!(started.elapsed().as_secs(), settings().idle_timeout.as_secs());
    assert_eq!(get(&registry, &session).await.is(204).header("range"), "0-3");
}

#[tokio::test(start_paused = true)]
async fn a_second_request_on_a_session_in_use_is_told_so() {
    let registry = registry();
    let session = open(&registry, "a").await;
    let (sender, request) = fed_patch(&session);
    let patch = tokio::spawn({
        let registry = registry.clone();
        async move { registry.handle(request).await }
    });
    sender.send(Ok(Bytes::from_static(&CONTENT[..4]))).await.unwrap();
    sender.reserve().await.unwrap();
    get(&registry, &session).await.refused(409, "BLOB_UPLOAD_INVALID");
    drop(sender);
    assert_eq!(patch.await.unwrap().status(), 202);
    assert_eq!(get(&registry, &session).await.is(204).header("range"), "0-3");
}

#[tokio::test(start_paused = true)]
async fn a_refused_body_is_read_so_that_the_client_reads_the_refusal() {
    let registry = registry();
    let busy = open(&registry, "a").await;
    let (holder, request) = fed_patch(&busy);
    let patch = tokio::spawn({
        let registry = registry.clone();
        async move { registry.handle(request).await }
    });
    holder.send(Ok(Bytes::from_static(&CONTENT[..4]))).await.unwrap();
    holder.reserve().await.unwrap();
    let expired = open(&registry, "a").await;
    send(&registry, "DELETE", &expired, &[], "").await.is(204);

    for (session, status) in [(&busy, 409), (&expired, 404)] {
        let (sender, request) = fed_patch(session);
        let sending = async {
            for _ in 0..3 {
                sender.send(Ok(Bytes::from_static(CONTENT))).await.unwrap();
            }
            drop(sender);
        };
        let (response, ()) = tokio::join!(registry.handle(request), sending);
        assert_eq!(response.status(), status);
    }
    drop(holder);
    assert_eq!(patch.await.unwrap().status(), 202);
}

#[tokio::test(start_paused = true)]
async fn uploads_over_the_limit_wait_and_are_then_asked_to_come_again() {
    let mut settings = settings();
    settings.max_uploads = NonZeroUsize::MIN;
    let half = settings.idle_timeout / 2;
    let registry = registry_with(settings);
    let (first, second) = (open(&registry, "a").await, open(&registry, "a").await);
    let (holder, request) = fed_patch(&first);
    let holding = tokio::spawn({
        let registry = registry.clone();
        async move { registry.handle(request).await }
    });
    holder.send(Ok(Bytes::from_static(&CONTENT[..4]))).await.unwrap();
    holder.reserve().await.unwrap();

    let waiting = tokio::spawn({
        let (registry, second) = (registry.clone(), second.clone());
        async move { send(&registry, "PATCH", &second, &[], CONTENT).await }
    });
    // The first goes on sending all the while.
    while !waiting.is_finished() {
        tokio::time::advance(half).await;
        holder.send(Ok(Bytes::from_static(CONTENT))).await.unwrap();
    }
    let refused = waiting.await.unwrap().refused(429, "TOOMANYREQUESTS");
    assert_eq!(refused.header("retry-after"), "5");
    assert_eq!(get(&registry, &second).await.is(204).header("range"), "0-0");

    let waiting = tokio::spawn({
        let (registry, second) = (registry.clone(), second.clone());
        async move { send(&registry, "PATCH", &second, &[], CONTENT).await }
    });
    drop(holder);
    assert_eq!(holding.await.unwrap().status(), 202);
    waiting.await.unwrap().is(202);
}

#[tokio::test(start_paused = true)]
async fn the_uploads_of_one_host_leave_turns_to_the_others() {
    let mut settings = settings();
    settings.max_uploads = const { NonZeroUsize::new(2).unwrap() };
    let registry = registry_with(settings);
    let patch = async |session: &str, host: &str| {
        let connection = registry.connection(Some(host.parse().unwrap()));
        let request = Request::patch(session).body(Full::new(Bytes::from_static(CONTENT))).unwrap();
        connection.handle(request).await.status()
    };
    let held = open(&registry, "a").await;
    let (holder, request) = fed_patch(&held);
    let holding = tokio::spawn({
        let connection = registry.connection(Some("203.0.113.7".parse().unwrap()));
        async move { connection.handle(request).await }
    });
    holder.send(Ok(Bytes::from_static(&CONTENT[..4]))).await.unwrap();
    holder.reserve().await.unwrap();
    let (waiting, other) = (open(&registry, "a").await, open(&registry, "a").await);
    let mut waiting = Box::pin(patch(&waiting, "203.0.113.7"));
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(patch(&other, "203.0.113.8").await, 202);
    assert!((&mut waiting).now_or_never().is_none());
    drop(holder);
    assert_eq!(holding.await.unwrap().status(), 202);
    assert_eq!(waiting.await, 202);
}
