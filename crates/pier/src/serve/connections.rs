//! Connections: how many, what they speak, and how they end.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use http::{Request, Response, StatusCode};
use hyper::{
    body::Incoming,
    rt::{Executor, Read, Write},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use pier_oci::wire::ErrorCode;
use pier_registry::{Connection, FileSocket, Refusal, Registry, ResponseBody};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    access::Access,
    crowd::{self, Crowd},
    host_check::HostCheck,
    monitor::{Measured, Monitor, Question},
    observed::{CountedBody, ObservedBody, ObservedSocket},
    origin_check,
    pulse::{Patience, Pulse, Verdict},
    request_id::{REQUEST_ID, RequestIds},
    socket,
    tls::Tls,
    watched::Reload,
};
use crate::config::ServeSection;

#[cfg(test)]
mod tests;

/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;

/// Header fields of one request (HTTP/1). No client sends a third of it.
const MAX_HEADERS: usize = 100;

/// Bytes of one request's head over HTTP/2, as RFC 9113 counts them. Over HTTP/1 it is what one read takes.
const HEAD_BYTES: u32 = 32 << 10;

/// Streams that a client may begin and reset before they were looked at (CVE-2023-44487), and streams that it may break in other ways,
/// before the connection ends.
const MAX_RESET_STREAMS: usize = 32;
const MAX_ERROR_STREAMS: usize = 256;

/// Bytes of uploads that one HTTP/2 connection may have on the way: 4 MiB at 10 milliseconds are 400 MB a second, where the protocol's own
/// 64 KiB are 6. All streams of a connection share them, so this is also what a client can make this process hold.
const WINDOW_BYTES: u32 = 4 << 20;

/// The largest frame that is taken over HTTP/2, and how much of an answer waits for the socket.
const FRAME_BYTES: u32 = 256 << 10;
const SEND_BYTES: usize = 1 << 20;

/// How often an HTTP/2 client is asked whether it is there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes that one HTTP/1 connection reads at once. Larger ones cost memory for each upload (a third more at 16 of them)
/// and save no CPU.
const BUFFER_BYTES: usize = 128 << 10;

/// The connections that are open, each a task that is owned here.
#[derive(Debug)]
pub(crate) struct Connections {
    tasks: JoinSet<()>,
    server: Arc<Server>,
    max: usize,
    crowd: Crowd,
}

/// How clients get in.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    /// Without it, plain HTTP is spoken.
    pub(crate) tls: Option<Tls>,
    pub(crate) access: Access,
}

impl Entrance {
    /// What of it is kept true to files.
    pub(super) fn watched(&self) -> Vec<Arc<dyn Reload>> {
        self.tls.iter().map(Tls::watched).chain(self.access.watched()).collect()
    }
}

/// What is served, what counts it, and what names each request.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) registry: Registry,
    pub(crate) monitor: Monitor,
    pub(super) ids: Arc<RequestIds>,
}

/// The tasks of requests over HTTP/2, each of which has one beside its connection's.
///
/// One whose connection is cut is told, and drops its handler; what the handler does on a blocking thread, or in a task of the registry's
/// own, goes on as it does over HTTP/1. They are counted, so that a server that stops waits for the last of them.
#[derive(Clone, Debug, Default)]
struct Streams(TaskTracker);

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

/// What all connections share.
struct Server {
    served: Served,
    builder: auto::Builder<Streams>,
    streams: Streams,
    tls: Option<Tls>,
    guard: Guard,
    patience: Patience,
    stopping: CancellationToken,
}

/// What a request has to pass.
#[derive(Clone, Debug)]
struct Guard {
    hosts: HostCheck,
    access: Access,
}

impl Connections {
    pub(crate) fn new(
        served: Served,
        address: SocketAddr,
        entrance: Entrance,
        section: &ServeSection,
        max: NonZeroUsize,
    ) -> Self {
        let streams = Streams::default();
        let mut builder = auto::Builder::new(streams.clone());
        // The pulse bounds heads in time; the buffer bounds them in bytes.
        builder.http1().max_buf_size(BUFFER_BYTES).max_headers(MAX_HEADERS).header_read_timeout(None);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(HEAD_BYTES)
            .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
            .max_local_error_reset_streams(MAX_ERROR_STREAMS)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .max_send_buf_size(SEND_BYTES)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let Entrance { tls, access } = entrance;
        let is_guarded = tls.is_some() || access.is_for_users_only();
        let hosts = if is_guarded { HostCheck::Off } else { HostCheck::of(address) };
        let server = Server {
            served,
            builder,
            streams,
            tls,
            guard: Guard { hosts, access },
            patience: Patience {
                head: section.head_timeout,
                keep_alive: section.keep_alive,
                stall: section.idle_timeout,
            },
            stopping: CancellationToken::new(),
        };
        // One host alone must not keep all others out.
        let of_one = section.max_connections_per_address.map_or(max.get().div_ceil(2), NonZeroUsize::get);
        let crowd = Crowd::new(of_one);
        Self { tasks: JoinSet::new(), server: Arc::new(server), max: max.get(), crowd }
    }

    /// Whether another connection may be taken. Those that wait meanwhile wait in the kernel.
    pub(crate) fn has_room(&self) -> bool {
        self.tasks.len() < self.max
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Serves a connection on a task of its own, or closes it when its host has too many.
    pub(crate) fn start(&mut self, (stream, peer): (TcpStream, SocketAddr)) {
        let Some(seat) = self.crowd.enter(peer.ip()) else {
            tracing::debug!(%peer, "a connection is closed: its host has too many");
            return;
        };
        let server = Arc::clone(&self.server);
        self.tasks.spawn(async move {
            let counted = server.served.monitor.connection();
            server.serve(stream, peer.ip()).await;
            // Both are the connection's for as long as it lasts.
            drop((seat, counted));
        });
    }

    /// Waits for any connection to end.
    pub(crate) async fn one_ended(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            tracing::error!(%error, "a connection's task failed");
        }
    }

