//! Counting requests, in the names that dashboards of registries know.
//!
//! A manifest is served in some ten microseconds, so what counts it may take a fraction of one: every counter has its
//! place in a table that is known beforehand, no label is ever made up by a client, and none names a repository or a user.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use http::{Method, StatusCode};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// What a request is about, as it stands in a label.
const HANDLERS: [&str; 10] = [
    "base",
    "blob",
    "blob_upload",
    "catalog",
    "extensions",
    "manifest",
    "monitoring",
    "referrers",
    "tags",
    "unknown",
];

/// Methods, as they stand in a label.
const METHODS: [&str; 7] = ["delete", "get", "head", "patch", "post", "put", "other"];

/// Statuses that are counted each for itself. The last one stands for all others.
const CODES: [u16; 29] = [
    200, 201, 202, 204, 206, 304, 307, 400, 401, 403, 404, 405, 408, 409, 412, 413, 414, 416, 421, 429, 431,
    499, 500, 501, 502, 503, 504, 507, 0,
];

/// Upper ends of durations, in seconds: from a manifest out of memory to a layer over a slow line.
const SECONDS: [f64; 13] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    code: u16,
    handler: &'static str,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    handler: &'static str,
    method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handled {
    handler: &'static str,
}

/// Durations by what was asked.
type Durations = Family<Asked, Histogram, fn() -> Histogram>;

/// Where counters are made.
#[derive(Clone, Debug)]
struct Families {
    answered: Family<Answered, Counter>,
    durations: Durations,
}

/// The counters of all requests.
#[derive(Debug)]
pub(super) struct Requests {
    in_flight: Family<Handled, Gauge>,
    connections: Gauge,
    handles: Arc<Handles>,
}

/// Counters that have been used, by their places.
#[derive(Debug)]
struct Handles {
    answered: Vec<OnceLock<Counter>>,
    durations: Vec<OnceLock<Histogram>>,
    in_flight: Vec<Gauge>,
    /// For a counter's first use.
    families: Families,
}

/// A request that is being answered. Its drop is the end of the answer.
#[derive(Debug)]
pub(crate) struct Measured {
    handles: Arc<Handles>,
    handler: usize,
    method: usize,
    begun: Instant,
}

/// A connection that is open. Its drop is its end.
#[derive(Debug)]
pub(crate) struct Connected(Gauge);

impl Default for Requests {
    fn default() -> Self {
        let durations: Durations = Family::new_with_constructor(|| Histogram::new(SECONDS));
        let families = Families { answered: Family::default(), durations };
        let in_flight = Family::<Handled, Gauge>::default();
        let handles = Handles {
            answered: std::iter::repeat_with(OnceLock::new)
                .take(HANDLERS.len() * METHODS.len() * CODES.len())
                .collect(),
            durations: std::iter::repeat_with(OnceLock::new).take(HANDLERS.len() * METHODS.len()).collect(),
            in_flight: HANDLERS
                .iter()
                .map(|handler| in_flight.get_or_create(&Handled { handler }).clone())
                .collect(),
            families,
        };
        Self { in_flight, connections: Gauge::default(), handles: Arc::new(handles) }
    }
}

impl Requests {
    /// Puts the counters where they are encoded. The names are those of CNCF's distribution, so that its dashboards go on working.
    pub(super) fn register(&self, registry: &mut Registry) {
        let families = self.handles.families.clone();
        registry.register("registry_http_requests", "Requests that were answered", families.answered);
        registry.register(
            "registry_http_request_duration_seconds",
            "Seconds from a request's head to the end of its answer",
            families.durations,
        );
        registry.register(
            "registry_http_in_flight_requests",
            "Requests that are being answered",
            self.in_flight.clone(),
        );
        registry.register("pier_connections", "Connections that are open", self.connections.clone());
    }

    pub(super) fn connection(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }

    pub(super) fn begin(&self, method: &Method, path: &str) -> Measured {
        let (handler, method) = (handler(path), place(&METHODS, method_label(method)));
        let measured =
            Measured { handles: Arc::clone(&self.handles), handler, method, begun: Instant::now() };
        measured.handles.in_flight[handler].inc();
        measured
    }
}

