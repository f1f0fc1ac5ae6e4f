//! Each kind of content, all the way: push, list, head, pull, referrers, delete (end-3, end-7, end-8, end-9, end-12).

use pier_oci::Algorithm;
use pier_registry::Registry;
use serde_json::Value;

use crate::{
    content::{Maker, Pushed},
    registry::{ALGORITHMS, REPOSITORY, Reply, ask, delete, fresh, get, head},
};

#[tokio::test]
async fn end_3_end_7_end_8_end_9_end_12_every_kind_of_content() {
    for algorithm in ALGORITHMS {
        let registry = fresh();
        for (name, manifests) in (Maker { registry: &registry, algorithm }).all().await {
            through(&registry, algorithm, name, &manifests).await;
        }
    }
}

/// Pushes manifests by digest, the last of them under a tag as well, and takes them away again.
async fn through(registry: &Registry, algorithm: Algorithm, name: &str, manifests: &[Pushed]) {
    for manifest in manifests {
        let reply = put(registry, &manifest.digest.to_string(), manifest).await.is(201);
        let reply = reply.has("docker-content-digest", &manifest.digest.to_string());
        reply.has("oci-subject", &manifest.subject.map(|subject| subject.to_string()).unwrap_or_default());
    }
    let root = manifests.last().unwrap();
    // A tag in the path asks for sha256; of another algorithm the tag goes into the query.
    if algorithm == Algorithm::Sha256 {
        put(registry, name, root).await.is(201).has("docker-content-digest", &root.digest.to_string());
    } else {
        let reply = put(registry, &format!("{}?tag={name}&tag={name}-2", root.digest), root).await.is(201);
        let tags: Vec<_> = reply.headers.get_all("oci-tag").iter().collect();
        assert_eq!(tags, [name, &format!("{name}-2")], "{name}");
    }
    let listed = get(registry, &format!("/v2/{REPOSITORY}/tags/list")).await.is(200).json();
    assert!(listed["tags"].as_array().unwrap().contains(&name.into()), "{name}: {listed}");

    for selector in [name, &root.digest.to_string()] {
        let path = format!("/v2/{REPOSITORY}/manifests/{selector}");
        for reply in [head(registry, &path).await, get(registry, &path).await] {
            reply
                .is(200)
                .has("content-type", root.media_type)
                .has("content-length", &root.bytes.len().to_string())
                .has("docker-content-digest", &root.digest.to_string());
        }
        assert_eq!(get(registry, &path).await.body, root.bytes, "{name}");
    }
    referrers(registry, name, root).await;

    delete(registry, &format!("/v2/{REPOSITORY}/manifests/{name}")).await.is(202);
    head(registry, &format!("/v2/{REPOSITORY}/manifests/{name}")).await.is(404);
    head(registry, &format!("/v2/{REPOSITORY}/manifests/{}", root.digest)).await.is(200);
    for manifest in manifests.iter().rev() {
        let path = format!("/v2/{REPOSITORY}/manifests/{}", manifest.digest);
        delete(registry, &path).await.is(202);
        head(registry, &path).await.is(404);
        get(registry, &path).await.refused(404, "MANIFEST_UNKNOWN");
    }
    if let Some(subject) = root.subject {
        let left = list(registry, &format!("/v2/{REPOSITORY}/referrers/{subject}")).await;
        assert_eq!(left, Vec::<Value>::new(), "{name}");
    }
}

async fn referrers(registry: &Registry, name: &str, root: &Pushed) {
    let Some(subject) = root.subject else { return };
    let path = format!("/v2/{REPOSITORY}/referrers/{subject}");
    let found = list(registry, &path).await;
    let [found] = found.as_slice() else { panic!("{name}: {found:?}") };
    let document = root.document();
    assert_eq!(found["digest"], root.digest.to_string(), "{name}");
    assert_eq!(found["size"], root.bytes.len(), "{name}");
    assert_eq!(found["artifactType"], document["artifactType"], "{name}");
    assert_eq!(found["annotations"], document["annotations"], "{name}");
    let wanted = document["artifactType"].as_str().unwrap();
    assert_eq!(list(registry, &format!("{path}?artifactType={wanted}")).await.len(), 1, "{name}");
    let filtered = get(registry, &format!("{path}?artifactType=x/y")).await.is(200);
    let filtered = filtered.has("oci-filters-applied", "artifactType");
    assert_eq!(filtered.json()["manifests"], serde_json::json!([]), "{name}");
}

async fn list(registry: &Registry, path: &str) -> Vec<Value> {
    let reply = get(registry, path).await.is(200).has("content-type", crate::content::INDEX);
    reply.json()["manifests"].as_array().unwrap().clone()
}

async fn put(registry: &Registry, selector: &str, manifest: &Pushed) -> Reply {
    let what = format!("PUT /v2/{REPOSITORY}/manifests/{selector}");
    ask(registry, &what, &[("content-type", manifest.media_type)], &manifest.bytes).await
}
