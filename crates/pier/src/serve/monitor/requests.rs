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

use crate::serve::access::Denied;

/// What a request is about. Its number is its place in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handler {
    Base,
    Blob,
    BlobUpload,
    Catalog,
    Extensions,
    Manifest,
    Monitoring,
    Referrers,
    Tags,
    Unknown,
}

/// What a request does. Its number is its place in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Delete,
    Get,
    Head,
    Patch,
    Post,
    Put,
    Other,
}

/// Statuses that are counted each for itself. The last one stands for all others.
const CODES: [u16; 29] = [
    200, 201, 202, 204, 206, 304, 307, 400, 401, 403, 404, 405, 408, 409, 412, 413, 414, 416, 421, 429, 431,
    499, 500, 501, 502, 503, 504, 507, 0,
];

/// Why logins fail, as it stands in a label.
const UNREADABLE: &str = "unreadable";
const WRONG: &str = "wrong";
const TOO_MANY: &str = "too_many";

/// Upper ends of durations, in seconds: from a manifest out of memory to a layer over a slow line.
const SECONDS: [f64; 13] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// Login failures, by why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    reason: &'static str,
}

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

/// Where bytes are counted.
pub(in crate::serve) type ByteCounter = Counter;

/// Where counters are made.
#[derive(Clone, Debug)]
struct Families {
    answered: Family<Answered, Counter>,
    durations: Durations,
    received: Family<Asked, Counter>,
    sent: Family<Asked, Counter>,
}

/// The counters of all requests.
#[derive(Debug)]
pub(super) struct Requests {
    in_flight: Family<Handled, Gauge>,
    connections: Gauge,
    login_failures: Family<Failed, Counter>,
    handles: Arc<Handles>,
}

/// Counters that have been used, by their places.
#[derive(Debug)]
struct Handles {
    answered: Vec<OnceLock<Counter>>,
    asked: Vec<OnceLock<OfAsked>>,
    in_flight: Vec<Gauge>,
    /// For a counter's first use.
    families: Families,
}

/// What is counted of one kind of request.
#[derive(Debug)]
struct OfAsked {
    durations: Histogram,
    received: Counter,
    sent: Counter,
}

/// A request that is being answered. Its drop is the end of the answer.
#[derive(Debug)]
pub(crate) struct Measured {
    handles: Arc<Handles>,
    handler: Handler,
    verb: Verb,
    begun: Instant,
}

/// A connection that is open. Its drop is its end.
#[derive(Debug)]
pub(crate) struct Connected(Gauge);

impl Handler {
    const ALL: [Self; 10] = [
        Self::Base,
        Self::Blob,
        Self::BlobUpload,
        Self::Catalog,
        Self::Extensions,
        Self::Manifest,
        Self::Monitoring,
        Self::Referrers,
        Self::Tags,
        Self::Unknown,
    ];

    /// What a path is about. Only for counting, and asked of every request, so it is read loosely and nothing of it is copied: from its
    /// end, as the registry reads it, which is the one who says what is a name, a tag or a digest.
    fn of(path: &str) -> Self {
        let Some(rest) = path.strip_prefix("/v2/") else {
            return match path {
                "/v2" => Self::Base,
                "/livez" | "/readyz" | "/metrics" => Self::Monitoring,
                _ => Self::Unknown,
            };
        };
        match rest {
            "" => return Self::Base,
            "_catalog" => return Self::Catalog,
            "_oci/ext/discover" => return Self::Extensions,
            _ => {}
        }
        let mut parts = rest.strip_suffix('/').unwrap_or(rest).rsplit('/');
        match (parts.next(), parts.next()) {
            (Some("list"), Some("tags")) => Self::Tags,
            (_, Some("manifests")) => Self::Manifest,
            (_, Some("referrers")) => Self::Referrers,
            (_, Some("uploads")) | (Some("uploads"), Some("blobs")) => Self::BlobUpload,
            (_, Some("blobs")) => Self::Blob,
            _ => Self::Unknown,
        }
    }

    /// As it stands in a label.
    fn label(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Blob => "blob",
            Self::BlobUpload => "blob_upload",
            Self::Catalog => "catalog",
            Self::Extensions => "extensions",
            Self::Manifest => "manifest",
            Self::Monitoring => "monitoring",
            Self::Referrers => "referrers",
            Self::Tags => "tags",
            Self::Unknown => "unknown",
        }
    }
}

impl Verb {
    /// How many there are.
    const COUNT: usize = Self::Other as usize + 1;

    fn of(method: &Method) -> Self {
        match *method {
            Method::DELETE => Self::Delete,
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::PATCH => Self::Patch,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            _ => Self::Other,
        }
    }

    /// As it stands in a label.
    fn label(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Get => "get",
            Self::Head => "head",
            Self::Patch => "patch",
            Self::Post => "post",
            Self::Put => "put",
            Self::Other => "other",
        }
    }
}

impl Default for Requests {
    fn default() -> Self {
        let durations: Durations = Family::new_with_constructor(|| Histogram::new(SECONDS));
        let families = Families {
            answered: Family::default(),
            durations,
            received: Family::default(),
            sent: Family::default(),
        };
        let in_flight = Family::<Handled, Gauge>::default();
        let kinds = Handler::ALL.len() * Verb::COUNT;
        let handles = Handles {
            answered: std::iter::repeat_with(OnceLock::new).take(kinds * CODES.len()).collect(),
            asked: std::iter::repeat_with(OnceLock::new).take(kinds).collect(),
            in_flight: Handler::ALL
                .map(|handler| in_flight.get_or_create(&Handled { handler: handler.label() }).clone())
                .to_vec(),
            families,
        };
        let login_failures = Family::<Failed, Counter>::default();
        // There before the first: to see something grow, Prometheus has to have seen it before.
        for reason in [UNREADABLE, WRONG, TOO_MANY] {
            drop(login_failures.get_or_create(&Failed { reason }));
        }
        Self { in_flight, connections: Gauge::default(), login_failures, handles: Arc::new(handles) }
    }
}

