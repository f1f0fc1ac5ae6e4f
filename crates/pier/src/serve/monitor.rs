//! What operators, load balancers and Prometheus ask of a server: whether it lives, whether it is ready, and its numbers.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 while the process answers at all: restart it otherwise |
//! | `/readyz` | 200 while clients should be sent here, 503 with the reasons otherwise |
//! | `/metrics` | numbers, in the text format of OpenMetrics, which Prometheus reads |
//!
//! They are answered on the registry's own address and, with `metrics-listen`, on one of their own.

mod health;
mod listener;
mod numbers;
mod process;
mod requests;
mod shared;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use http::{HeaderValue, Method, Response, StatusCode, header};
use pier_registry::{Registry, ResponseBody};
use pier_store::Store;
use tokio::sync::watch;

use self::{health::Health, numbers::Numbers, requests::Requests};
pub(super) use self::{
    listener::serve,
    requests::{ByteCounter, Measured},
};
use super::{access::Denied, collection::Tally};

/// Watches one server. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Monitor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// None where what is served is no store, such as images for tests.
    health: Option<Health>,
    requests: Requests,
    numbers: Numbers,
    is_draining: AtomicBool,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Alive,
    Ready,
    Metrics,
}

impl Question {
    /// What a request asks, if it is one of these.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        let question = match path {
            "/livez" => Self::Alive,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            _ => return None,
        };
        method.is_safe().then_some(question)
    }
}

impl Monitor {
    /// A monitor of a server that has just started, and that gives space back.
    pub(crate) fn new(store: Arc<Store>, registry: Registry, collected: watch::Receiver<Tally>) -> Self {
        Self::of(Some(Health::new(store)), registry, Some(collected))
    }

    /// A monitor of a server over something that is no store.
    pub(crate) fn without_store(registry: Registry) -> Self {
        Self::of(None, registry, None)
    }

    fn of(health: Option<Health>, registry: Registry, collected: Option<watch::Receiver<Tally>>) -> Self {
        let requests = Requests::default();
        let numbers = Numbers::new(&requests, registry, collected);
        let inner = Inner { health, requests, numbers, is_draining: AtomicBool::new(false) };
        Self { inner: Arc::new(inner) }
    }

    /// From now on no client should be sent here any more.
    pub(super) fn drain(&self) {
        self.inner.is_draining.store(true, Relaxed);
    }

    /// Counts a connection, until what this gives is dropped.
    pub(super) fn connection(&self) -> requests::Connected {
        self.inner.requests.connection()
    }

    /// Counts a request, until what this gives is dropped.
    pub(super) fn request(&self, method: &Method, path: &str) -> Measured {
        self.inner.requests.begin(method, path)
    }

    /// Counts somebody who was not let in.
    pub(super) fn denied(&self, denied: Denied) {
        self.inner.requests.denied(denied);
    }

    /// Answers a question that came under this name.
    pub(super) async fn answer(&self, question: Question, id: &HeaderValue) -> Response<ResponseBody> {
        let response = self.found(question).await;
        let status = response.status().as_u16();
        tracing::debug!(id = id.to_str().ok(), ?question, status, "answered");
        response
    }

    async fn found(&self, question: Question) -> Response<ResponseBody> {
        match question {
            Question::Alive => text(StatusCode::OK, "ok\n".to_owned()),
            Question::Ready => match self.reasons().await {
                reasons if reasons.is_empty() => text(StatusCode::OK, "ok\n".to_owned()),
                reasons => text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
            },
            Question::Metrics => {
                let usage = match &self.inner.health {
                    Some(health) => health.usage().await,
                    None => None,
                };
                let mut response = text(StatusCode::OK, self.inner.numbers.encode(usage));
                response.headers_mut().insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
                );
                response
            }
        }
    }

    /// Why no client should be sent here.
    async fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.inner.is_draining.load(Relaxed) {
            reasons.push("stopping".to_owned());
        }
        if let Some(health) = &self.inner.health {
            reasons.extend(health.trouble().await.map(|trouble| trouble.to_string()));
        }
        reasons
    }
}

fn text(status: StatusCode, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::bytes(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