impl Measured {
    /// The answer has begun.
    pub(crate) fn answered(&self, status: StatusCode) {
        let status = status.as_u16();
        let code = CODES.iter().position(|code| *code == status).unwrap_or(CODES.len() - 1);
        let at = (self.handler * METHODS.len() + self.method) * CODES.len() + code;
        let (handler, method) = (HANDLERS[self.handler], METHODS[self.method]);
        let first = || {
            let labels = Answered { code: CODES[code], handler, method };
            self.handles.families.answered.get_or_create(&labels).clone()
        };
        self.handles.answered[at].get_or_init(first).inc();
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.handles.in_flight[self.handler].dec();
        let (handler, method) = (HANDLERS[self.handler], METHODS[self.method]);
        let first = || self.handles.families.durations.get_or_create(&Asked { handler, method }).clone();
        let at = self.handler * METHODS.len() + self.method;
        self.handles.durations[at].get_or_init(first).observe(self.begun.elapsed().as_secs_f64());
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::DELETE => "delete",
        Method::GET => "get",
        Method::HEAD => "head",
        Method::PATCH => "patch",
        Method::POST => "post",
        Method::PUT => "put",
        _ => "other",
    }
}

/// What a path is about. Only for counting, so it is read loosely: from its end, as the registry reads it.
fn handler(path: &str) -> usize {
    let label = if let Some(rest) = path.strip_prefix("/v2/") {
        match rest {
            "" => "base",
            "_catalog" => "catalog",
            "_oci/ext/discover" => "extensions",
            rest if rest.ends_with("/tags/list") => "tags",
            rest => of_content(rest),
        }
    } else {
        match path {
            "/v2" => "base",
            "/livez" | "/readyz" | "/metrics" => "monitoring",
            _ => "unknown",
        }
    };
    place(&HANDLERS, label)
}

fn of_content(rest: &str) -> &'static str {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let Some((head, last)) = rest.rsplit_once('/') else { return "unknown" };
    let kind = head.rsplit('/').next().unwrap_or_default();
    match kind {
        "manifests" => "manifest",
        "referrers" => "referrers",
        "uploads" => "blob_upload",
        "blobs" if last == "uploads" => "blob_upload",
        "blobs" => "blob",
        _ => "unknown",
    }
}

/// The place of a label in its table; that of the last one, which stands for what is not known, if it has none.
fn place(table: &[&str], label: &str) -> usize {
    table.iter().position(|known| *known == label).unwrap_or(table.len() - 1)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn paths_are_counted_as_what_they_are_about() {
        for (path, label) in [
            ("/v2/", "base"),
            ("/v2", "base"),
            ("/v2/a/b/blobs/sha256:12", "blob"),
            ("/v2/a/blobs/uploads/", "blob_upload"),
            ("/v2/a/blobs/uploads", "blob_upload"),
            ("/v2/a/blobs/uploads/0190", "blob_upload"),
            ("/v2/_catalog", "catalog"),
            ("/v2/_oci/ext/discover", "extensions"),
            ("/v2/a/manifests/latest", "manifest"),
            ("/v2/a/referrers/sha256:12", "referrers"),
            ("/v2/a/tags/list", "tags"),
            ("/livez", "monitoring"),
            ("/v2/x", "unknown"),
            ("/", "unknown"),
        ] {
            assert_eq!(HANDLERS[handler(path)], label, "{path}");
        }
    }

    #[test]
    fn requests_are_counted_while_and_when_they_are_answered() {
        let requests = Requests::default();
        let mut registry = Registry::default();
        requests.register(&mut registry);
        let said = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let connected = requests.connection();
        let measured = requests.begin(&Method::GET, "/v2/a/manifests/1");
        assert!(said().contains("registry_http_in_flight_requests{handler=\"manifest\"} 1\n"));
        measured.answered(StatusCode::OK);
        drop(measured);
        requests.begin(&Method::OPTIONS, "/x").answered(StatusCode::IM_A_TEAPOT);
        let text = said();
        for line in [
            "registry_http_requests_total{code=\"200\",handler=\"manifest\",method=\"get\"} 1\n",
            "registry_http_requests_total{code=\"0\",handler=\"unknown\",method=\"other\"} 1\n",
            "registry_http_request_duration_seconds_count{handler=\"manifest\",method=\"get\"} 1\n",
            "registry_http_in_flight_requests{handler=\"manifest\"} 0\n",
            "pier_connections 1\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        drop(connected);
        assert!(said().contains("pier_connections 0\n"));
    }
}
