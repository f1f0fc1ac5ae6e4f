//! Manifests that are not there, not right, or too many tags for one: end-3, end-7, end-7b.

use pier_oci::Algorithm;
use serde_json::json;

use crate::{
    content::{MANIFEST, Maker},
    registry::{ALGORITHMS, REPOSITORY, ask, digest, fresh, get, head},
};

#[tokio::test]
async fn end_3_missing() {
    let registry = fresh();
    for algorithm in ALGORITHMS {
        for selector in ["missing".to_owned(), digest(algorithm, b"missing").to_string()] {
            let path = format!("/v2/{REPOSITORY}/manifests/{selector}");
            get(&registry, &path).await.refused(404, "MANIFEST_UNKNOWN");
            head(&registry, &path).await.is(404);
        }
    }
}

#[tokio::test]
async fn end_7_bad_digest_image() {
    let registry = fresh();
    for algorithm in ALGORITHMS {
        let image = (Maker { registry: &registry, algorithm }).image("a layer", json!({})).await;
        let wrong = digest(algorithm, b"something else");
        let what = format!("PUT /v2/{REPOSITORY}/manifests/{wrong}");
        let headers = [("content-type", MANIFEST)];
        ask(&registry, &what, &headers, &image.bytes).await.refused(400, "DIGEST_INVALID");
        head(&registry, &format!("/v2/{REPOSITORY}/manifests/{wrong}")).await.is(404);
        // One that names a blob by a digest that is none.
        let broken = String::from_utf8(image.bytes).unwrap().replacen("sha", "sha-", 1);
        let what = format!("PUT /v2/{REPOSITORY}/manifests/broken");
        ask(&registry, &what, &headers, broken.as_bytes()).await.refused(400, "MANIFEST_INVALID");
    }
}

#[tokio::test]
async fn end_7b_as_many_tags_as_fit() {
    let registry = fresh();
    let image =
        (Maker { registry: &registry, algorithm: Algorithm::Sha512 }).image("a layer", json!({})).await;
    let with = |count: usize| {
        let tags: Vec<_> = (0..count).map(|n| format!("tag=t{n}")).collect();
        format!("PUT /v2/{REPOSITORY}/manifests/{}?{}", image.digest, tags.join("&"))
    };
    let headers = [("content-type", MANIFEST)];
    ask(&registry, &with(101), &headers, &image.bytes).await.refused(414, "UNSUPPORTED");
    head(&registry, &format!("/v2/{REPOSITORY}/manifests/t0")).await.is(404);
    let reply = ask(&registry, &with(100), &headers, &image.bytes).await.is(201);
    assert_eq!(reply.headers.get_all("oci-tag").iter().count(), 100);
    for tag in ["t0", "t99"] {
        assert_eq!(
            get(&registry, &format!("/v2/{REPOSITORY}/manifests/{tag}")).await.is(200).body,
            image.bytes
        );
    }
}
