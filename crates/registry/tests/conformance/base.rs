//! Ping, and what a registry says of repositories that hold nothing.

use crate::registry::{REPOSITORY, ask, digest, fresh, get, head};

use pier_oci::Algorithm;

#[tokio::test]
async fn end_1_ping() {
    let registry = fresh();
    for path in ["/v2/", "/v2"] {
        get(&registry, path).await.is(200);
        head(&registry, path).await.is(200);
    }
}

#[tokio::test]
async fn end_8_end_12_empty_repository() {
    let registry = fresh();
    get(&registry, &format!("/v2/{REPOSITORY}/tags/list")).await.refused(404, "NAME_UNKNOWN");
    let subject = digest(Algorithm::Sha256, b"nothing");
    let reply = get(&registry, &format!("/v2/{REPOSITORY}/referrers/{subject}")).await.is(200);
    assert_eq!(reply.json()["manifests"], serde_json::json!([]));
    reply.has("content-type", "application/vnd.oci.image.index.v1+json");
}

#[tokio::test]
async fn end_2_end_3_end_12_malformed_digests() {
    let registry = fresh();
    for bad in ["sha256:", "sha256:12", "sha512:ab", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:zz"] {
        for kind in ["blobs", "manifests", "referrers"] {
            let path = format!("/v2/{REPOSITORY}/{kind}/{bad}");
            get(&registry, &path).await.refused(400, "DIGEST_INVALID");
        }
        let start = format!("POST /v2/{REPOSITORY}/blobs/uploads/?digest={bad}");
        ask(&registry, &start, &[], b"x").await.refused(400, "DIGEST_INVALID");
    }
}

#[tokio::test]
async fn extensions_are_listed_though_there_are_none() {
    let reply = get(&fresh(), "/v2/_oci/ext/discover").await.is(200);
    assert_eq!(reply.json(), serde_json::json!({ "extensions": [] }));
}