    /// Lets every connection finish the request that it is at, and waits for all of them, and for what connections that were cut have left
    /// in hand.
    pub(crate) async fn drain(&mut self) {
        self.server.stopping.cancel();
        while !self.is_empty() {
            self.one_ended().await;
        }
        let Streams(streams) = &self.server.streams;
        streams.close();
        streams.wait().await;
    }
}

impl Server {
    async fn serve(self: &Arc<Self>, stream: TcpStream, peer: IpAddr) {
        if let Err(error) = socket::prepare(&stream, self.patience.stall) {
            tracing::debug!(%error, "cannot set up a connection");
        }
        let pulse = Arc::new(Pulse::new(self.patience, Instant::now()));
        let Some(tls) = &self.tls else {
            let socket = FileSocket::new(stream);
            let registry = self.served.registry.connection(crowd::host(peer)).sending_files(socket.queue());
            let socket = ObservedSocket { socket, pulse: Arc::clone(&pulse) };
            return self.converse(socket, pulse, registry, peer).await;
        };
        let observe = |stream| ObservedSocket { socket: TokioIo::new(stream), pulse: Arc::clone(&pulse) };
        let handshake = timeout(self.patience.head, tls.accept(stream, observe));
        let outcome = tokio::select! {
            outcome = handshake => outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            // Nothing was asked yet.
            () = self.stopping.cancelled() => return,
        };
        match outcome {
            Ok(socket) => {
                self.converse(socket, pulse, self.served.registry.connection(crowd::host(peer)), peer).await;
            }
            // Port scanners do this all day.
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        }
    }

    /// Answers the requests of a connection until it ends, or is to be ended.
    async fn converse(
        self: &Arc<Self>,
        socket: impl Read + Write + Unpin + Send + 'static,
        pulse: Arc<Pulse>,
        registry: Connection,
        peer: IpAddr,
    ) {
        let service = service_fn(|request: Request<Incoming>| {
            let (registry, server) = (registry.clone(), Arc::clone(self));
            let mut exchange = pulse.begin(request.version(), Instant::now());
            async move {
                let (response, measured) = server.answer(&registry, peer, request).await;
                exchange.answered(Instant::now());
                Ok::<_, Infallible>(response.map(|body| ObservedBody::new(body, exchange, measured)))
            }
        });
        let mut connection = pin!(self.builder.serve_connection(socket, service));
        let mut checked = pin!(tokio::time::sleep(pulse.interval()));
        let mut is_stopping = false;
        let mut is_idle = false;
        loop {
            tokio::select! {
                outcome = connection.as_mut() => {
                    if let Err(error) = outcome {
                        // A client that hangs up is no event for the operator.
                        tracing::debug!(%error, "a connection ended in an error");
                    }
                    return;
                }
                () = self.stopping.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = checked.as_mut() => match pulse.judge(Instant::now()) {
                    Verdict::Alive { until } => checked.as_mut().reset(until),
                    // The client is told, and has a little time for a request that it sent before it knew.
                    Verdict::Idle if !is_idle => {
                        is_idle = true;
                        connection.as_mut().graceful_shutdown();
                        checked.as_mut().reset(Instant::now() + pulse.interval());
                    }
                    Verdict::Idle => return,
                    Verdict::Stuck { why } => {
                        tracing::debug!(why, "a connection is cut");
                        return;
                    }
                },
            }
        }
    }
}

impl Server {
    /// Answers a request under a name, and counts it.
    async fn answer(
        &self,
        registry: &Connection,
        peer: IpAddr,
        mut request: Request<Incoming>,
    ) -> (Response<ResponseBody>, Measured) {
        let Served { registry: whole, monitor, ids } = &self.served;
        let measured = monitor.request(request.method(), request.uri().path());
        let name = ids.name(request.headers_mut());
        let question = Question::of(request.method(), request.uri().path());
        let mut response = match self.admit(question, peer, &request).await {
            Ok(()) => match question {
                Some(question) => monitor.answer(question, &name).await,
                None => registry.handle(request.map(|body| CountedBody::new(body, &measured))).await,
            },
            Err(refusal) => {
                whole.refuse(request.map(|body| CountedBody::new(body, &measured)), refusal).await
            }
        };
        response.headers_mut().insert(REQUEST_ID, name);
        measured.answered(response.status());
        (response, measured)
    }

    /// Lets a request in, or says why not.
    async fn admit(
        &self,
        question: Option<Question>,
        peer: IpAddr,
        request: &Request<Incoming>,
    ) -> Result<(), Refusal> {
        if matches!(question, Some(Question::Alive | Question::Ready)) {
            // Whoever checks on a server has no account, and comes by its address.
            return Ok(());
        }
        if !self.guard.hosts.allows(request) {
            return Err(Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                ErrorCode::Denied,
                "this registry is for this machine only, and the request names another host",
            ));
        }
        if origin_check::is_foreign_write(request) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                ErrorCode::Denied,
                "a page of another site must not change what this registry holds",
            ));
        }
        self.guard.access.admit(request, peer).await.map_err(|denied| {
            self.served.monitor.denied(denied);
            denied.refusal()
        })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("tls", &self.tls).field("guard", &self.guard).finish_non_exhaustive()
    }
}
