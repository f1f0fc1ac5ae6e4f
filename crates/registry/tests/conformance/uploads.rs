//! Blobs on their way in: end-4 to end-6, end-11, end-13, end-14.

use pier_oci::{Algorithm, Digest};
use pier_registry::Registry;

use crate::registry::{ALGORITHMS, REPOSITORY, Reply, ask, delete, digest, fresh, get};

const CONTENT: &[u8] = b"the first part, the second part";
const SPLIT: usize = 16;

/// Pushes a blob in one request, end-4b.
pub(crate) async fn push(
    registry: &Registry,
    repository: &str,
    algorithm: Algorithm,
    content: &[u8],
) -> Digest {
    let digest = digest(algorithm, content);
    let start = format!("POST /v2/{repository}/blobs/uploads/?digest={digest}");
    let reply = ask(registry, &start, &[], content).await.is(201);
    reply.has("location", &format!("/v2/{repository}/blobs/{digest}"));
    digest
}

/// Opens a session, end-4a, with or without naming the algorithm as end-4c has it.
async fn open(registry: &Registry, query: &str) -> String {
    let reply =
        ask(registry, &format!("POST /v2/{REPOSITORY}/blobs/uploads/{query}"), &[], b"").await.is(202);
    reply.header("location").to_owned()
}

async fn patch(registry: &Registry, session: &str, range: &str, body: &[u8]) -> Reply {
    ask(registry, &format!("PATCH {session}"), &[("content-range", range)], body).await
}

/// Ends a session and checks that the content is there.
async fn put(registry: &Registry, session: &str, algorithm: Algorithm, body: &[u8]) {
    let digest = digest(algorithm, CONTENT);
    let end = format!("PUT {session}?digest={digest}");
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    ask(registry, &end, &[], body)
        .await
        .is(201)
        .has("location", &path)
        .has("docker-content-digest", &digest.to_string());
    assert_eq!(get(registry, &path).await.is(200).body, CONTENT);
    get(registry, session).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
    delete(registry, &path).await.is(202);
}

#[tokio::test]
async fn end_4a_end_6_post_put() {
    let registry = fresh();
    for algorithm in ALGORITHMS {
        for query in ["", &format!("?digest-algorithm={algorithm}")] {
            let session = open(&registry, query).await;
            put(&registry, &session, algorithm, CONTENT).await;
        }
    }
    let unknown = format!("POST /v2/{REPOSITORY}/blobs/uploads/?digest-algorithm=md5");
    ask(&registry, &unknown, &[], b"").await.refused(400, "DIGEST_INVALID");
}

#[tokio::test]
async fn end_5_stream() {
    let registry = fresh();
    for algorithm in ALGORITHMS {
        let session = open(&registry, "").await;
        let reply = ask(&registry, &format!("PATCH {session}"), &[], CONTENT).await.is(202);
        let session = reply.has("range", &format!("0-{}", CONTENT.len() - 1)).header("location").to_owned();
        put(&registry, &session, algorithm, b"").await;
    }
}

#[tokio::test]
async fn end_5_chunks() {
    let registry = fresh();
    let (first, second) = CONTENT.split_at(SPLIT);
    let (front, back) = (format!("0-{}", SPLIT - 1), format!("{SPLIT}-{}", CONTENT.len() - 1));
    for algorithm in ALGORITHMS {
        // Both by PATCH.
        let session = open(&registry, "").await;
        patch(&registry, &session, &front, first).await.is(202).has("range", &front);
        patch(&registry, &session, &back, second).await.is(202);
        put(&registry, &session, algorithm, b"").await;
        // The last one by PUT.
        let session = open(&registry, "").await;
        patch(&registry, &session, &front, first).await.is(202);
        put(&registry, &session, algorithm, second).await;
        // One for all.
        let session = open(&registry, "").await;
        patch(&registry, &session, &format!("0-{}", CONTENT.len() - 1), CONTENT).await.is(202);
        put(&registry, &session, algorithm, b"").await;
    }
}

