//! An address of its own for what monitoring asks, in plain HTTP: for networks where only Prometheus gets that far.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use pier_oci::wire::ErrorCode;
use pier_registry::{ResponseBody, refusal};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use super::{Monitor, Question};
use crate::serve::{
    Listener,
    request_id::{REQUEST_ID, RequestIds},
};

/// Connections at once: a few of Prometheus, of a load balancer and of people.
const MAX_CONNECTIONS: usize = 32;

/// How long a request's head may take, and a whole connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_LIMIT: Duration = Duration::from_mins(10);

/// Answers for as long as it is polled. Its connections end with it.
pub(in crate::serve) async fn serve(listener: Arc<Listener>, monitor: Monitor, ids: Arc<RequestIds>) {
    let mut connections = JoinSet::new();
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let builder = Arc::new(builder);
    loop {
        tokio::select! {
            (stream, _) = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                connections.spawn(converse(Arc::clone(&builder), stream, monitor.clone(), Arc::clone(&ids)));
            }
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a monitoring connection's task failed");
                }
            }
        }
    }
}

async fn converse(builder: Arc<http1::Builder>, stream: TcpStream, monitor: Monitor, ids: Arc<RequestIds>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (monitor, ids) = (monitor.clone(), Arc::clone(&ids));
        async move { Ok::<_, Infallible>(answer(&monitor, &ids, request).await) }
    });
    // Whoever asks over and over comes back on a new connection.
    let conversation = timeout(CONNECTION_LIMIT, builder.serve_connection(TokioIo::new(stream), service));
    if let Ok(Err(error)) = conversation.await {
        tracing::debug!(%error, "a connection for monitoring ended in an error");
    }
}

async fn answer(
    monitor: &Monitor,
    ids: &RequestIds,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let id = ids.name(request.headers_mut());
    let mut response = match Question::of(request.method(), request.uri().path()) {
        Some(question) => monitor.answer(question, &id).await,
        None => {
            let status = StatusCode::NOT_FOUND;
            tracing::debug!(id = id.to_str().ok(), status = status.as_u16(), "refused");
            let message = "here are only /livez, /readyz and /metrics; the registry has another address";
            refusal(status, ErrorCode::Unsupported, message)
        }
    };
    response.headers_mut().insert(REQUEST_ID, id);
    response
}
