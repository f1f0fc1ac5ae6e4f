//! The way to one registry: where it is, who we are there, how many requests at once, and where its answers may lead.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pier_content::{Error, Result, Subject};
use pier_oci::{Registry, Repository, RepositoryName};
use tokio::{
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use url::Url;

use crate::{
    auth::{Authenticator, Scopes, Sent, TokenServer},
    credentials::CredentialSource,
    host::{Host, Scheme},
    refusal::{Refusal, Speaker},
    transport::{
        Destination, Payload, Reach, Read, Request, Response, Timeouts, Transport, is_not_tls, same_host,
        same_origin,
    },
};

/// Redirects that are followed in a row.
const REDIRECTS: usize = 5;

/// How long a server on this machine may take to answer TLS's greeting. One of plain HTTP may wait for the end of a line that never comes.
const GREETING: Duration = Duration::from_secs(2);

/// Bytes of a token server's answer.
const TOKEN_BYTES: u64 = 64 << 10;

/// One registry, as this client reaches it.
pub(crate) struct Wire {
    registry: Registry,
    host: Host,
    user_agent: String,
    timeouts: Timeouts,
    authenticator: Authenticator,
    /// Found on first use: who talks to nobody looks nothing up and reads no certificates.
    site: OnceCell<Site>,
    /// Requests at once that read. Those that write have places of their own, and take them first: an upload that reads from this very
    /// registry then never waits for a place that another such upload holds.
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

/// Where a registry is.
#[derive(Debug)]
struct Site {
    /// Its scheme, host and port.
    base: Url,
    reach: Reach,
    transport: Transport,
}

/// A question about a repository, or about the registry itself.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// From `/v2/` on, or a whole URL that this registry gave.
    pub(crate) target: Target<'a>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Payload,
    /// What it needs.
    pub(crate) access: Access<'a>,
    /// What is being done, for errors.
    pub(crate) operation: &'static str,
    /// What it is about, for errors.
    pub(crate) subject: Subject,
}

/// What a question needs to be allowed to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access<'a> {
    /// To list the registry's repositories.
    Catalog,
    /// To read a repository.
    Pull(&'a RepositoryName),
    /// To read and write a repository.
    Push(&'a RepositoryName),
    /// To write to a repository what another one shows.
    Mount { into: &'a RepositoryName, from: &'a RepositoryName },
    /// To remove from a repository.
    Delete(&'a RepositoryName),
}

/// What a question goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// A path, with its query, below the registry's root.
    Path(&'a str),
    /// A URL that an answer of this registry gave, already resolved.
    Url(&'a Url),
}

impl Access<'_> {
    fn scopes(&self) -> Scopes {
        match self {
            Self::Catalog => Scopes::catalog(),
            Self::Pull(name) => Scopes::pull(name),
            Self::Push(name) => Scopes::push(name),
            Self::Mount { into, from } => Scopes::mount(into, from),
            Self::Delete(name) => Scopes::delete(name),
        }
    }

    fn repository(&self, registry: &Registry) -> Option<Repository> {
        match self {
            Self::Catalog => None,
            Self::Pull(name) | Self::Push(name) | Self::Mount { into: name, .. } | Self::Delete(name) => {
                Some(Repository { registry: registry.clone(), name: (*name).clone() })
            }
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("registry", &self.registry)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Wire {
    pub(crate) fn new(
        registry: Registry,
        host: Host,
        credentials: Arc<dyn CredentialSource>,
        user_agent: String,
        timeouts: Timeouts,
    ) -> Self {
        let places = host.requests_at_once.get();
        Self {
            authenticator: Authenticator::new(registry.clone(), credentials),
            registry,
            host,
            user_agent,
            timeouts,
            site: OnceCell::new(),
            reads: Arc::new(Semaphore::new(places)),
            writes: Arc::new(Semaphore::new(places)),
        }
    }

    /// The registry's name, for people.
    pub(crate) fn name(&self) -> String {
        self.registry.to_string()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A place among the requests at once that write. Taken before anything that reads for it.
    pub(crate) async fn write_slot(&self) -> OwnedSemaphorePermit {
        place(&self.writes).await
    }

    /// Resolves what an answer of this registry named as the next place to ask, and checks that it may lead there.
    pub(crate) async fn resolve(&self, location: &str, from: &Url) -> Result<Url> {
        let site = self.site().await?;
        let target = from.join(location).map_err(|_| Error::Untrusted {
            origin: self.name(),
            reason: "it leads to what is no URL".to_owned(),
        })?;
        site.reach.check(&site.base, &target, &self.name())?;
        Ok(target)
    }

    /// Whether a URL is one of the registry itself, to which credentials may go.
    pub(crate) async fn is_own(&self, url: &Url) -> Result<bool> {
        Ok(same_origin(&self.site().await?.base, url))
    }

    /// Asks, authenticates when that is wanted, follows redirects, and gives an answer that says yes.
    ///
    /// # Errors
    /// What an answer that says no means for the caller.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Response> {
        let (operation, subject) = (ask.operation, ask.subject.clone());
        let answer = self.attempt(ask).await?;
        answer.map_err(|refusal| refusal.into_error(&self.name(), operation, subject))
    }

    /// As [`ask`](Self::ask), and an answer that says no is given as it is.
    pub(crate) async fn attempt(&self, ask: Ask<'_>) -> Result<Result<Response, Refusal>> {
        let slot = place(&self.reads).await;
        self.attempt_in(Some(slot), ask).await
    }

    /// As [`ask`](Self::ask), in a place that the caller holds.
    pub(crate) async fn ask_in(&self, slot: Option<OwnedSemaphorePermit>, ask: Ask<'_>) -> Result<Response> {
        let (operation, subject) = (ask.operation, ask.subject.clone());
        let answer = self.attempt_in(slot, ask).await?;
        answer.map_err(|refusal| refusal.into_error(&self.name(), operation, subject))
    }

    /// As [`attempt`](Self::attempt), in a place that the caller holds.
    pub(crate) async fn attempt_in(
        &self,
        slot: Option<OwnedSemaphorePermit>,
        ask: Ask<'_>,
    ) -> Result<Result<Response, Refusal>> {
        let Ask { method, target, headers, body, access, operation, subject } = ask;
        let site = self.site().await?;
        let url = match target {
            Target::Path(path) => site.base.join(path).map_err(|_| Error::Invalid {
                subject,
                reason: "its name does not fit into a URL".to_owned(),
            })?,
            Target::Url(url) => url.clone(),
        };
        let (scopes, repository) = (access.scopes(), access.repository(&self.registry));
        let known = self.authenticator.header(repository.as_ref(), &scopes);
        let in_reads = slot.is_some();
        // A stream can be sent once.
        let again = body.again();
        let request = Request { method: method.clone(), url: url.clone(), headers: headers.clone(), body };
        let (answer, speaker) = self.follow(site, request, known.as_ref(), operation, slot).await?;
        if answer.status().is_success() {
            return Ok(Ok(answer));
        }
        let refusal = Refusal::read(answer, speaker).await;
        let sent = known.as_ref().map_or(Sent::Nothing, Sent::Known);
        let told = refusal.for_authenticator(&url, sent);
        if speaker == Speaker::Elsewhere || !told.may_be_answered() {
            let denial = self.authenticator.denied(&told, repository.as_ref(), &scopes);
            return Ok(Err(refusal.denied(denial)));
        }
        let server = Tokens { wire: self, site };
        let header = self.authenticator.answer(&told, repository.as_ref(), &scopes, &server).await?;
        let Some(body) = again else {
            return Err(Error::Unavailable {
                origin: self.name(),
                operation,
                retry_after: None,
                source: Some("it wanted to know anew who asks, in the middle of a body".into()),
            });
        };
        let request = Request { method, url: url.clone(), headers, body };
        let slot = if in_reads { Some(place(&self.reads).await) } else { None };
        let (answer, speaker) = self.follow(site, request, Some(&header), operation, slot).await?;
        if answer.status().is_success() {
            return Ok(Ok(answer));
        }
        let refusal = Refusal::read(answer, speaker).await;
        let told = refusal.for_authenticator(&url, Sent::Answer(&header));
        let denial = self.authenticator.denied(&told, repository.as_ref(), &scopes);
        Ok(Err(refusal.denied(denial)))
    }

    /// Sends a request, and the same again to where the answers lead.
    ///
    /// Credentials go to the registry's own scheme, host and port and nowhere else, and what another place answers never makes the client
    /// authenticate there.
    async fn follow(
        &self,
        site: &Site,
        request: Request,
        authorization: Option<&HeaderValue>,
        operation: &'static str,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<(Response, Speaker)> {
        let Request { mut method, mut url, mut headers, mut body } = request;
        let mut slot = slot;
        for _ in 0..=REDIRECTS {
            let own = same_origin(&site.base, &url);
            let mut headers_now = headers.clone();
            if let Some(authorization) = authorization.filter(|_| own) {
                headers_now.insert(header::AUTHORIZATION, authorization.clone());
            }
            let again = body.again();
            let request = Request { method: method.clone(), url: url.clone(), headers: headers_now, body };
            let answer = site.transport.send(request, site.destination(&url), operation, slot.take()).await?;
            let speaker = if own { Speaker::Registry } else { Speaker::Elsewhere };
            let redirects = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let location = answer.header(header::LOCATION).filter(|_| redirects);
            let (Some(location), Some(again)) = (location, again) else { return Ok((answer, speaker)) };
            let next = url.join(location).map_err(|_| Error::Untrusted {
                origin: self.name(),
                reason: "it redirects to what is no URL".to_owned(),
            })?;
            site.reach.check(&site.base, &next, &self.name())?;
            body = again;
            if answer.status() == StatusCode::SEE_OTHER && method != Method::HEAD {
                (method, body) = (Method::GET, Payload::Empty);
                headers.remove(header::CONTENT_LENGTH);
            }
            slot = answer.into_slot();
            url = next;
        }
        let reason = format!("it redirects more than {REDIRECTS} times in a row");
        Err(Error::Untrusted { origin: self.name(), reason })
    }

    async fn site(&self) -> Result<&Site> {
        self.site.get_or_try_init(|| self.find()).await
    }

    /// Finds out where the registry is and what it speaks. Nothing secret is sent for that.
    async fn find(&self) -> Result<Site> {
        let (host, port) = address(&self.registry);
        let reach = match port {
            _ if self.registry.is_loopback() => Reach::Loopback,
            port => Reach::of(&host, port.unwrap_or(443)).await,
        };
        let transport = Transport::new(
            self.name(),
            reach,
            &self.host.tls,
            &self.host.proxies,
            &self.user_agent,
            self.timeouts,
        )?;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let at = |scheme: &str| {
            Url::parse(&format!("{scheme}://{host}{port}/")).map_err(|error| Error::Invalid {
                subject: Subject::Registry(self.name()),
                reason: format!("its name is no host: {error}"),
            })
        };
        let base = match self.host.scheme {
            Scheme::PlainHttp => at("http")?,
            Scheme::Https if self.registry.is_loopback() => {
                let secure = at("https")?;
                match timeout(GREETING, greet(&transport, &secure)).await {
                    Ok(Ok(())) => secure,
                    Ok(Err(error)) if is_not_tls(&error) => at("http")?,
                    Ok(Err(error)) => return Err(error),
                    Err(_) => at("http")?,
                }
            }
            Scheme::Https => at("https")?,
        };
        Ok(Site { base, reach, transport })
    }
}

impl Site {
    fn destination(&self, url: &Url) -> Destination {
        if same_host(&self.base, url) { Destination::Registry } else { Destination::Elsewhere }
    }
}

/// The way to the token servers that a registry names: where its other answers may lead too.
struct Tokens<'a> {
    wire: &'a Wire,
    site: &'a Site,
}

#[async_trait]
impl TokenServer for Tokens<'_> {
    async fn ask(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>> {
        const OPERATION: &str = "get a token";
        let (parts, body) = request.into_parts();
        let unusable = |_| Error::Untrusted {
            origin: self.wire.name(),
            reason: "it wants tokens from what is no URL".to_owned(),
        };
        let url = Url::parse(&parts.uri.to_string()).map_err(unusable)?;
        self.site.reach.check(&self.site.base, &url, &self.wire.name())?;
        let body = if body.is_empty() { Payload::Empty } else { Payload::Bytes(body) };
        let destination = self.site.destination(&url);
        let request = Request { method: parts.method, url, headers: parts.headers, body };
        let answer = self.site.transport.send(request, destination, OPERATION, None).await?;
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        response.headers_mut().clone_from(answer.headers());
        *response.body_mut() = match answer.read(TOKEN_BYTES, OPERATION).await? {
            Read::Whole(body) => body,
            Read::TooLong(_) => {
                let reason = format!("the answer of its token server has more than {TOKEN_BYTES} bytes");
                return Err(Error::Untrusted { origin: self.wire.name(), reason });
            }
        };
        Ok(response)
    }
}

/// Whether there is anybody who speaks HTTP, whatever they say.
async fn greet(transport: &Transport, base: &Url) -> Result<()> {
    let mut url = base.clone();
    url.set_path("/v2/");
    let request = Request { method: Method::HEAD, url, headers: HeaderMap::new(), body: Payload::Empty };
    transport.send(request, Destination::Registry, "connect", None).await.map(drop)
}

/// The host that answers for a registry, and the port if it has one of its own.
fn address(registry: &Registry) -> (String, Option<u16>) {
    if registry.is_docker_hub() {
        return ("registry-1.docker.io".to_owned(), None);
    }
    let host = registry.host();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    (host, registry.port())
}

#[expect(clippy::expect_used, reason = "the semaphores are never closed")]
async fn place(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(places).acquire_owned().await.expect("an open semaphore")
}
