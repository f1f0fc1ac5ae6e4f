//! Blobs on their way out: end-2, end-10.

use crate::{
    registry::{ALGORITHMS, REPOSITORY, ask, delete, digest, fresh, get, head},
    uploads::push,
};

const CONTENT: &[u8] = b"0123456789abcdef";

#[tokio::test]
async fn end_2_missing() {
    let registry = fresh();
    for algorithm in ALGORITHMS {
        let path = format!("/v2/{REPOSITORY}/blobs/{}", digest(algorithm, CONTENT));
        get(&registry, &path).await.refused(404, "BLOB_UNKNOWN");
        head(&registry, &path).await.is(404);
        delete(&registry, &path).await.refused(404, "BLOB_UNKNOWN");
    }
}

#[tokio::test]
async fn end_2_whole() {
    let registry = fresh();
    for algorithm in ALGORITHMS {
        for content in [CONTENT, b"", b"{}"] {
            let digest = push(&registry, REPOSITORY, algorithm, content).await;
            let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
            let (name, length) = (digest.to_string(), content.len().to_string());
            let reply = get(&registry, &path).await.is(200).has("docker-content-digest", &name);
            assert_eq!(reply.has("content-length", &length).body, content);
            head(&registry, &path)
                .await
                .is(200)
                .has("docker-content-digest", &name)
                .has("content-length", &length);
        }
    }
}

#[tokio::test]
async fn end_2_ranges() {
    let registry = fresh();
    for algorithm in ALGORITHMS {
        let digest = push(&registry, REPOSITORY, algorithm, CONTENT).await;
        let what = format!("GET /v2/{REPOSITORY}/blobs/{digest}");
        for (range, expected) in [
            ("bytes=0-3", Some((0, 4))),
            ("bytes=4-", Some((4, 16))),
            ("bytes=-5", Some((11, 16))),
            ("bytes=10-5000", Some((10, 16))),
            ("bytes=15-15", Some((15, 16))),
            ("bytes=16-", None),
            ("bytes=500-0", None),
        ] {
            let reply = ask(&registry, &what, &[("range", range)], b"").await;
            let Some((start, end)) = expected else {
                reply.is(416).has("content-range", "bytes */16");
                continue;
            };
            let place = format!("bytes {start}-{}/16", end - 1);
            let reply =
                reply.is(206).has("content-range", &place).has("docker-content-digest", &digest.to_string());
            assert_eq!(reply.body, CONTENT[start..end], "{range}");
        }
        for ignored in ["lines=0-3", "bytes", "bytes=a-b", "bytes=0-1,4-5"] {
            assert_eq!(
                ask(&registry, &what, &[("range", ignored)], b"").await.is(200).body,
                CONTENT,
                "{ignored}"
            );
        }
    }
}

#[tokio::test]
async fn end_10_delete() {
    let registry = fresh();
    for algorithm in ALGORITHMS {
        let path =
            format!("/v2/{REPOSITORY}/blobs/{}", push(&registry, REPOSITORY, algorithm, CONTENT).await);
        delete(&registry, &path).await.is(202);
        get(&registry, &path).await.refused(404, "BLOB_UNKNOWN");
        delete(&registry, &path).await.refused(404, "BLOB_UNKNOWN");
    }
}