impl Requests {
    /// Puts the counters where they are encoded. Where CNCF's distribution has the same, so are the names, so that its dashboards go on
    /// working. Its sizes are histograms, which cost more than a small answer should for what is a sum in the end.
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
        registry.register("pier_http_request_bytes", "Bytes of requests' bodies", families.received);
        registry.register("pier_http_response_bytes", "Bytes of answers' bodies", families.sent);
        registry.register(
            "pier_login_failures",
            "Requests that were refused for what they said to log in with",
            self.login_failures.clone(),
        );
        registry.register("pier_connections", "Connections that are open", self.connections.clone());
    }

    pub(super) fn connection(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }

    /// Counts somebody who was not let in. To be asked to log in is no failure: so begins every client.
    pub(super) fn denied(&self, denied: Denied) {
        let reason = match denied {
            Denied::LoginNeeded => return,
            Denied::Unreadable(_) => UNREADABLE,
            Denied::Wrong => WRONG,
            Denied::TooMany { .. } => TOO_MANY,
        };
        self.login_failures.get_or_create(&Failed { reason }).inc();
    }

    pub(super) fn begin(&self, method: &Method, path: &str) -> Measured {
        let (handler, verb) = (Handler::of(path), Verb::of(method));
        let measured = Measured { handles: Arc::clone(&self.handles), handler, verb, begun: Instant::now() };
        measured.handles.in_flight[handler as usize].inc();
        measured
    }
}

impl Measured {
    /// The answer has begun.
    pub(crate) fn answered(&self, status: StatusCode) {
        let status = status.as_u16();
        let code = CODES.iter().position(|code| *code == status).unwrap_or(CODES.len() - 1);
        let first = || {
            let (handler, method) = (self.handler.label(), self.verb.label());
            self.handles
                .families
                .answered
                .get_or_create(&Answered { code: CODES[code], handler, method })
                .clone()
        };
        self.handles.answered[self.place() * CODES.len() + code].get_or_init(first).inc();
    }

    /// Where the bytes of its body are counted as they come.
    pub(in crate::serve) fn received(&self) -> ByteCounter {
        self.of_asked().received.clone()
    }

    /// So many bytes of the answer's body were given to the connection.
    pub(in crate::serve) fn sent(&self, bytes: u64) {
        self.of_asked().sent.inc_by(bytes);
    }

    fn of_asked(&self) -> &OfAsked {
        self.handles.asked[self.place()].get_or_init(|| {
            let families = &self.handles.families;
            let asked = Asked { handler: self.handler.label(), method: self.verb.label() };
            OfAsked {
                durations: families.durations.get_or_create(&asked).clone(),
                received: families.received.get_or_create(&asked).clone(),
                sent: families.sent.get_or_create(&asked).clone(),
            }
        })
    }

    /// Of what is asked, in tables.
    fn place(&self) -> usize {
        self.handler as usize * Verb::COUNT + self.verb as usize
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.handles.in_flight[self.handler as usize].dec();
        self.of_asked().durations.observe(self.begun.elapsed().as_secs_f64());
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn paths_are_counted_as_what_they_are_about() {
        for (path, handler) in [
            ("/v2/", Handler::Base),
            ("/v2", Handler::Base),
            ("/v2/a/b/blobs/sha256:12", Handler::Blob),
            ("/v2/a/blobs/uploads/", Handler::BlobUpload),
            ("/v2/a/blobs/uploads", Handler::BlobUpload),
            ("/v2/a/blobs/uploads/0190", Handler::BlobUpload),
            ("/v2/_catalog", Handler::Catalog),
            ("/v2/_oci/ext/discover", Handler::Extensions),
            ("/v2/a/manifests/latest", Handler::Manifest),
            ("/v2/a/manifests/list", Handler::Manifest),
            ("/v2/a/referrers/sha256:12", Handler::Referrers),
            ("/v2/a/tags/list", Handler::Tags),
            ("/livez", Handler::Monitoring),
            ("/v2/x", Handler::Unknown),
            ("/", Handler::Unknown),
        ] {
            assert_eq!(Handler::of(path), handler, "{path}");
        }
        // What a handler's number stands for.
        assert!(Handler::ALL.iter().enumerate().all(|(place, handler)| *handler as usize == place));
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
        measured.received().inc_by(7);
        measured.sent(1000);
        measured.sent(24);
        drop(measured);
        for denied in [Denied::LoginNeeded, Denied::Wrong, Denied::Wrong, Denied::TooMany { seconds: 1 }] {
            requests.denied(denied);
        }
        requests.begin(&Method::OPTIONS, "/x").answered(StatusCode::IM_A_TEAPOT);
        let text = said();
        for line in [
            "registry_http_requests_total{code=\"200\",handler=\"manifest\",method=\"get\"} 1\n",
            "registry_http_requests_total{code=\"0\",handler=\"unknown\",method=\"other\"} 1\n",
            "registry_http_request_duration_seconds_count{handler=\"manifest\",method=\"get\"} 1\n",
            "registry_http_in_flight_requests{handler=\"manifest\"} 0\n",
            "pier_connections 1\n",
            "pier_http_request_bytes_total{handler=\"manifest\",method=\"get\"} 7\n",
            "pier_http_response_bytes_total{handler=\"manifest\",method=\"get\"} 1024\n",
            "pier_login_failures_total{reason=\"wrong\"} 2\n",
            "pier_login_failures_total{reason=\"too_many\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        drop(connected);
        assert!(said().contains("pier_connections 0\n"));
    }
}
