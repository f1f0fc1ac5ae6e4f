//! Whole requests to a registry over a store in memory, several in a row: whatever comes, the server does not fail, says no
//! in the specification's form, and serves nothing under a digest that it does not hash to.
//!
//! A request is a line `METHOD TARGET`, lines `name: value`, an empty line, and a body up to a line that is a single
//! dot. `$LOCATION` in a target stands for the path that the last answer named, so that uploads can go on, and
//! `$DIGEST` for what the body before hashes to.

#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use libfuzzer_sys::fuzz_target;
use pier_content::Memory;
use pier_oci::{Digest, Hasher, wire::ErrorBody};
use pier_registry::{Registry, SessionKey, Settings};
use tokio::runtime::{Builder, Runtime};

/// Requests in one run. More would only make runs slow.
const REQUESTS: usize = 8;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    RUNTIME.block_on(async {
        let memory = Arc::new(Memory::default());
        let registry = Registry::new(memory.clone(), memory, Settings::new(SessionKey::new([7; 32])));
        let mut said = Said { location: String::new(), digest: String::new() };
        for request in text.split("\n.\n").take(REQUESTS) {
            ask(&registry, request, &mut said).await;
        }
    });
});

/// What later requests may refer to.
struct Said {
    location: String,
    digest: String,
}

async fn ask(registry: &Registry, text: &str, said: &mut Said) {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let Some((method, target)) = lines.next().and_then(|line| line.split_once(' ')) else { return };
    let digest = Digest::sha256(body.as_bytes()).to_string();
    let fill = |text: &str| text.replace("$LOCATION", &said.location).replace("$DIGEST", &said.digest);
    let target = fill(target).replace("$OWN", &digest);
    let body = fill(body);
    let mut request = Request::builder().method(method).uri(&target);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    let Ok(request) = request.body(Full::new(Bytes::from(body))) else { return };
    let is_head = request.method() == http::Method::HEAD;
    let (parts, body) = registry.handle(request).await.into_parts();
    let body = body.collect().await.expect("a body from memory does not break").to_bytes();
    check(parts.status, &parts.headers, &body, is_head);
    if let Some(location) = parts.headers.get("location") {
        said.location = location.to_str().expect("a location is text").to_owned();
    }
    said.digest = digest;
}

fn check(status: StatusCode, headers: &HeaderMap, body: &Bytes, is_head: bool) {
    assert!(!status.is_server_error(), "{status}: {body:?}");
    if status.is_client_error() && !is_head {
        let said: Result<ErrorBody, _> = serde_json::from_slice(body);
        let said = said.unwrap_or_else(|error| panic!("{status} in another form: {error}: {body:?}"));
        assert!(!said.errors.is_empty());
    }
    let content = headers.get("docker-content-digest").filter(|_| status == StatusCode::OK && !is_head);
    if let Some(content) = content {
        let digest: Digest = content.to_str().expect("a digest is text").parse().expect("a digest");
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(body);
        assert_eq!(hasher.finish(), digest, "other bytes are served");
    }
}
