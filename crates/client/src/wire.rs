//! The way to one registry: where it is, who we are there, how many requests at once, and where its answers may lead.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pier_content::{Error, Result, Subject};
use pier_oci::{Registry, Repository, RepositoryName};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::{
    auth::{Authenticator, Scopes, Sent, TokenServer},
    chunks::Chunks,
    credentials::CredentialSource,
    host::{Host, Scheme},
    hosts::{EndpointUrl, Way},
    refusal::{Refusal, Speaker},
    sessions::Active,
    transport::{
        Destination, Greeted, Payload, Reach, Read, Request, Response, Timeouts, Transport, same_origin,
    },
};

/// Redirects that are followed in a row.
const REDIRECTS: usize = 5;

/// What is tried first where a body was too large, in bytes: content delivery networks let 100 MB through.
const LARGE_BODY: u64 = 64 << 20;

/// A registry that does not take as little as this takes nothing.
const SMALL_BODY: u64 = 64 << 10;

/// Bytes of a token server's answer.
const TOKEN_BYTES: u64 = 64 << 10;

/// One registry, or a mirror of it, as this client reaches it.
pub(crate) struct Wire {
    /// The registry whose names are asked for.
    registry: Registry,
    /// Where, when its name does not say it.
    url: Option<EndpointUrl>,
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
    /// Blobs that are being uploaded.
    uploads: Active,
    /// Bytes that may be sent in one request.
    largest_body: AtomicU64,
    /// What the registry said last of chunks. It says so when an upload begins, and not when one is gone on with.
    chunks: Mutex<Chunks>,
}

/// Where a registry is.
#[derive(Debug)]
struct Site {
    /// Its scheme, host and port.
    base: Url,
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
    /// How much longer than usual the answer may take.
    pub(crate) patience: Duration,
}

