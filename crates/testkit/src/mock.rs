//! Registries with the manners of those that people use, over the real one in the process.
//!
//! ```
//! use pier_testkit::mock::{self, Credentials};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = mock::Registry::start(mock::ECR).await?;
//! let [Credentials::Password { username, .. }] = &registry.credentials()[..] else { panic!() };
//! assert_eq!(username, "AWS");
//! // A client logs in, pulls and pushes at `registry.address()`; twelve hours pass.
//! registry.expire();
//! // What it did that no registry should see:
//! assert_eq!(registry.violations(), []);
//! # Ok(())
//! # }
//! ```
//!
//! | module | is about |
//! |---|---|
//! | `manners` | the table: one constant a registry |
//! | `access` | passwords, tokens, scopes |
//! | `front` | requests to the registry itself, with its manners |
//! | `sessions` | the names of upload sessions |
//! | `storage` | the object storage behind presigned URLs |
//! | `huge` | a registry with one blob that is larger than memory |
//!
//! What is not imposed goes to Pier's own registry, so that digests, ranges and uploads are checked as they are anywhere. All of it speaks
//! plain HTTP on loopback; [`FaultyProxy::start_tls`](crate::faults::FaultyProxy::start_tls) gives it TLS and faults.

mod access;
mod front;
mod huge;
mod manners;
mod sessions;
mod storage;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fmt, io};

use http::{Method, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pier_oci::Digest;
use tokio::net::TcpStream;

pub use huge::HugeBlob;
pub use manners::*;

use self::access::Accounts;
use self::sessions::Names;
use crate::faults::Scheme;
use crate::image::BuiltImage;
use crate::server::{Serve, Server};
use crate::test_registry::{Error, Options, Storage, TestRegistry};

/// What every answer's body is.
type Body = UnsyncBoxBody<bytes::Bytes, pier_content::Error>;

/// A registry with manners. It runs until it is dropped.
pub struct Registry {
    /// Each on a thread of its own.
    servers: Vec<Server>,
    state: Arc<State>,
}

/// Where a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The registry.
    Registry,
    /// Its token server, wherever that is.
    TokenServer,
    /// Its object storage.
    Storage,
}

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where it went.
    pub place: Place,
    /// Its method.
    pub method: Method,
    /// Its path, percent-encoded as it came.
    pub path: String,
    /// What stands behind the `?`.
    pub query: Option<String>,
    /// The scheme of the credentials that came with it.
    pub authorization: Option<Scheme>,
    /// The status that it was answered with.
    pub status: u16,
}

/// What a client did that none should.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// Sent credentials to a registry that asks for none.
    UnaskedCredentials,
    /// Sent a password where a token was asked for, or a token where a password was.
    WrongScheme,
    /// Sent a token that this registry never gave.
    StrangeToken,
    /// Sent credentials to the object storage.
    CredentialsToStorage,
    /// Sent a bearer token to the token server.
    TokenToTokenServer,
    /// Asked for a token without the scope of the challenge.
    NoScope,
    /// Asked for a token with another service than the challenge has, or with one where it has none.
    WrongService,
    /// Asked for a token by POST without saying who asks.
    NoClientId,
    /// Went on with an upload where its last answer did not lead to.
    LostLocation,
}

/// How a client says who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// An identity token, as in Docker's `identitytoken`. A credential helper says `<token>` in place of a name.
    IdentityToken {
        /// The name that it goes with, and is the password of, for clients that know no identity tokens.
        username: String,
        /// The token.
        token: String,
    },
}

/// What the three servers share.
struct State {
    manners: Manners,
    registry: TestRegistry,
    addresses: OnceLock<Addresses>,
    record: Mutex<Record>,
}

/// Where the servers are.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    registry: SocketAddr,
    tokens: SocketAddr,
    storage: SocketAddr,
}

/// All that changes.
#[derive(Debug, Default)]
struct Record {
    asked: Vec<Asked>,
    violations: Vec<Violation>,
    accounts: Accounts,
    names: Names,
    /// Presigned URLs by their signature.
    presigned: HashMap<String, Presigned>,
    /// How many were given.
    signatures: usize,
    /// Manifests that were refused because there were too many.
    throttled: u32,
}

