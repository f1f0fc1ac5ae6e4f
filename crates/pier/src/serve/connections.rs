//! Connections: how many, what they speak, and how they end.

use std::{
    convert::Infallible, fmt, net::SocketAddr, num::NonZeroUsize, pin::pin, sync::Arc, time::Duration,
};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};
use pier_oci::wire::ErrorCode;
use pier_registry::{Connection, FileSocket, Registry, ResponseBody, refusal};
use tokio::{net::TcpStream, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    host_check::HostCheck,
    observed::{ObservedBody, ObservedSocket},
    origin_check,
    pulse::{Pulse, Verdict},
    socket,
};
use crate::config::ServeSection;

#[cfg(test)]
mod tests;

/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;

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
}

/// What all connections share.
struct Server {
    registry: Registry,
    builder: auto::Builder<TokioExecutor>,
    hosts: HostCheck,
    /// How long a client may take nothing of what is sent to it.
    stall: Duration,
    stopping: CancellationToken,
}

impl Connections {
    pub(crate) fn new(
        registry: Registry,
        address: SocketAddr,
        section: &ServeSection,
        max: NonZeroUsize,
    ) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // The pulse bounds heads.
        builder.http1().max_buf_size(BUFFER_BYTES).header_read_timeout(None);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let server = Server {
            registry,
            builder,
            hosts: HostCheck::of(address),
            stall: section.idle_timeout,
            stopping: CancellationToken::new(),
        };
        Self { tasks: JoinSet::new(), server: Arc::new(server), max: max.get() }
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

    /// Serves a connection on a task of its own.
    pub(crate) fn start(&mut self, stream: TcpStream) {
        let server = Arc::clone(&self.server);
        self.tasks.spawn(async move { server.serve(stream).await });
    }

    /// Waits for any connection to end.
    pub(crate) async fn one_ended(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            tracing::error!(%error, "a connection's task failed");
        }
    }

    /// Lets every connection finish the request that it is at, and waits for all of them.
    pub(crate) async fn drain(&mut self) {
        self.server.stopping.cancel();
        while !self.is_empty() {
            self.one_ended().await;
        }
    }
}

impl Server {
    async fn serve(&self, stream: TcpStream) {
        if let Err(error) = socket::prepare(&stream, self.stall) {
            tracing::debug!(%error, "cannot set up a connection");
        }
        let pulse = Arc::new(Pulse::new(self.stall, Instant::now()));
        let socket = FileSocket::new(stream);
        let registry = self.registry.connection(socket.queue());
        let service = service_fn(|request: Request<Incoming>| {
            let (registry, hosts) = (registry.clone(), self.hosts);
            let mut exchange = pulse.begin(request.version(), Instant::now());
            async move {
                let response = answer(&registry, hosts, request).await;
                exchange.answered(Instant::now());
                Ok::<_, Infallible>(response.map(|body| ObservedBody { body, exchange }))
            }
        });
        let socket = ObservedSocket { socket, pulse: Arc::clone(&pulse) };
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

/// What browsers are tricked into asking is refused; the rest is the registry's.
async fn answer(
    registry: &Connection,
    hosts: HostCheck,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    if !hosts.allows(&request) {
        return refusal(
            StatusCode::MISDIRECTED_REQUEST,
            ErrorCode::Denied,
            "this registry is for this machine only, and the request names another host",
        );
    }
    if origin_check::is_foreign_write(&request) {
        return refusal(
            StatusCode::FORBIDDEN,
            ErrorCode::Denied,
            "a page of another site must not change what this registry holds",
        );
    }
    registry.handle(request).await
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}
