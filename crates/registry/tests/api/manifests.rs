//! End-3, end-7, end-9.

use pier_content::{Completeness, ImmutableTag};
use pier_oci::Digest;
use serde_json::json;

use crate::support::{MANIFEST, get, image, push, push_image, put, registry, registry_with, send, settings};

#[tokio::test]
async fn a_manifest_is_served_as_it_was_sent_by_tag_and_digest() {
    let registry = registry();
    let bytes = push_image(&registry, "a/b", "v1", b"layer").await;
    let digest = Digest::sha256(&bytes).to_string();
    for selector in ["v1", &digest] {
        let uri = format!("/v2/a/b/manifests/{selector}");
        let reply = get(&registry, &uri).await.is(200);
        assert_eq!(reply.body, bytes);
        let head = send(&registry, "HEAD", &uri, &[], "").await.is(200);
        for reply in [reply, head] {
            assert_eq!(reply.header("docker-content-digest"), digest);
            assert_eq!(reply.header("content-type"), MANIFEST);
            assert_eq!(reply.header("content-length"), bytes.len().to_string());
        }
        let etag = format!("\"{digest}\"");
        send(&registry, "GET", &uri, &[("if-none-match", &etag)], "").await.is(304);
    }
}

#[tokio::test]
async fn a_push_by_digest_takes_tags_from_the_query() {
    let registry = registry();
    push(&registry, "a", b"{}").await;
    push(&registry, "a", b"layer").await;
    let bytes = image(b"layer").to_string().into_bytes();
    let digest = Digest::sha256(&bytes).to_string();
    let reply = put(&registry, "a", &format!("{digest}?tag=x&tag=y"), &bytes).await.is(201);
    assert_eq!(reply.header("location"), format!("/v2/a/manifests/{digest}"));
    assert_eq!(reply.header("docker-content-digest"), digest);
    let tags: Vec<_> = reply.headers.get_all("oci-tag").iter().collect();
    assert_eq!(tags, ["x", "y"]);
    for tag in ["x", "y"] {
        assert_eq!(get(&registry, &format!("/v2/a/manifests/{tag}")).await.is(200).body, bytes);
    }
}

#[tokio::test]
async fn a_manifest_that_is_wrong_is_refused() {
    let registry = registry();
    push_image(&registry, "a", "v1", b"layer").await;
    let bytes = image(b"layer").to_string().into_bytes();
    let other = Digest::sha256(b"other").to_string();
    put(&registry, "a", &other, &bytes).await.refused(400, "DIGEST_INVALID");
    put(&registry, "a", "v1", b"no manifest").await.refused(400, "MANIFEST_INVALID");
    put(&registry, "a", ".bad", &bytes).await.refused(400, "MANIFEST_INVALID");
    get(&registry, "/v2/a/manifests/.bad").await.refused(404, "MANIFEST_UNKNOWN");
    let index = [("content-type", "application/vnd.oci.image.index.v1+json")];
    send(&registry, "PUT", "/v2/a/manifests/v2", &index, bytes).await.refused(400, "MANIFEST_INVALID");
    get(&registry, "/v2/a/manifests/v2").await.refused(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_manifest_over_the_limit_is_refused() {
    let mut settings = settings();
    settings.max_manifest_bytes = 100;
    let registry = registry_with(settings);
    put(&registry, "a", "v1", &[b' '; 101]).await.refused(413, "SIZE_INVALID");
}

#[tokio::test]
async fn each_missing_child_is_named() {
    let registry = registry();
    push(&registry, "elsewhere", b"layer").await;
    let reply = put(&registry, "a", "v1", image(b"layer").to_string().as_bytes()).await;
    let reply = reply.refused(404, "MANIFEST_BLOB_UNKNOWN");
    let errors = reply.json()["errors"].as_array().unwrap().clone();
    let named: Vec<_> =
        errors.iter().map(|error| error["detail"]["digest"].as_str().unwrap().to_owned()).collect();
    assert_eq!(named, [Digest::sha256(b"{}").to_string(), Digest::sha256(b"layer").to_string()]);
}

#[tokio::test]
async fn a_subject_is_acknowledged_and_lists_its_referrers() {
    let registry = registry();
    let subject = push_image(&registry, "a", "v1", b"layer").await;
    let digest = Digest::sha256(&subject).to_string();
    let mut artifact = image(b"layer");
    artifact["subject"] = json!({ "mediaType": MANIFEST, "digest": digest, "size": subject.len() });
    artifact["artifactType"] = json!("application/vnd.example.sbom+json");
    artifact["annotations"] = json!({ "a": "b" });
    let artifact = artifact.to_string().into_bytes();
    let reply = put(&registry, "a", "sbom", &artifact).await.is(201);
    assert_eq!(reply.header("oci-subject"), digest);

    let uri = format!("/v2/a/referrers/{digest}");
    let reply = get(&registry, &uri).await.is(200);
    assert_eq!(reply.header("content-type"), "application/vnd.oci.image.index.v1+json");
    assert_eq!(
        reply.json(),
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": MANIFEST,
                "digest": Digest::sha256(&artifact).to_string(),
                "size": artifact.len(),
                "artifactType": "application/vnd.example.sbom+json",
                "annotations": { "a": "b" },
            }],
        })
    );
    let same = get(&registry, &format!("{uri}?artifactType=application/vnd.example.sbom+json")).await.is(200);
    assert_eq!(same.json(), reply.json());
    let none = get(&registry, &format!("{uri}?artifactType=x/y")).await.is(200);
    assert_eq!(none.header("oci-filters-applied"), "artifactType");
    assert_eq!(none.json()["manifests"], json!([]));
    let unknown = get(&registry, &format!("/v2/nowhere/referrers/{digest}")).await.is(200);
    assert_eq!(unknown.json()["manifests"], json!([]));
}