#[tokio::test]
async fn end_5_end_6_end_13_chunks_out_of_order() {
    let registry = fresh();
    let (first, second) = CONTENT.split_at(SPLIT);
    let (front, back) = (format!("0-{}", SPLIT - 1), format!("{SPLIT}-{}", CONTENT.len() - 1));
    for algorithm in ALGORITHMS {
        let session = open(&registry, "").await;
        get(&registry, &session).await.is(204).has("range", "0-0").has("location", &session);
        patch(&registry, &session, &back, second)
            .await
            .refused(416, "BLOB_UPLOAD_INVALID")
            .has("range", "0-0");
        patch(&registry, &session, &front, first).await.is(202);
        patch(&registry, &session, &front, first)
            .await
            .refused(416, "BLOB_UPLOAD_INVALID")
            .has("range", &front);
        // A length that its range does not have: nothing of it is stored.
        patch(&registry, &session, &back, &second[1..]).await.is(416);
        get(&registry, &session).await.is(204).has("range", &front);
        // Out of order in the PUT that ends it: the session stays, and can be ended rightly.
        let end = format!("PUT {session}?digest={}", digest(algorithm, CONTENT));
        let range = [("content-range", front.as_str())];
        ask(&registry, &end, &range, second).await.refused(416, "BLOB_UPLOAD_INVALID").has("range", &front);
        put(&registry, &session, algorithm, second).await;
    }
}

#[tokio::test]
async fn end_4b_end_6_digests_that_do_not_match() {
    let registry = fresh();
    for algorithm in ALGORITHMS {
        let wrong = digest(algorithm, b"something else");
        let start = format!("POST /v2/{REPOSITORY}/blobs/uploads/?digest={wrong}");
        ask(&registry, &start, &[], CONTENT).await.refused(400, "DIGEST_INVALID");
        let session = open(&registry, "").await;
        ask(&registry, &format!("PUT {session}?digest={wrong}"), &[], CONTENT)
            .await
            .refused(400, "DIGEST_INVALID");
        get(&registry, &format!("/v2/{REPOSITORY}/blobs/{wrong}")).await.refused(404, "BLOB_UNKNOWN");
        let session = open(&registry, "").await;
        ask(&registry, &format!("PUT {session}"), &[], CONTENT).await.refused(400, "DIGEST_INVALID");
    }
}

#[tokio::test]
async fn end_11_mount() {
    let registry = fresh();
    for algorithm in ALGORITHMS {
        let digest = push(&registry, "conformance/repo2", algorithm, CONTENT).await;
        let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
        for from in ["&from=conformance/repo2", ""] {
            let mount = format!("POST /v2/{REPOSITORY}/blobs/uploads/?mount={digest}{from}");
            ask(&registry, &mount, &[], b"").await.is(201).has("location", &path);
            assert_eq!(get(&registry, &path).await.is(200).body, CONTENT);
            delete(&registry, &path).await.is(202);
        }
        let unknown = crate::registry::digest(algorithm, b"nobody has it");
        for from in ["&from=conformance/repo2", ""] {
            let mount = format!("POST /v2/{REPOSITORY}/blobs/uploads/?mount={unknown}{from}");
            let reply = ask(&registry, &mount, &[], b"").await.is(202);
            get(&registry, reply.header("location")).await.is(204);
        }
    }
}

#[tokio::test]
async fn end_14_cancel() {
    let registry = fresh();
    let session = open(&registry, "").await;
    patch(&registry, &session, "0-3", b"some").await.is(202);
    delete(&registry, &session).await.is(204);
    get(&registry, &session).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
    delete(&registry, &session).await.refused(404, "BLOB_UPLOAD_UNKNOWN");
    patch(&registry, &session, "4-7", b"more").await.refused(404, "BLOB_UPLOAD_UNKNOWN");
}
