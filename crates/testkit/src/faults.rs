//! A faulty proxy: an HTTP/1.1 reverse proxy between a real client and a real registry, which does what its script says.
//!
//! ```
//! use http::StatusCode;
//! use pier_testkit::faults::{Canned, Fault, FaultyProxy, Kind, RetryAfter, Script, When};
//!
//! # use pier_testkit::test_registry::TestRegistry;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let registry = TestRegistry::start().await?;
//! let script = Script::new()
//!     // The first blob breaks off, the second comes whole but wrong; then the registry wants a pause.
//!     .rule(When::get(Kind::Blob).once(), Fault::Truncate { after: 1000 })
//!     .rule(When::get(Kind::Blob).skip(1).once(), Fault::Flip { at: 7 })
//!     .answer(When::get(Kind::Blob).skip(2).once(), Canned::too_many_requests(RetryAfter::Seconds(1)));
//! let proxy = FaultyProxy::start(registry.address(), script).await?;
//! // A client talks to `proxy.address()` now; what it did is in `proxy.requests()`.
//! assert!(proxy.requests().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! | module | is about |
//! |---|---|
//! | `script` | rules: which request is struck, when, how often |
//! | `fault` | what strikes it |
//! | `exchange`, `stream` | one request and its answer, with what struck it |
//! | `wire` | heads and bodies as they are sent, true or not |
//! | `pace` | slow lines |
//! | `log` | what was seen |
//!
//! Bodies stream through; nothing is held as a whole. Each request has a connection of its own to the registry, and each of the client's
//! connections stays as the client has it, so that what a client does with its connections can be counted. Fields are passed on as they
//! came, `Host` too: a registry that writes absolute URLs writes the proxy's.

mod exchange;
mod fault;
mod log;
mod pace;
mod script;
mod stream;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pier_oci::Digest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub use fault::{Canned, Fault, RetryAfter};
pub use log::{Scheme, Seen};
pub use pace::Pace;
pub use script::{Kind, Script, When};

use self::exchange::{Line, Next};
use self::log::Log;
use self::wire::Reader;
use crate::server::{Serve, Server};
use crate::tls::{Authority, Clients};

/// How long [`FaultyProxy::wait_for`] waits. Longer than anything that is waited for takes on two slow cores.
const WAIT: Duration = Duration::from_secs(30);

/// The proxy. It runs until it is dropped, on a thread of its own.
#[derive(Debug)]
pub struct FaultyProxy {
    server: Server,
    state: Arc<State>,
    scheme: &'static str,
}

/// What was waited for has not happened.
#[derive(Debug, thiserror::Error)]
#[error("the proxy did not see what was waited for within {limit:?}; it saw {seen:#?}")]
pub struct NotSeen {
    /// How long it was waited for.
    pub limit: Duration,
    /// What was seen.
    pub seen: Vec<Seen>,
}

/// What the proxy's connections share.
#[derive(Debug)]
struct State {
    upstream: SocketAddr,
    tls: Option<Tls>,
    script: Mutex<Script>,
    log: Log,
    connections: AtomicU64,
    /// Counts the releases: whoever stalls waits for the next.
    releases: watch::Sender<u64>,
}

struct Tls(TlsAcceptor);

impl FaultyProxy {
    /// Starts a proxy in front of a registry that speaks plain HTTP; it takes connections when this returns.
    pub async fn start(upstream: SocketAddr, script: Script) -> io::Result<Self> {
        Self::start_as(upstream, script, None).await
    }

    /// The same behind TLS, with a certificate of this authority for `localhost`, `127.0.0.1` and `::1`.
    pub async fn start_tls(
        upstream: SocketAddr,
        script: Script,
        authority: &Authority,
        clients: Clients,
    ) -> io::Result<Self> {
        let acceptor = TlsAcceptor::from(authority.server(clients).map_err(io::Error::other)?);
        Self::start_as(upstream, script, Some(Tls(acceptor))).await
    }

