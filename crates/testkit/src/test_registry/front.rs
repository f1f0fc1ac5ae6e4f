//! Connections of a test registry: TLS if asked, and who may come in.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use pier_oci::wire::ErrorCode;
use pier_registry::{FileSocket, Registry, ResponseBody, refusal};
use tokio::net::TcpStream;

use crate::server::Serve;
#[cfg(feature = "tls")]
use crate::tls::{Authority, Clients, Error};

/// What clients are asked to log in with (RFC 7617).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"pier-testkit\"");

/// What answers the connections.
pub(super) struct Api {
    registry: Registry,
    access: Access,
    #[cfg(feature = "tls")]
    tls: Option<tokio_rustls::TlsAcceptor>,
}

/// Who may come in: everybody when nobody is named.
pub(super) struct Access(Vec<Account>);

/// Somebody who may come in.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) password: String,
    pub(super) rights: Rights,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    All,
    Read,
}

impl Access {
    pub(super) fn of(accounts: Vec<Account>) -> Self {
        Self(accounts)
    }

    /// What a request that is not let in is told.
    fn refuse<B>(&self, request: &Request<B>) -> Option<Response<ResponseBody>> {
        if self.0.is_empty() {
            return None;
        }
        let Some(account) =
            request.headers().get(header::AUTHORIZATION).and_then(|value| self.account(value))
        else {
            let message = "log in with the name and the password that the test gave this registry";
            let mut response = refusal(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
            return Some(response);
        };
        if account.rights == Rights::All || request.method().is_safe() {
            return None;
        }
        Some(refusal(StatusCode::FORBIDDEN, ErrorCode::Denied, "this user may only read"))
    }

    fn account(&self, authorization: &HeaderValue) -> Option<&Account> {
        let (scheme, credentials) = authorization.to_str().ok()?.split_once(' ')?;
        let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        let is_it = |account: &&Account| account.user == user && account.password == password;
        self.0.iter().filter(|_| scheme.eq_ignore_ascii_case("basic")).find(is_it)
    }
}

impl Api {
    pub(super) fn new(registry: Registry, access: Access) -> Self {
        Self {
            registry,
            access,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn speaking_tls(self, authority: &Authority) -> Result<Self, Error> {
        Ok(Self { tls: Some(authority.server(Clients::Anyone)?.into()), ..self })
    }

    /// Answers a request that is let in.
    async fn answer<F>(
        &self,
        request: Request<Incoming>,
        handle: impl FnOnce(Request<Incoming>) -> F,
    ) -> Result<Response<ResponseBody>, Infallible>
    where
        F: Future<Output = Response<ResponseBody>>,
    {
        match self.access.refuse(&request) {
            Some(response) => Ok(response),
            None => Ok(handle(request).await),
        }
    }
}

impl Serve for Api {
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        // What goes wrong with a connection its client sees too, and the test is the client.
        #[cfg(feature = "tls")]
        if let Some(acceptor) = &self.tls {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request| {
                let (api, registry) = (Arc::clone(&self), self.registry.clone());
                async move { api.answer(request, async |request| registry.handle(request).await).await }
            });
            let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
            return;
        }
        let socket = FileSocket::new(stream);
        let connection = self.registry.connection(None).sending_files(socket.queue());
        let service = service_fn(|request| {
            let (api, connection) = (Arc::clone(&self), connection.clone());
            async move { api.answer(request, async |request| connection.handle(request).await).await }
        });
        let _ = builder.serve_connection(socket, service).await;
    }

    async fn settled(&self) {
        self.registry.settled().await;
    }
}