#[tokio::test]
async fn deleting_a_tag_keeps_the_manifest_and_deleting_the_manifest_takes_its_tags() {
    let registry = registry();
    let bytes = push_image(&registry, "a", "v1", b"layer").await;
    put(&registry, "a", "v2", &bytes).await.is(201);
    let by_digest = format!("/v2/a/manifests/{}", Digest::sha256(&bytes));
    send(&registry, "DELETE", "/v2/a/manifests/v1", &[], "").await.is(202);
    get(&registry, "/v2/a/manifests/v1").await.refused(404, "MANIFEST_UNKNOWN");
    get(&registry, &by_digest).await.is(200);
    send(&registry, "DELETE", &by_digest, &[], "").await.is(202);
    get(&registry, "/v2/a/manifests/v2").await.refused(404, "MANIFEST_UNKNOWN");
    send(&registry, "DELETE", &by_digest, &[], "").await.refused(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn a_tag_is_moved_and_removed_under_a_condition() {
    let registry = registry();
    let old = push_image(&registry, "a", "t", b"old").await;
    push(&registry, "a", b"new").await;
    let new = image(b"new").to_string().into_bytes();
    let etag = |bytes: &[u8]| format!("\"{}\"", Digest::sha256(bytes));
    let put = async |tag: &str, name: &'static str, value: &str| {
        let headers = [("content-type", MANIFEST), (name, value)];
        send(&registry, "PUT", &format!("/v2/a/manifests/{tag}"), &headers, new.clone()).await
    };
    let refused = put("t", "if-match", &etag(&new)).await.refused(412, "DENIED");
    assert_eq!(refused.json()["errors"][0]["detail"]["digest"], Digest::sha256(&old).to_string());
    put("t", "if-match", "\"nonsense\"").await.refused(412, "DENIED");
    put("t", "if-none-match", "*").await.refused(412, "DENIED");
    let refused = put("u", "if-match", "*").await.refused(412, "DENIED");
    assert_eq!(refused.json()["errors"][0]["detail"]["digest"], json!(null));
    assert_eq!(get(&registry, "/v2/a/manifests/t").await.is(200).body, old);
    let list = format!("{}, {}", etag(&new), etag(&old));
    put("t", "if-match", &list).await.is(201);
    assert_eq!(get(&registry, "/v2/a/manifests/t").await.is(200).body, new);
    put("u", "if-none-match", "*").await.is(201);

    let delete =
        async |value: &str| send(&registry, "DELETE", "/v2/a/manifests/t", &[("if-match", value)], "").await;
    delete(&etag(&old)).await.refused(412, "DENIED");
    delete(&etag(&new)).await.is(202);
    delete("*").await.refused(412, "DENIED");
}

#[tokio::test]
async fn a_tag_moves_unless_it_names_what_the_client_does_not_want() {
    let registry = registry();
    let old = push_image(&registry, "a", "t", b"old").await;
    push(&registry, "a", b"new").await;
    let new = image(b"new").to_string().into_bytes();
    let etag = |bytes: &[u8]| format!("\"{}\"", Digest::sha256(bytes));
    let put = async |tag: &str, value: &str| {
        let headers = [("content-type", MANIFEST), ("if-none-match", value)];
        send(&registry, "PUT", &format!("/v2/a/manifests/{tag}"), &headers, new.clone()).await
    };
    let list = format!("{}, {}", etag(b"other"), etag(&old));
    let refused = put("t", &list).await.refused(412, "DENIED");
    assert_eq!(refused.json()["errors"][0]["detail"]["digest"], Digest::sha256(&old).to_string());
    assert_eq!(get(&registry, "/v2/a/manifests/t").await.is(200).body, old);
    put("t", &etag(&new)).await.is(201);
    put("t", &etag(&new)).await.refused(412, "DENIED");
    put("u", &etag(&new)).await.is(201);
}

#[tokio::test]
async fn a_condition_counts_for_digests_too() {
    let registry = registry();
    let held = push_image(&registry, "a", "t", b"old").await;
    push(&registry, "a", b"new").await;
    let new = image(b"new").to_string().into_bytes();
    let request = async |method: &str, manifest: &[u8], name: &'static str, value: &str| {
        let uri = format!("/v2/a/manifests/{}", Digest::sha256(manifest));
        let body = if method == "PUT" { manifest.to_vec() } else { Vec::new() };
        send(&registry, method, &uri, &[("content-type", MANIFEST), (name, value)], body).await
    };
    let (of_held, of_new) =
        (format!("\"{}\"", Digest::sha256(&held)), format!("\"{}\"", Digest::sha256(&new)));
    for method in ["PUT", "DELETE"] {
        for (name, value) in [
            ("if-match", &*of_new),
            ("if-match", "\"nonsense\""),
            ("if-none-match", "*"),
            ("if-none-match", &*of_held),
        ] {
            let refused = request(method, &held, name, value).await.refused(412, "DENIED");
            let found = &refused.json()["errors"][0]["detail"]["digest"];
            assert_eq!(*found, Digest::sha256(&held).to_string(), "{method} {name}: {value}");
        }
    }
    // What is not there has no representation to match, and cannot be deleted whatever is expected.
    for value in ["*", &of_new, &of_held] {
        request("PUT", &new, "if-match", value).await.refused(412, "DENIED");
        request("DELETE", &new, "if-match", value).await.refused(404, "MANIFEST_UNKNOWN");
    }
    request("PUT", &new, "if-none-match", "*").await.is(201);
    request("PUT", &new, "if-match", &of_new).await.is(201);
    request("DELETE", &new, "if-match", "*").await.is(202);
    request("DELETE", &held, "if-match", &of_held).await.is(202);
}

