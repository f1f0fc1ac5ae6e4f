//! A registry with nothing in it, what is asked of it, and what its answers have to be.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use pier_content::{Completeness, Memory};
use pier_oci::{Algorithm, Digest, Hasher};
use pier_registry::{Registry, SessionKey, Settings};
use serde_json::Value;

/// Both algorithms that the specification registers.
pub(crate) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// The repository that most tests use.
pub(crate) const REPOSITORY: &str = "conformance/repo1";

#[derive(Debug)]
pub(crate) struct Reply {
    what: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A registry that accepts sparse manifests, as the suite's data asks for.
pub(crate) fn fresh() -> Registry {
    let store = Arc::new(Memory::default());
    let mut settings = Settings::new(SessionKey::new([3; 32]));
    settings.completeness = Completeness::Sparse;
    Registry::new(store.clone(), store, settings)
}

pub(crate) fn digest(algorithm: Algorithm, content: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(content);
    hasher.finish()
}

/// Sends `METHOD path` with headers and a body.
pub(crate) async fn ask(registry: &Registry, what: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let (method, path) = what.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
    let (parts, body) = registry.handle(request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply { what: what.to_owned(), status: parts.status, headers: parts.headers, body }
}

pub(crate) async fn get(registry: &Registry, path: &str) -> Reply {
    ask(registry, &format!("GET {path}"), &[], b"").await
}

pub(crate) async fn head(registry: &Registry, path: &str) -> Reply {
    let reply = ask(registry, &format!("HEAD {path}"), &[], b"").await;
    assert_eq!(reply.body, "", "{reply:?}");
    reply
}

pub(crate) async fn delete(registry: &Registry, path: &str) -> Reply {
    ask(registry, &format!("DELETE {path}"), &[], b"").await
}

impl Reply {
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Says no with this code, in the specification's form.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        let reply = self.is(status);
        assert_eq!(reply.json()["errors"][0]["code"], code, "{reply:?}");
        reply
    }

    #[track_caller]
    pub(crate) fn has(self, name: &str, value: &str) -> Self {
        assert_eq!(self.header(name), value, "`{name}` of {}", self.what);
        self
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
