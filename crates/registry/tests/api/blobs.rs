//! End-2, end-10.

use pier_oci::Digest;

use crate::support::{get, push, push_image, registry, send};

const CONTENT: &[u8] = b"0123456789";

#[tokio::test]
async fn a_blob_comes_with_its_digest_length_and_etag() {
    let registry = registry();
    let digest = push(&registry, "a/b", CONTENT).await;
    let uri = format!("/v2/a/b/blobs/{digest}");
    let reply = get(&registry, &uri).await.is(200);
    assert_eq!(reply.body, CONTENT);
    let head = send(&registry, "HEAD", &uri, &[], "").await.is(200);
    assert_eq!(head.body, "");
    for reply in [reply, head] {
        assert_eq!(reply.header("docker-content-digest"), digest.to_string());
        assert_eq!(reply.header("content-length"), "10");
        assert_eq!(reply.header("etag"), format!("\"{digest}\""));
        assert_eq!(reply.header("accept-ranges"), "bytes");
        assert_eq!(reply.header("cache-control"), "max-age=31536000, immutable");
    }
}

#[tokio::test]
async fn a_client_that_has_the_blob_is_told_so() {
    let registry = registry();
    let digest = push(&registry, "a", CONTENT).await;
    let uri = format!("/v2/a/blobs/{digest}");
    for method in ["GET", "HEAD"] {
        let etag = format!("\"{digest}\"");
        let reply = send(&registry, method, &uri, &[("if-none-match", &etag)], "").await.is(304);
        assert_eq!((reply.header("etag"), &*reply.body), (etag.as_str(), &b""[..]));
    }
    let other = format!("\"{}\"", Digest::sha256(b"other"));
    send(&registry, "GET", &uri, &[("if-none-match", &other)], "").await.is(200);
}

#[tokio::test]
async fn a_range_is_served_alone() {
    let registry = registry();
    let digest = push(&registry, "a", CONTENT).await;
    let uri = format!("/v2/a/blobs/{digest}");
    for (range, body, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=3-5", "345", "bytes 3-5/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=8-5000", "89", "bytes 8-9/10"),
    ] {
        let reply = send(&registry, "GET", &uri, &[("range", range)], "").await.is(206);
        assert_eq!(
            (&*reply.body, reply.header("content-range")),
            (body.as_bytes(), content_range),
            "{range}"
        );
        assert_eq!(reply.header("content-length"), body.len().to_string());
    }
    for range in ["bytes=10-", "bytes=2000-5000", "bytes=5-0"] {
        let reply = send(&registry, "GET", &uri, &[("range", range)], "").await.refused(416, "SIZE_INVALID");
        assert_eq!(reply.header("content-range"), "bytes */10", "{range}");
    }
    for range in ["lines=0-1", "bytes=x-y", "bytes=0-1,3-4"] {
        assert_eq!(
            send(&registry, "GET", &uri, &[("range", range)], "").await.is(200).body,
            CONTENT,
            "{range}"
        );
    }
    let stale = [("range", "bytes=0-0"), ("if-range", "\"other\"")];
    send(&registry, "GET", &uri, &stale, "").await.is(200);
}

#[tokio::test]
async fn a_repository_shows_no_content_of_another_by_digest() {
    let registry = registry();
    let digest = push(&registry, "private", CONTENT).await;
    let uri = format!("/v2/other/blobs/{digest}");
    get(&registry, &uri).await.refused(404, "BLOB_UNKNOWN");
    send(&registry, "HEAD", &uri, &[], "").await.is(404);
    send(&registry, "DELETE", &uri, &[], "").await.refused(404, "BLOB_UNKNOWN");
    let mount = format!("/v2/other/blobs/uploads/?mount={digest}&from=other");
    send(&registry, "POST", &mount, &[], "").await.is(202);
    get(&registry, &uri).await.refused(404, "BLOB_UNKNOWN");
}

#[tokio::test]
async fn a_deleted_blob_is_gone_and_one_in_use_is_not_deleted() {
    let registry = registry();
    let digest = push(&registry, "a", CONTENT).await;
    let uri = format!("/v2/a/blobs/{digest}");
    send(&registry, "DELETE", &uri, &[], "").await.is(202);
    get(&registry, &uri).await.refused(404, "BLOB_UNKNOWN");

    push_image(&registry, "a", "v1", CONTENT).await;
    send(&registry, "DELETE", &uri, &[], "").await.refused(405, "DENIED");
    get(&registry, &uri).await.is(200);
}

#[tokio::test]
async fn what_names_nothing_is_refused_in_the_specifications_words() {
    let registry = registry();
    let digest = Digest::sha256(b"x");
    get(&registry, "/v2/a/blobs/sha256:12").await.refused(400, "DIGEST_INVALID");
    get(&registry, &format!("/v2/A/blobs/{digest}")).await.refused(400, "NAME_INVALID");
    get(&registry, &format!("/v2/../blobs/{digest}")).await.refused(400, "NAME_INVALID");
    get(&registry, &format!("/v2/a/%2e%2e/%2e%2e/blobs/{digest}")).await.refused(400, "NAME_INVALID");
    get(&registry, "/v2/a/unknown").await.refused(404, "UNSUPPORTED");
    get(&registry, "/elsewhere").await.refused(404, "UNSUPPORTED");
    let reply = send(&registry, "POST", "/v2/", &[], "").await.refused(405, "UNSUPPORTED");
    assert_eq!(reply.header("allow"), "GET, HEAD");
    let reply = get(&registry, "/v2/").await.is(200);
    assert_eq!(reply.header("docker-distribution-api-version"), "registry/2.0");
    send(&registry, "HEAD", "/v2/", &[], "").await.is(200);
}