    async fn start_as(upstream: SocketAddr, script: Script, tls: Option<Tls>) -> io::Result<Self> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(State {
            upstream,
            tls,
            script: Mutex::new(script),
            log: Log::new(),
            connections: AtomicU64::new(0),
            releases: watch::Sender::new(0),
        });
        let server = Server::start("faulty-proxy", Arc::clone(&state)).await?;
        Ok(Self { server, state, scheme })
    }

    /// Where clients connect: `127.0.0.1` and a port of the system's choice.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `http://127.0.0.1:PORT`, or `https:`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address())
    }

    /// What a client calls the image `name` of the registry behind: `127.0.0.1:PORT/name`.
    pub fn image_ref(&self, name: &str) -> String {
        format!("{}/{name}", self.address())
    }

    /// Every request so far, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.state.log.all()
    }

    /// Connections that were taken so far.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Body bytes of this blob that clients were sent, by all requests together. What the kernel holds for a client that has gone counts
    /// as sent.
    pub fn downloaded(&self, digest: &Digest) -> u64 {
        log::downloaded(&self.requests(), digest)
    }

    /// Body bytes of all blobs that clients were sent.
    pub fn downloaded_blobs(&self) -> u64 {
        self.requests().iter().filter(|seen| seen.kind == Kind::Blob).map(|seen| seen.downloaded).sum()
    }

    /// Body bytes of this blob that the registry was given, over all requests of the sessions that ended with it. Sessions that did not
    /// come to their end name no blob; [`uploaded_blobs`](Self::uploaded_blobs) has them.
    pub fn uploaded(&self, digest: &Digest) -> u64 {
        log::uploaded(&self.requests(), digest)
    }

    /// Body bytes that the registry was given in uploads, finished or not.
    pub fn uploaded_blobs(&self) -> u64 {
        self.requests().iter().filter(|seen| seen.kind == Kind::Upload).map(|seen| seen.uploaded).sum()
    }

    /// Goes on with another script, from the next request on. Its rules begin to count anew.
    pub fn set_script(&self, script: Script) {
        *self.state.script.lock().unwrap_or_else(PoisonError::into_inner) = script;
    }

    /// Cuts every connection. None is open when this returns; new ones are taken.
    pub async fn cut_all(&self) {
        self.server.cut_all().await;
    }

    /// Ends every stall: what was held back goes on.
    pub fn release(&self) {
        self.state.releases.send_modify(|releases| *releases += 1);
    }

    /// Waits until what was seen is so; called at once and whenever something has changed.
    ///
    /// # Errors
    /// When it is not so within 30 seconds.
    pub async fn wait_for(&self, is_so: impl FnMut(&[Seen]) -> bool) -> Result<Vec<Seen>, NotSeen> {
        let waited = tokio::time::timeout(WAIT, self.state.log.until(is_so)).await;
        let seen = self.requests();
        waited.map(|()| seen.clone()).map_err(|_| NotSeen { limit: WAIT, seen })
    }
}

impl Serve for State {
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let pace = self.script.lock().unwrap_or_else(PoisonError::into_inner).pace;
        tokio::time::sleep(pace.delay).await;
        match &self.tls {
            None => self.exchanges(stream, number).await,
            Some(Tls(acceptor)) => {
                // A client that does not trust the certificate, or has none itself, says so itself.
                if let Ok(stream) = acceptor.accept(stream).await {
                    self.exchanges(stream, number).await;
                }
            }
        }
    }
}

impl State {
    /// Exchanges until either side has enough.
    async fn exchanges(&self, stream: impl AsyncRead + AsyncWrite + Send, number: u64) {
        let (reader, writer) = tokio::io::split(stream);
        let mut line = Line::new(Reader::new(reader), writer, number);
        loop {
            match line.exchange(self).await {
                Ok(Next::Another) => {}
                Ok(Next::Close) => return line.close().await,
                // An error is a side that is gone: the other one is told by the connection's end.
                Ok(Next::Cut) | Err(_) => return,
            }
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(…)")
    }
}