/// What a presigned URL is good for.
#[derive(Debug)]
struct Presigned {
    repository: String,
    digest: Digest,
    /// Requests that are left.
    left: u32,
}

/// One server's part.
struct Door {
    state: Arc<State>,
    place: Place,
}

impl Registry {
    /// Starts an empty registry with these manners; it takes connections when this returns.
    pub async fn start(manners: Manners) -> Result<Self, Error> {
        let registry =
            TestRegistry::start_with(Options { storage: Storage::Memory, ..Options::default() }).await?;
        let state =
            Arc::new(State { manners, registry, addresses: OnceLock::new(), record: Mutex::default() });
        let mut servers = Vec::new();
        for place in [Place::Registry, Place::TokenServer, Place::Storage] {
            let door = Arc::new(Door { state: Arc::clone(&state), place });
            let failed = |source| Error::Io { operation: "listen on a port of loopback", source };
            servers.push(Server::start("mock-registry", door).await.map_err(failed)?);
        }
        let [registry, tokens, storage] = [0, 1, 2].map(|server: usize| servers[server].address());
        // Nobody has asked before, since nobody knows the addresses.
        let _ = state.addresses.set(Addresses { registry, tokens, storage });
        Ok(Self { servers, state })
    }

    /// Where clients connect: `127.0.0.1` and a port of the system's choice.
    pub fn address(&self) -> SocketAddr {
        self.servers[0].address()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// What a client calls the image `name` here: `127.0.0.1:PORT/name`.
    pub fn image_ref(&self, name: &str) -> String {
        format!("{}/{name}", self.address())
    }

    /// How it behaves.
    pub fn manners(&self) -> &Manners {
        &self.state.manners
    }

    /// Puts an image into it without a request; see [`TestRegistry::push`].
    pub async fn push(&self, image: &BuiltImage, name: &str) -> Result<Digest, Error> {
        self.state.registry.push(image, name).await
    }

    /// The registry behind it, to look into: it has no manners and asks nobody who he is.
    pub fn behind(&self) -> &TestRegistry {
        &self.state.registry
    }

    /// What it lets in at this moment, in each form. None where it asks nobody.
    pub fn credentials(&self) -> Vec<Credentials> {
        let record = self.state.record();
        match (self.state.manners.access, self.state.manners.login) {
            (Access::Open, _) => Vec::new(),
            (_, Login::Passwords(users)) => users
                .iter()
                .map(|user| Credentials::Password {
                    username: (*user).to_owned(),
                    password: record.accounts.password(user),
                })
                .collect(),
            (_, Login::IdentityToken(name)) => vec![Credentials::IdentityToken {
                username: name.to_owned(),
                token: record.accounts.password(""),
            }],
        }
    }

    /// Lets time pass: all tokens have expired; where there are none, the password, and [`credentials`](Self::credentials) has the next.
    pub fn expire(&self) {
        self.state.record().accounts.expire(self.state.manners.access);
    }

    /// Lets time pass for presigned URLs: the storage answers 403 to all that were given.
    pub fn expire_urls(&self) {
        self.state.record().presigned.clear();
    }

    /// Every request that was answered, in the order of the answers.
    pub fn requests(&self) -> Vec<Asked> {
        self.state.record().asked.clone()
    }

    /// How many requests went there.
    pub fn count(&self, place: Place) -> usize {
        self.state.record().asked.iter().filter(|asked| asked.place == place).count()
    }

    /// What clients did that none should, each time.
    pub fn violations(&self) -> Vec<Violation> {
        self.state.record().violations.clone()
    }
}

impl State {
    fn record(&self) -> MutexGuard<'_, Record> {
        // Whoever panicked with the lock held left what was written so far.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the servers are, which is known before anybody can ask.
    fn addresses(&self) -> io::Result<Addresses> {
        self.addresses.get().copied().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Serve for Door {
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(|request| {
            let door = Arc::clone(&self);
            async move { Ok::<Response<Body>, Infallible>(door.state.answer(door.place, request).await) }
        });
        // What goes wrong with a connection its client sees too.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manners = self.state.manners.name;
        f.debug_struct("Registry")
            .field("manners", &manners)
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}
