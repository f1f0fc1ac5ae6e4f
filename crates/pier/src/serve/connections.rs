//! Connections: how many, what they speak, and how they end.

use std::{convert::Infallible, fmt, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};
use pier_oci::wire::ErrorCode;
use pier_registry::{FileSocket, Registry, ResponseBody, refusal};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::host_check::HostCheck;
use crate::config::ServeSection;

/// How long a client may take to send the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

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
    stopping: CancellationToken,
}

impl Connections {
    pub(crate) fn new(registry: Registry, address: SocketAddr, section: &ServeSection) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .max_buf_size(BUFFER_BYTES)
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT);
        builder.http2().timer(TokioTimer::new());
        let server =
            Server { registry, builder, hosts: HostCheck::of(address), stopping: CancellationToken::new() };
        Self { tasks: JoinSet::new(), server: Arc::new(server), max: section.max_connections.get() }
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
        // Small answers must not wait for the acknowledgement of what was sent before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let socket = FileSocket::new(stream);
        let registry = self.registry.connection(socket.queue());
        let hosts = self.hosts;
        let service = service_fn(|request: Request<Incoming>| {
            let registry = registry.clone();
            async move {
                let response: Response<ResponseBody> = if hosts.allows(&request) {
                    registry.handle(request).await
                } else {
                    refusal(
                        StatusCode::MISDIRECTED_REQUEST,
                        ErrorCode::Denied,
                        "this registry is for this machine only, and the request names another host",
                    )
                };
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = pin!(self.builder.serve_connection(socket, service));
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            // A client that hangs up is no event for the operator.
            tracing::debug!(error = %error, "a connection ended in an error");
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}
