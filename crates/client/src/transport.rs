//! One HTTP exchange: sent once, bounded, watched, and told in the terms of the contract when it fails.
//!
//! What is *not* done here is what a general client would do unasked: no redirects (credentials must not follow them), no retries (one place
//! decides about those), no decompression (a blob is what its digest says), no proxies from the environment (a library reads none), and no
//! HTTP/2: parallel ranges are to be parallel connections, since one connection is what they have to get around.

mod body;
mod failure;
mod files;
mod greeting;
mod reach;
mod tls;

use std::{error::Error as StdError, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use pier_content::{ByteStream, Error, Result};
use pier_sendfile::FileQueue;
use tokio::{
    sync::{OnceCell, OwnedSemaphorePermit},
    time::{error::Elapsed, timeout},
};
use url::Url;

pub use self::tls::Verification;
pub(crate) use self::{
    body::Read,
    failure::{is_stalled, is_unanswered, unreachable},
    greeting::Greeted,
    reach::{Reach, same_origin},
    tls::TlsSettings,
};
use self::{
    body::Stalls,
    failure::{NoAnswer, NoConnection},
    files::FileConnections,
};
use crate::proxies::Proxies;

/// How long an exchange may take where nothing happens.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// From the end of a request to the first byte of its answer.
    pub answer: Duration,
    /// Between two arrivals of a body's bytes. The body as a whole may take as long as it needs: a time limit on a whole blob is what
    /// cancels healthy downloads.
    pub stall: Duration,
}

impl Default for Timeouts {
    /// Ten seconds to connect, a minute for an answer, a minute without a byte.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_mins(1),
            stall: Duration::from_mins(1),
        }
    }
}

/// A request as it goes out.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Payload,
    /// How much longer than usual the answer may take.
    pub(crate) patience: Duration,
}

/// What goes with a request.
pub(crate) enum Payload {
    /// Nothing.
    Empty,
    /// Little; can be sent again.
    Bytes(Bytes),
    /// Much; can be sent once. The headers say how much.
    Stream(ByteStream),
    /// As much, out of a file. What of it somebody took whose answer leads elsewhere is not known, so it is sent once, too.
    File(ReadFile),
}

/// Reads a file for a connection: for the one to which the queue belongs, by which it may stay in the kernel, or for any. It is called again
/// only when nothing of what came of it was read.
pub(crate) type ReadFile = Box<dyn Fn(Option<FileQueue>) -> ByteStream + Send + Sync>;

impl Payload {
    /// The same once more; `None` for what can be sent once.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Bytes(bytes) => Some(Self::Bytes(bytes.clone())),
            Self::Stream(_) | Self::File(_) => None,
        }
    }
}

/// The ways to one registry, and from there to wherever it sends its clients.
///
/// Each is made on first use. Those that speak TLS read the machine's certificates, which costs more than pulling a small image does, and
/// a registry of plain HTTP never needs them.
#[derive(Debug)]
pub(crate) struct Transport {
    /// The registry's name in errors.
    origin: String,
    reach: Reach,
    tls: TlsSettings,
    proxies: Proxies,
    user_agent: String,
    timeouts: Timeouts,
    ways: Ways,
    files: FileConnections,
}

#[derive(Debug, Default)]
struct Ways {
    /// To the registry itself over plain HTTP: trusts nobody.
    plain: OnceCell<reqwest::Client>,
    /// To the registry itself, at whatever address it has, with our certificate if there is one.
    registry: OnceCell<reqwest::Client>,
    /// To where the registry's answers lead: never to addresses of this machine or network, unless the registry is there itself.
    elsewhere: OnceCell<reqwest::Client>,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To the registry that was asked for: its scheme, host and port.
    Registry,
    /// To where an answer of the registry led.
    Elsewhere,
}

/// An answer whose body has not been read.
#[derive(Debug)]
pub(crate) struct Response {
    inner: reqwest::Response,
    origin: String,
    stall: Duration,
    /// The place among the requests to this registry; free again when the body is read or dropped.
    slot: Option<OwnedSemaphorePermit>,
}

impl Transport {
    pub(crate) fn new(
        origin: String,
        reach: Reach,
        tls: &TlsSettings,
        proxies: &Proxies,
        user_agent: &str,
        timeouts: Timeouts,
    ) -> Self {
        let (tls, proxies, user_agent) = (tls.clone(), proxies.clone(), user_agent.to_owned());
        let files = FileConnections::new(user_agent.clone(), timeouts.connect);
        Self { origin, reach, tls, proxies, user_agent, timeouts, ways: Ways::default(), files }
    }