/// What a question needs to be allowed to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access<'a> {
    /// To be somebody that the registry knows.
    Registry,
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

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("registry", &self.registry)
            .field("url", &self.url)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Wire {
    pub(crate) fn new(
        registry: Registry,
        way: Way,
        credentials: Arc<dyn CredentialSource>,
        user_agent: String,
        timeouts: Timeouts,
    ) -> Self {
        let Way { url, host } = way;
        let places = host.requests_at_once.get();
        let timeouts = Timeouts { connect: host.connect_timeout.unwrap_or(timeouts.connect), ..timeouts };
        let asked = url.as_ref().map_or(&registry, EndpointUrl::registry);
        Self {
            authenticator: Authenticator::new(asked.clone(), credentials),
            registry,
            url,
            host,
            user_agent,
            timeouts,
            site: OnceCell::new(),
            reads: Arc::new(Semaphore::new(places)),
            writes: Arc::new(Semaphore::new(places)),
            uploads: Active::default(),
            largest_body: AtomicU64::new(u64::MAX),
            chunks: Mutex::default(),
        }
    }

    /// Who is asked, for people.
    pub(crate) fn name(&self) -> String {
        self.asked().to_string()
    }

    /// Who is asked: the registry, or who stands in for it. Credentials are those of this one.
    fn asked(&self) -> &Registry {
        self.url.as_ref().map_or(&self.registry, EndpointUrl::registry)
    }

    /// The registry whose names are asked for.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Whether the registry has wanted to know who asks.
    pub(crate) fn wanted_to_know(&self) -> bool {
        self.authenticator.was_challenged()
    }

    /// A place among the requests at once that write. Taken before anything that reads for it.
    pub(crate) async fn write_slot(&self) -> OwnedSemaphorePermit {
        place(&self.writes).await
    }

    /// Blobs that are being uploaded.
    pub(crate) fn uploads(&self) -> &Active {
        &self.uploads
    }

    /// Bytes that may be sent in one request, as far as is known.
    pub(crate) fn largest_body(&self) -> u64 {
        self.largest_body.load(Ordering::Relaxed)
    }

    /// How the registry wants blobs to be cut, as far as is known.
    pub(crate) fn chunks(&self) -> Chunks {
        *self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the registry said of chunks.
    pub(crate) fn learn_chunks(&self, answer: &Response) {
        *self.chunks.lock().unwrap_or_else(PoisonError::into_inner) = Chunks::of(answer);
    }

    /// Notes that a request with a body of `bytes` was too large. Whether anything smaller is left to try.
    pub(crate) fn send_less_than(&self, bytes: u64) -> bool {
        let is_left = bytes > SMALL_BODY;
        if is_left {
            self.largest_body.fetch_min((bytes / 2).min(LARGE_BODY), Ordering::Relaxed);
        }
        is_left
    }

    /// Resolves what an answer of this registry named as the next place to ask, and checks that it may lead there.
    pub(crate) async fn resolve(&self, location: &str, from: &Url) -> Result<Url> {
        let site = self.site().await?;
        let target = from.join(location).map_err(|_| Error::Untrusted {
            origin: self.name(),
            reason: "it leads to what is no URL".to_owned(),
        })?;
        self.check(site, &target)?;
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
        let Ask { method, target, headers, body, access, operation, subject, patience } = ask;
        let site = self.site().await?;
        let url = match target {
            Target::Path(path) => self.at(site, path).map_err(|_| Error::Invalid {
                subject,
                reason: "its name does not fit into a URL".to_owned(),
            })?,
            Target::Url(url) => url.clone(),
        };
        let (scopes, repository) = self.needs(access)?;
        let known = self.authenticator.header(repository.as_ref(), &scopes);
        let in_reads = slot.is_some();
        // A stream can be sent once.
        let again = body.again();
        let request =
            Request { method: method.clone(), url: url.clone(), headers: headers.clone(), body, patience };
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
        let request = Request { method, url: url.clone(), headers, body, patience };
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
        let Request { mut method, mut url, mut headers, mut body, patience } = request;
        let mut slot = slot;
        for _ in 0..=REDIRECTS {
            let destination = site.destination(&url);
            let own = destination == Destination::Registry;
            let mut headers_now = headers.clone();
            if own {
                headers_now.extend(self.host.headers.clone());
            }
            if let Some(authorization) = authorization.filter(|_| own) {
                headers_now.insert(header::AUTHORIZATION, authorization.clone());
            }
            let again = body.again();
            let request =
                Request { method: method.clone(), url: url.clone(), headers: headers_now, body, patience };
            let answer = site.transport.send(request, destination, operation, slot.take()).await?;
            let speaker = if own { Speaker::Registry } else { Speaker::Elsewhere };
            let redirects = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let location = answer.header(header::LOCATION).filter(|_| redirects);
            let (Some(location), Some(again)) = (location, again) else { return Ok((answer, speaker)) };
            let next = url.join(location).map_err(|_| Error::Untrusted {
                origin: self.name(),
                reason: "it redirects to what is no URL".to_owned(),
            })?;
            self.check(site, &next)?;
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

    /// What a question needs, in the names that the repository has where it is asked for.
    fn needs(&self, access: Access<'_>) -> Result<(Scopes, Option<Repository>)> {
        let there = |name: &RepositoryName| match &self.url {
            Some(url) => url.name_there(name),
            None => Ok(name.clone()),
        };
        let (name, scopes) = match access {
            Access::Registry => return Ok((Scopes::none(), None)),
            Access::Catalog => return Ok((Scopes::catalog(), None)),
            Access::Pull(name) => (name, Scopes::pull(&there(name)?)),
            Access::Push(name) => (name, Scopes::push(&there(name)?)),
            Access::Mount { into, from } => (into, Scopes::mount(&there(into)?, &there(from)?)),
            Access::Delete(name) => (name, Scopes::delete(&there(name)?)),
        };
        Ok((scopes, Some(Repository { registry: self.asked().clone(), name: there(name)? })))
    }

    /// A path of the distribution API, with its query, where this registry has it. Mirrors of several registries have to be told which one
    /// is meant: containerd's `ns`.
    fn at(&self, site: &Site, path: &str) -> Result<Url, url::ParseError> {
        let Some(place) = &self.url else { return site.base.join(path) };
        let mut url = site.base.join(&place.path(path))?;
        if *place.registry() != self.registry {
            url.query_pairs_mut().append_pair("ns", self.registry.as_str());
        }
        Ok(url)
    }

    /// Holds where an answer leads against what it may lead to.
    fn check(&self, site: &Site, target: &Url) -> Result<()> {
        site.transport.reach().check(&site.base, target, &self.name())?;
        // A proxy is let through wherever it is, so nobody else may send us there to talk to it as to a server.
        let proxy = target.host_str().is_some_and(|host| self.host.proxies.is_proxy(host));
        if proxy && target.host() != site.base.host() {
            let reason = "it leads to the proxy itself".to_owned();
            return Err(Error::Untrusted { origin: self.name(), reason });
        }
        Ok(())
    }

    /// Finds out where the registry is and what it speaks. Nothing secret is sent for that.
    async fn find(&self) -> Result<Site> {
        match &self.url {
            Some(url) => {
                let base = url.base().clone();
                let transport = self.transport(&base).await;
                Ok(Site { base, transport })
            }
            None => self.find_by_name().await,
        }
    }

    async fn find_by_name(&self) -> Result<Site> {
        let (host, port) = address(&self.registry);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let at = |scheme: &str| {
            Url::parse(&format!("{scheme}://{host}{port}/")).map_err(|error| Error::Invalid {
                subject: Subject::Registry(self.name()),
                reason: format!("its name is no host: {error}"),
            })
        };
        let (secure, plain) = (at("https")?, at("http")?);
        let transport = self.transport(&secure).await;
        let base = match self.host.scheme {
            Scheme::PlainHttp => plain,
            Scheme::Https if self.registry.is_loopback() => match transport.greet(&secure).await? {
                Greeted::Tls => secure,
                Greeted::NotTls => plain,
            },
            Scheme::Https => secure,
        };
        Ok(Site { base, transport })
    }

    async fn transport(&self, base: &Url) -> Transport {
        let Host { tls, proxies, .. } = &self.host;
        let reach = if self.asked().is_loopback() {
            Reach::Loopback
        } else if base.domain().is_some() && proxies.on_the_way(base).is_some() {
            // Who is behind a proxy often has nobody to ask for the addresses of names.
            Reach::Public
        } else {
            Reach::of(base.host_str().unwrap_or_default(), base.port_or_known_default().unwrap_or(443)).await
        };
        Transport::new(self.name(), reach, tls, proxies, &self.user_agent, self.timeouts)
    }
}

impl Site {
    fn destination(&self, url: &Url) -> Destination {
        if same_origin(&self.base, url) { Destination::Registry } else { Destination::Elsewhere }
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
        self.wire.check(self.site, &url)?;
        let body = if body.is_empty() { Payload::Empty } else { Payload::Bytes(body) };
        let destination = self.site.destination(&url);
        let (method, headers) = (parts.method, parts.headers);
        let request = Request { method, url, headers, body, patience: Duration::ZERO };
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
