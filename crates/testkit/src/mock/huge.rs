//! A registry with one image whose only layer is larger than memory, and which nobody ever wrote down.
//!
//! The layer is zeros, made as they are sent: what a client needs to take them is the client's own.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pier_oci::wire::{Endpoint, Selected, selected};
use pier_oci::{Algorithm, Digest, Hasher, Selector};
use serde_json::json;
use tokio::net::TcpStream;

use super::Body;
use super::front::{empty_answer, text};
use crate::server::{Serve, Server};

/// Made at once.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The registry. It runs until it is dropped.
#[derive(Debug)]
pub struct HugeBlob {
    server: Server,
    image: Arc<Image>,
}

#[derive(Debug)]
struct Image {
    layer: Digest,
    size: u64,
    config: (Digest, String),
    manifest: (Digest, String),
}

impl HugeBlob {
    /// Starts a registry with the image `huge:latest`, whose layer has so many bytes. They are hashed first: about a second for each GiB.
    pub async fn start(size: u64) -> io::Result<Self> {
        let image = tokio::task::spawn_blocking(move || Image::new(size)).await.map_err(io::Error::other)?;
        let image = Arc::new(image);
        let server = Server::start("huge-blob", Arc::clone(&image)).await?;
        Ok(Self { server, image })
    }

    /// Where clients connect: `127.0.0.1` and a port of the system's choice.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What a client calls the image: `127.0.0.1:PORT/huge:latest`.
    pub fn image_ref(&self) -> String {
        format!("{}/huge:latest", self.address())
    }

    /// The manifest's digest.
    pub fn digest(&self) -> Digest {
        self.image.manifest.0
    }

    /// The layer's digest.
    pub fn layer(&self) -> Digest {
        self.image.layer
    }

    /// The layer's size in bytes.
    pub fn size(&self) -> u64 {
        self.image.size
    }
}

impl Image {
    fn new(size: u64) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut zeros = Zeros(size);
        while let Some(bytes) = zeros.take() {
            hasher.update(&bytes);
        }
        let layer = hasher.finish();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [layer.to_string()] },
        })
        .to_string();
        let config_digest = Digest::sha256(config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config_digest.to_string(),
                "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer.to_string(),
                "size": size,
            }],
        })
        .to_string();
        let manifest = (Digest::sha256(manifest.as_bytes()), manifest);
        Self { layer, size, config: (config_digest, config), manifest }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        match request.uri().path().parse() {
            Ok(Endpoint::Base) => text(StatusCode::OK, "application/json", "{}".to_owned()),
            Ok(Endpoint::Manifest { selector, .. }) if self.is_ours(&selector) => {
                let (digest, manifest) = &self.manifest;
                let mut answer = text(StatusCode::OK, MANIFEST, manifest.clone());
                if let Ok(digest) = digest.to_string().parse() {
                    answer.headers_mut().insert("docker-content-digest", digest);
                }
                answer
            }
            Ok(Endpoint::Blob { digest, .. }) if digest == self.config.0 => {
                text(StatusCode::OK, "application/octet-stream", self.config.1.clone())
            }
            Ok(Endpoint::Blob { digest, .. }) if digest == self.layer => self.blob(request),
            _ => empty_answer(StatusCode::NOT_FOUND),
        }
    }

    fn is_ours(&self, selector: &Selector) -> bool {
        match selector {
            Selector::Tag(tag) => tag.as_str() == "latest",
            Selector::Digest(digest) => *digest == self.manifest.0,
        }
    }

    fn blob(&self, request: &Request<Incoming>) -> Response<Body> {
        let range = request.headers().get(header::RANGE).and_then(|range| range.to_str().ok());
        let size = self.size;
        let (status, length, range) = match range.map_or(Selected::Whole, |range| selected(range, size)) {
            Selected::Whole => (StatusCode::OK, size, None),
            Selected::Part(part) => {
                let said = format!("bytes {}-{}/{size}", part.start, part.end - 1);
                (StatusCode::PARTIAL_CONTENT, part.end - part.start, Some(said))
            }
            Selected::Nothing => (StatusCode::RANGE_NOT_SATISFIABLE, 0, Some(format!("bytes */{size}"))),
        };
        let mut answer = empty_answer(status);
        let headers = answer.headers_mut();
        headers.insert(header::ACCEPT_RANGES, header::HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_LENGTH, length.into());
        if let Some(Ok(range)) = range.map(|range| range.parse()) {
            headers.insert(header::CONTENT_RANGE, range);
        }
        if request.method() != Method::HEAD {
            *answer.body_mut() = Zeros(length).map_err(|never| match never {}).boxed_unsync();
        }
        answer
    }
}

impl Serve for Image {
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let answer = self.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        // What goes wrong with a connection its client sees too.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }
}

/// So many zeros.
struct Zeros(u64);

impl Zeros {
    fn take(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.0).unwrap_or(usize::MAX).min(ZEROS.len());
        self.0 -= length as u64;
        (length > 0).then(|| Bytes::from_static(&ZEROS[..length]))
    }
}

impl HttpBody for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