    /// Finds out whether a server on this machine speaks TLS, and tells it nothing.
    ///
    /// # Errors
    /// When nobody answers in any way.
    pub(crate) async fn greet(&self, base: &Url) -> Result<Greeted> {
        let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = base.port_or_known_default().unwrap_or(443);
        greeting::greet(host, port, self.timeouts.connect)
            .await
            .map_err(|error| self.failed("connect", NoConnection(error).into()))
    }

    async fn way(&self, destination: Destination, url: &Url) -> Result<&reqwest::Client> {
        match destination {
            Destination::Registry if url.scheme() == "http" && self.proxies.is_empty() => self.plain().await,
            Destination::Registry => {
                let make = async || self.make(self.tls.apply(self.builder()));
                self.ways.registry.get_or_try_init(make).await
            }
            Destination::Elsewhere => {
                let resolver = reach::Resolver::new(self.reach, self.proxies.clone());
                let make = async || self.make(self.tls.apply_trust(self.builder()).dns_resolver(resolver));
                self.ways.elsewhere.get_or_try_init(make).await
            }
        }
    }

    async fn plain(&self) -> Result<&reqwest::Client> {
        let make = async || self.make(self.builder().tls_certs_only([]));
        self.ways.plain.get_or_try_init(make).await
    }

    fn builder(&self) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(self.timeouts.connect);
        self.proxies.apply(builder)
    }

    /// # Errors
    /// [`Invalid`](Error::Invalid) when certificates cannot be used.
    fn make(&self, builder: reqwest::ClientBuilder) -> Result<reqwest::Client> {
        builder.build().map_err(|error| tls::unusable(&self.origin, &error))
    }

    /// How far away the registry is.
    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// Sends a request, once.
    pub(crate) async fn send(
        &self,
        request: Request,
        destination: Destination,
        operation: &'static str,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<Response> {
        let Request { method, url, headers, body, patience } = request;
        let within = self.timeouts.answer.saturating_add(patience);
        let timeouts = Timeouts { answer: within, ..self.timeouts };
        if let Payload::File(read) = &body
            && self.is_plain(destination, &url)
        {
            let sent = self.files.send(&method, &url, &headers, read, timeouts).await;
            return sent
                .map(|inner| self.answered(inner, slot))
                .map_err(|error| self.failed(operation, error));
        }
        let client = self.way(destination, &url).await?;
        let builder = client.request(method, url).headers(headers);
        let answer = match body {
            Payload::Empty => timeout(within, builder.send()).await,
            Payload::Bytes(bytes) => timeout(within, builder.body(bytes).send()).await,
            Payload::Stream(stream) => send_stream(builder, stream, timeouts).await,
            Payload::File(read) => send_stream(builder, read(None), timeouts).await,
        };
        let response = answer
            .map_err(|_| self.failed(operation, NoAnswer.into()))?
            .map_err(|error| unreachable(&self.origin, operation, error))?;
        Ok(self.answered(response, slot))
    }

    /// Whether a request goes to the registry in the clear, and straight.
    fn is_plain(&self, destination: Destination, url: &Url) -> bool {
        destination == Destination::Registry
            && url.scheme() == "http"
            && self.proxies.on_the_way(url).is_none()
    }

    fn answered(&self, inner: reqwest::Response, slot: Option<OwnedSemaphorePermit>) -> Response {
        Response { inner, origin: self.origin.clone(), stall: self.timeouts.stall, slot }
    }

    fn failed(&self, operation: &'static str, source: Box<dyn StdError + Send + Sync>) -> Error {
        let origin = self.origin.clone();
        Error::Unavailable { origin, operation, retry_after: None, source: Some(source) }
    }
}

impl Response {
    pub(crate) fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// A header's text; `None` as well when it is not text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.inner.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The place among the requests at once, for the next request. The body is not read.
    pub(crate) fn into_slot(mut self) -> Option<OwnedSemaphorePermit> {
        self.slot.take()
    }

    /// Where the answer came from.
    pub(crate) fn url(&self) -> &Url {
        self.inner.url()
    }

    /// The length that the headers announce.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(http::header::CONTENT_LENGTH).and_then(|length| length.parse().ok())
    }
}

async fn send_stream(
    builder: reqwest::RequestBuilder,
    stream: ByteStream,
    timeouts: Timeouts,
) -> Result<reqwest::Result<reqwest::Response>, Elapsed> {
    let stalls = Stalls::default();
    let sending = builder.body(reqwest::Body::wrap_stream(stalls.watch(stream))).send();
    stalls.bound(timeouts, sending).await
}
