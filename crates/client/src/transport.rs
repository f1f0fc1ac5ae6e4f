//! One HTTP exchange: sent once, bounded, watched, and told in the terms of the contract when it fails.
//!
//! What is *not* done here is what a general client would do unasked: no redirects (credentials must not follow them), no retries (one place
//! decides about those), no decompression (a blob is what its digest says), no proxies from the environment (a library reads none), and no
//! HTTP/2: parallel ranges are to be parallel connections, since one connection is what they have to get around.

mod body;
mod failure;
mod reach;
mod tls;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use pier_content::{ByteStream, Error, Result};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use url::Url;

pub use self::tls::{ClientIdentity, TlsSettings, Verification};
pub(crate) use self::{
    body::{Read, Stalls},
    failure::{is_not_tls, unreachable},
    reach::{Reach, same_host, same_origin},
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
}

/// What goes with a request.
pub(crate) enum Payload {
    /// Nothing.
    Empty,
    /// Little; can be sent again.
    Bytes(Bytes),
    /// Much; can be sent once. The headers say how much.
    Stream(ByteStream, Stalls),
}

impl Payload {
    /// The same once more; `None` for what can be sent once.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Bytes(bytes) => Some(Self::Bytes(bytes.clone())),
            Self::Stream(..) => None,
        }
    }
}

/// The ways to one registry, and from there to wherever it sends its clients.
#[derive(Debug)]
pub(crate) struct Transport {
    /// The registry's name in errors.
    origin: String,
    /// To the registry itself, at whatever address it has.
    registry: reqwest::Client,
    /// To where the registry's answers lead: never to addresses of this machine or network, unless the registry is there itself.
    elsewhere: reqwest::Client,
    timeouts: Timeouts,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To the registry that was asked for.
    Registry,
    /// To where an answer of the registry led.
    Elsewhere,
}

/// An answer whose body has not been read.
#[derive(Debug)]
pub(crate) struct Response {
    response: reqwest::Response,
    origin: String,
    stall: Duration,
    /// The place among the requests to this registry; free again when the body is read or dropped.
    slot: Option<OwnedSemaphorePermit>,
}

impl Transport {
    /// # Errors
    /// [`Invalid`](Error::Invalid) when certificates cannot be used.
    pub(crate) fn new(
        origin: String,
        reach: Reach,
        tls: &TlsSettings,
        proxies: &Proxies,
        user_agent: &str,
        timeouts: Timeouts,
    ) -> Result<Self> {
        let builder = || {
            let builder = reqwest::Client::builder()
                .user_agent(user_agent)
                .http1_only()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .no_proxy()
                .tcp_nodelay(true)
                .connect_timeout(timeouts.connect);
            proxies.apply(builder)
        };
        let unusable = |error: reqwest::Error| tls::unusable(&origin, &error);
        let registry = tls.apply(builder(), &origin)?.build().map_err(unusable)?;
        let elsewhere = tls
            .apply_roots(builder(), &origin)?
            .dns_resolver(reach::Resolver::new(reach))
            .build()
            .map_err(unusable)?;
        Ok(Self { origin, registry, elsewhere, timeouts })
    }

    /// Sends a request, once.
    pub(crate) async fn send(
        &self,
        request: Request,
        destination: Destination,
        operation: &'static str,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<Response> {
        let client = match destination {
            Destination::Registry => &self.registry,
            Destination::Elsewhere => &self.elsewhere,
        };
        let Request { method, url, headers, body } = request;
        let builder = client.request(method, url).headers(headers);
        let answer = match body {
            Payload::Empty => timeout(self.timeouts.answer, builder.send()).await,
            Payload::Bytes(bytes) => timeout(self.timeouts.answer, builder.body(bytes).send()).await,
            Payload::Stream(stream, stalls) => {
                let sending = builder.body(reqwest::Body::wrap_stream(stalls.watch(stream))).send();
                stalls.bound(self.timeouts, sending).await
            }
        };
        let response = answer
            .map_err(|_| Error::Unavailable {
                origin: self.origin.clone(),
                operation,
                retry_after: None,
                source: Some("it did not answer in time".into()),
            })?
            .map_err(|error| unreachable(&self.origin, operation, error))?;
        Ok(Response { response, origin: self.origin.clone(), stall: self.timeouts.stall, slot })
    }
}

impl Response {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header's text; `None` as well when it is not text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The place among the requests at once, for the next request. The body is not read.
    pub(crate) fn into_slot(mut self) -> Option<OwnedSemaphorePermit> {
        self.slot.take()
    }

    /// Where the answer came from.
    pub(crate) fn url(&self) -> &Url {
        self.response.url()
    }

    /// The length that the headers announce.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(http::header::CONTENT_LENGTH).and_then(|length| length.parse().ok())
    }
}
