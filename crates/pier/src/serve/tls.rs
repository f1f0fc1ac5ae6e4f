//! TLS: whose certificate is shown, and how a connection gets from its first byte to a stream.
//!
//! One configuration lasts as long as the server, so that sessions are resumed across a renewal of the certificate; what changes is the
//! pair of certificate and key behind it ([`pair`]), which is replaced whole.
//!
//! A client that speaks plain HTTP to this port is told so in plain HTTP. It would otherwise get a TLS alert, which every client shows as a
//! different kind of garbage.

mod pair;

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use pier_oci::wire::{ErrorBody, ErrorCode, ErrorEntry};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::aws_lc_rs,
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
    server::TlsStream,
};

use super::{
    observed::ObservedSocket,
    watched::{Reload, Watched},
};
use crate::failure::Failure;

/// Bytes of a file with certificates or a key. A chain has a few KiB.
const MAX_BYTES: u64 = 1 << 20;

/// The first byte of a connection that begins with a handshake (RFC 8446, section 5.1: `ContentType.handshake`).
const HANDSHAKE: u8 = 22;

/// How long a client that speaks the wrong protocol may take to hear so.
const FAREWELL: Duration = Duration::from_secs(2);

/// Sessions that are remembered for clients that resume them by id; others carry a ticket of their own.
const SESSIONS: usize = 4096;

/// What a connection is once its handshake is done, for hyper.
pub(super) type Encrypted = TokioIo<TlsStream<TokioIo<ObservedSocket<TokioIo<TcpStream>>>>>;

/// The server's side of TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    pair: Arc<Watched<CertifiedKey, 2>>,
}

/// Where the certificate is and where its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    /// PEM: the server's certificate, and behind it those that lead to an authority.
    pub(crate) certificate: PathBuf,
    /// PEM: PKCS #8, SEC 1 or PKCS #1.
    pub(crate) key: PathBuf,
}

impl Tls {
    /// Reads certificate and key. Blocks.
    ///
    /// # Errors
    /// When they cannot be read, are none, or do not belong together.
    pub(crate) fn load(files: Files) -> Result<Self, Failure> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let paths = [files.certificate.clone(), files.key.clone()];
        let for_pair = Arc::clone(&provider);
        let pair = Watched::load("TLS certificate or key", paths, MAX_BYTES, move |[certificate, key]| {
            pair::parse(&files, certificate, key, &for_pair)
        })?;
        let pair = Arc::new(pair);
        let failed =
            |error: rustls::Error| Failure::from(anyhow::Error::new(error).context("cannot set up TLS"));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver(Arc::clone(&pair))));
        config.alpn_protocols = [&b"h2"[..], b"http/1.1"].map(<[u8]>::to_vec).to_vec();
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(failed)?;
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS);
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), pair })
    }

    /// The files behind it.
    pub(super) fn watched(&self) -> Arc<dyn Reload> {
        Arc::clone(&self.pair) as _
    }

    /// Makes a new connection a stream. A client that begins with plain HTTP is told what this is.
    ///
    /// Waits for the client for as long as that pleases, and is to be given a bound.
    ///
    /// # Errors
    /// When the client hangs up, speaks something else, or no version and algorithms in common are found.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        observe: impl FnOnce(TcpStream) -> ObservedSocket<TokioIo<TcpStream>>,
    ) -> io::Result<Encrypted> {
        let mut first = [0];
        // Nothing is taken from the socket by this.
        if stream.peek(&mut first).await? > 0 && first[0] != HANDSHAKE {
            decline(stream).await;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the client does not speak TLS"));
        }
        let stream = self.acceptor.accept(TokioIo::new(observe(stream))).await?;
        Ok(TokioIo::new(stream))
    }
}

/// Says in plain HTTP/1.1 that this port speaks TLS.
async fn decline(mut stream: TcpStream) {
    let message = "this port speaks TLS and nothing else: ask with https://".to_owned();
    let entry = ErrorEntry { code: ErrorCode::Unsupported, message, detail: serde_json::Value::Null };
    let body = ErrorBody { errors: vec![entry] }.to_json();
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let answer = async {
        stream.write_all(&[head.as_bytes(), &body].concat()).await?;
        stream.shutdown().await?;
        // A socket that is closed with unread bytes resets the connection, and the client may lose the answer to that.
        let mut rest = (&mut stream).take(MAX_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whoever hangs up does not want to know.
    let _ = timeout(FAREWELL, answer).await;
}

/// Shows every client the pair that holds at the time, whatever name it asks for.
struct Resolver(Arc<Watched<CertifiedKey, 2>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver(…)")
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("pair", &self.pair).finish_non_exhaustive()
    }
}
