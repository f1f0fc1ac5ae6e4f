//! What operators, load balancers and Prometheus ask of a server: whether it lives, whether it is ready, and its numbers.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 while the process answers at all: restart it otherwise |
//! | `/readyz` | 200 while clients should be sent here, 503 with the reasons otherwise |
//! | `/metrics` | numbers, in the text format of OpenMetrics, which Prometheus reads |
//!
//! They are answered on the registry's own address and, with `metrics-listen`, on one of their own.

mod listener;
mod numbers;
mod process;
mod requests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderValue, Method, Response, StatusCode, header};
use pier_registry::{Registry, ResponseBody};
use pier_store::Store;
use tokio::{sync::watch, time::timeout};

pub(super) use self::{listener::serve, requests::Measured};
use self::{numbers::Numbers, requests::Requests};
use super::collection;

/// How long the store may take to answer before the server counts as not ready.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// Bytes of free disk below which pushes begin to fail, so that another server should get them.
const LEAST_FREE: u64 = 64 << 20;

/// Watches one server. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Monitor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// None where what is served is no store, such as images for tests.
    store: Option<Arc<Store>>,
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
    pub(crate) fn new(
        store: Arc<Store>,
        registry: Registry,
        collected: watch::Receiver<collection::Numbers>,
    ) -> Self {
        let requests = Requests::default();
        let numbers = Numbers::new(&requests, registry, collected);
        let inner = Inner { store: Some(store), requests, numbers, is_draining: AtomicBool::new(false) };
        Self { inner: Arc::new(inner) }
    }

    /// A monitor of a server over something that is no store.
    pub(crate) fn without_store(registry: Registry) -> Self {
        let requests = Requests::default();
        let numbers = Numbers::new(&requests, registry, watch::channel(collection::Numbers::default()).1);
        let inner = Inner { store: None, requests, numbers, is_draining: AtomicBool::new(false) };
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

    /// Answers a question.
    pub(super) async fn answer(&self, question: Question) -> Response<ResponseBody> {
        match question {
            Question::Alive => text(StatusCode::OK, "ok\n".to_owned()),
            Question::Ready => match self.reasons().await {
                reasons if reasons.is_empty() => text(StatusCode::OK, "ok\n".to_owned()),
                reasons => text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
            },
            Question::Metrics => {
                let usage = match &self.inner.store {
                    Some(store) => timeout(STORE_LIMIT, store.usage()).await.ok().and_then(Result::ok),
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
        let Some(store) = &self.inner.store else { return reasons };
        match timeout(STORE_LIMIT, store.usage()).await {
            Err(_) => reasons.push(format!("the store did not answer in {STORE_LIMIT:?}")),
            // What exactly is wrong is for the log and not for whoever may ask here.
            Ok(Err(error)) => {
                tracing::error!(%error, "the store does not answer");
                reasons.push(format!("the store does not answer: {}", error.code()));
            }
            Ok(Ok(usage)) if usage.free < LEAST_FREE => {
                reasons.push(format!("only {} bytes of disk are free", usage.free));
            }
            Ok(Ok(_)) => {}
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