#[tokio::test]
async fn what_an_immutable_tag_leads_to_is_not_deleted_and_not_served_as_something_else() {
    let mut settings = settings();
    settings.immutable = ["v*".parse::<ImmutableTag>().unwrap()].into_iter().collect();
    let registry = registry_with(settings);
    push(&registry, "a", b"{}").await;
    push(&registry, "a", b"layer").await;
    let mut child = image(b"layer");
    child.as_object_mut().unwrap().remove("mediaType");
    let child = child.to_string().into_bytes();
    let digest = Digest::sha256(&child).to_string();
    put(&registry, "a", &digest, &child).await.is(201);
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{ "mediaType": MANIFEST, "digest": digest, "size": child.len() }],
    });
    let as_index = [("content-type", "application/vnd.oci.image.index.v1+json")];
    let index = index.to_string().into_bytes();
    send(&registry, "PUT", "/v2/a/manifests/v1", &as_index, index).await.is(201);

    let uri = format!("/v2/a/manifests/{digest}");
    send(&registry, "DELETE", &uri, &[], "").await.refused(403, "DENIED");
    let docker = [("content-type", "application/vnd.docker.distribution.manifest.v2+json")];
    send(&registry, "PUT", &uri, &docker, child.clone()).await.refused(403, "DENIED");
    assert_eq!(get(&registry, &uri).await.is(200).header("content-type"), MANIFEST);
}

#[tokio::test]
async fn an_immutable_tag_stays_what_it_is() {
    let mut settings = settings();
    settings.immutable = ["v*".parse::<ImmutableTag>().unwrap()].into_iter().collect();
    let registry = registry_with(settings);
    let old = push_image(&registry, "a", "v1", b"old").await;
    push(&registry, "a", b"new").await;
    let new = image(b"new").to_string().into_bytes();
    let (old_digest, new_digest) = (Digest::sha256(&old), Digest::sha256(&new));
    put(&registry, "a", "v1", &new).await.refused(403, "DENIED");
    put(&registry, "a", &format!("{new_digest}?tag=other&tag=v1"), &new).await.refused(403, "DENIED");
    get(&registry, "/v2/a/manifests/other").await.is(404);
    send(&registry, "DELETE", "/v2/a/manifests/v1", &[], "").await.refused(403, "DENIED");
    let by_digest = format!("/v2/a/manifests/{old_digest}");
    send(&registry, "DELETE", &by_digest, &[], "").await.refused(403, "DENIED");
    put(&registry, "a", "v1", &old).await.is(201);
    put(&registry, "a", "v2", &new).await.is(201);
    put(&registry, "a", "latest", &old).await.is(201);
    put(&registry, "a", "latest", &new).await.is(201);
    assert_eq!(get(&registry, "/v2/a/manifests/v1").await.is(200).body, old);
}

#[tokio::test]
async fn children_that_are_left_out_are_warned_of() {
    let mut settings = settings();
    settings.completeness = Completeness::Sparse;
    let registry = registry_with(settings);
    push(&registry, "a", b"{}").await;
    let bytes = image(b"layer").to_string().into_bytes();
    let reply = put(&registry, "a", "v1", &bytes).await.is(201);
    assert_eq!(reply.header("warning"), "299 - \"1 of the manifest's children are not in this repository\"");
    push(&registry, "a", b"layer").await;
    assert_eq!(put(&registry, "a", "v1", &bytes).await.is(201).header("warning"), "");
}
