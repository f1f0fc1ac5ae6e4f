//! Requests over plain HTTP whose bodies the kernel sends out of files.
//!
//! reqwest takes no socket of ours, so these have connections of their own beside its pool. They are treated as it treats its own: addresses of
//! both families are tried, connecting is bounded, a peer that is gone is noticed, what nobody uses for long is closed, and a request of which
//! anything was sent is not sent again.

#[cfg(test)]
mod tests;

use std::{
    error::Error as StdError,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::StreamBody;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::client::legacy::connect::HttpConnector;
use pier_content::Result as ContentResult;
use pier_sendfile::{FileQueue, FileSocket};
use reqwest::ResponseBuilderExt as _;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use tower_service::Service as _;
use url::Url;

use super::{
    ReadFile, Timeouts,
    body::Stalls,
    failure::{NoAnswer, NoConnection},
};

/// Connections that are kept for the next request.
const KEPT: usize = 16;

/// For how long. What is on the way forgets connections on which nothing happens, and tells nobody.
const KEPT_FOR: Duration = Duration::from_secs(90);

/// After how much silence a peer is asked whether it is there, and how long an answer, or word that bytes have arrived, may take.
const PROBED_AFTER: Duration = Duration::from_secs(15);
const GONE_AFTER: Duration = Duration::from_secs(30);

/// Why nothing came of a request.
type Failure = Box<dyn StdError + Send + Sync>;

/// The connections to one registry, at one host and port, on which files are sent.
#[derive(Debug)]
pub(super) struct FileConnections {
    connector: HttpConnector,
    user_agent: String,
    connect: Duration,
    idle: Arc<Idle>,
}

/// Connections without a request.
#[derive(Debug, Default)]
struct Idle(Mutex<Vec<(Connection, Instant)>>);

/// A connection, open for as long as this lives.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Outgoing>,
    queue: FileQueue,
    /// Moves its bytes.
    #[cfg_attr(not(test), expect(dead_code, reason = "it ends when it is dropped"))]
    driver: AbortOnDropHandle<()>,
}

type Outgoing = StreamBody<BoxStream<'static, ContentResult<Frame<Bytes>>>>;

impl FileConnections {
    pub(super) fn new(user_agent: String, connect: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect));
        connector.set_keepalive(Some(PROBED_AFTER));
        connector.set_keepalive_interval(Some(PROBED_AFTER));
        connector.set_tcp_user_timeout(Some(GONE_AFTER));
        Self { connector, user_agent, connect, idle: Arc::default() }
    }

    /// Sends a request to a URL of plain HTTP. The headers say how long the body is.
    pub(super) async fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        read: &ReadFile,
        timeouts: Timeouts,
    ) -> Result<reqwest::Response, Failure> {
        let request = self.request(method, url, headers)?;
        loop {
            let kept = self.idle.take();
            let is_new = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect(url).await.map_err(NoConnection)?,
            };
            let stalls = Stalls::of(connection.queue.clone());
            let stream = stalls.watch(read(Some(connection.queue.clone())));
            let request = request.clone().map(|()| StreamBody::new(stream.map_ok(Frame::data).boxed()));
            let sending = connection.sender.try_send_request(request);
            let mut error = match stalls.bound(timeouts, sending).await.map_err(|_| NoAnswer)? {
                Ok(answer) => return Ok(self.answered(answer, url, connection)?),
                Err(error) => error,
            };
            // The other side may close a connection while nobody uses it. Then nothing is sent, so this is no second attempt.
            if is_new || error.take_message().is_none() {
                return Err(error.into_error().into());
            }
        }
    }

    fn request(&self, method: &Method, url: &Url, headers: &HeaderMap) -> Result<Request<()>, Failure> {
        let mut request = Request::new(());
        *request.method_mut() = method.clone();
        *request.uri_mut() = url[url::Position::BeforePath..url::Position::AfterQuery].parse()?;
        let sent = request.headers_mut();
        sent.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        sent.insert(header::USER_AGENT, self.user_agent.parse()?);
        sent.insert(header::HOST, url[url::Position::BeforeHost..url::Position::BeforePath].parse()?);
        sent.extend(headers.clone());
        Ok(request)
    }

    async fn connect(&self, url: &Url) -> io::Result<Connection> {
        let uri: Uri = url[..url::Position::BeforePath].parse().map_err(io::Error::other)?;
        let mut connector = self.connector.clone();
        let connecting = async {
            poll_fn(|cx| connector.poll_ready(cx)).await?;
            connector.call(uri).await
        };
        let stream = timeout(self.connect, connecting)
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
            .map_err(io::Error::other)?;
        let socket = FileSocket::new(stream.into_inner());
        let queue = socket.queue();
        let (sender, connection) = http1::handshake(socket).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                // Whoever waits for an answer is told; this one may have had nobody who does.
                tracing::debug!(error = &error as &dyn StdError, "a connection ended in an error");
            }
        });
        Ok(Connection { sender, queue, driver: AbortOnDropHandle::new(driver) })
    }

    fn answered(
        &self,
        answer: http::Response<Incoming>,
        url: &Url,
        connection: Connection,
    ) -> Result<reqwest::Response, http::Error> {
        let (parts, incoming) = answer.into_parts();
        // A refusal can come before the body is sent, which then is of no use; the connection ends with the answer.
        let mut body = Answer { incoming, connection: Some(connection), home: None };
        if parts.status.is_success() {
            body.home = Some(Arc::clone(&self.idle));
        }
        body.keep_at_end();
        let mut response = http::Response::builder().url(url.clone()).body(reqwest::Body::wrap(body))?;
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        Ok(response.into())
    }
}

impl Idle {
    /// The last one that waits for a request. A connection whose answer has just been read does not at once.
    fn take(&self) -> Option<Connection> {
        let mut kept = self.lock();
        kept.retain(|(connection, since)| !connection.sender.is_closed() && since.elapsed() < KEPT_FOR);
        let last = kept.iter().rposition(|(connection, _)| connection.sender.is_ready())?;
        Some(kept.remove(last).0)
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.lock();
        if kept.len() < KEPT {
            kept.push((connection, Instant::now()));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Connection, Instant)>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer, and the connection that it comes on.
struct Answer {
    incoming: Incoming,
    connection: Option<Connection>,
    /// Where the connection goes when the body is read.
    home: Option<Arc<Idle>>,
}

impl Answer {
    fn keep_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let (Some(home), Some(connection)) = (&self.home, self.connection.take())
        {
            home.keep(connection);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        self.keep_at_end();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
