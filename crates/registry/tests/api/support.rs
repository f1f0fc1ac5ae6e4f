//! A registry in memory and the requests that tests make.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use pier_content::Memory;
use pier_oci::Digest;
use pier_registry::{Registry, SessionKey, Settings};
use serde_json::{Value, json};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) fn settings() -> Settings {
    Settings::new(SessionKey::new([1; 32]))
}

pub(crate) fn registry() -> Registry {
    registry_with(settings())
}

pub(crate) fn registry_with(settings: Settings) -> Registry {
    over(&Memory::default(), settings)
}

pub(crate) fn over(memory: &Memory, settings: Settings) -> Registry {
    let store = Arc::new(memory.clone());
    Registry::new(store.clone(), store, settings)
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The reply, which has to say no in the specification's form.
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.json()["errors"][0]["code"], code, "{self:?}");
        self
    }

    /// The reply, which has to have this status.
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

pub(crate) async fn send(
    registry: &Registry,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = registry.handle(request.body(Full::new(body.into())).unwrap()).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply { status: parts.status, headers: parts.headers, body }
}

pub(crate) async fn get(registry: &Registry, uri: &str) -> Reply {
    send(registry, "GET", uri, &[], "").await
}

/// Pushes a blob in one request.
pub(crate) async fn push(registry: &Registry, repository: &str, content: &'static [u8]) -> Digest {
    let digest = Digest::sha256(content);
    let uri = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
    send(registry, "POST", &uri, &[], content).await.is(201);
    digest
}

/// Opens a session and gives its path.
pub(crate) async fn open(registry: &Registry, repository: &str) -> String {
    let reply = send(registry, "POST", &format!("/v2/{repository}/blobs/uploads/"), &[], "").await.is(202);
    reply.header("location").to_owned()
}

pub(crate) fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::sha256(content).to_string(), "size": content.len() })
}

/// The manifest of an image whose config is `{}` and whose only layer is `layer`.
pub(crate) fn image(layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    })
}

/// Pushes an image under a tag and gives its manifest's bytes.
pub(crate) async fn push_image(
    registry: &Registry,
    repository: &str,
    tag: &str,
    layer: &'static [u8],
) -> Vec<u8> {
    push(registry, repository, b"{}").await;
    push(registry, repository, layer).await;
    let manifest = image(layer).to_string().into_bytes();
    put(registry, repository, tag, &manifest).await.is(201);
    manifest
}

pub(crate) async fn put(registry: &Registry, repository: &str, selector: &str, manifest: &[u8]) -> Reply {
    let uri = format!("/v2/{repository}/manifests/{selector}");
    send(registry, "PUT", &uri, &[("content-type", MANIFEST)], manifest.to_vec()).await
}
