//! The service: from a request to the handler of its end-point, and what every answer carries.

use std::{fmt, net::IpAddr, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Method, Request, Response, StatusCode, Version,
    header::{self, Entry},
    request::Parts,
};
use http_body::Body;
use pier_content::{BlobStore, Catalog, Error, error::BoxError};
use pier_oci::wire::ErrorCode;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use crate::{
    FileQueue, ResponseBody, Settings,
    action::Action,
    answer::Answer,
    incoming::RequestBody,
    manifests::Named,
    refusal::Refusal,
    turns::{Turns, Uploads},
};

/// Tells Docker's clients that this is a registry.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Bytes of a path that are logged. The longest that names anything are a repository of 255 and a digest of 135, and what stands between.
const MAX_LOGGED: usize = 512;

/// The name of a request, when somebody in front has given it one.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The OCI distribution API over a store. Cheap to clone; all clones are one registry.
///
/// [`handle`](Self::handle) answers one request. [`connection`](Self::connection) gives what answers those of one
/// connection: it knows whose they are, and may have a socket that sends files by itself. Who may ask what, TLS, and how
/// many connections there are is decided in front of it.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

/// Answers the requests of one connection.
#[derive(Clone, Debug)]
pub struct Connection {
    registry: Registry,
    host: Option<IpAddr>,
    /// The socket's, when it is a `FileSocket`.
    queue: Option<FileQueue>,
}

/// Where a request that was let in comes from.
struct Admitted<'a> {
    host: Option<IpAddr>,
    /// The connection's, when it can send files by itself.
    queue: Option<&'a FileQueue>,
}

pub(crate) struct Inner {
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) settings: Settings,
    pub(crate) turns: Turns,
    /// Writes that go on when their client is gone.
    tasks: TaskTracker,
}

/// What a GET or a HEAD brings along.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// The connection's, when it can send files by itself.
    pub(crate) queue: Option<&'a FileQueue>,
}

impl Registry {
    /// A registry over a store and its names.
    pub fn new(blobs: Arc<dyn BlobStore>, catalog: Arc<dyn Catalog>, settings: Settings) -> Self {
        let turns = Turns::new(settings.max_uploads);
        Self { inner: Arc::new(Inner { blobs, catalog, settings, turns, tasks: TaskTracker::new() }) }
    }

    /// What answers the requests of a connection. Bodies are read by this process.
    ///
    /// `host` is whose connection it is, for those that are told apart: one host has at most half of the turns among the
    /// uploads. It may be an address, or stand for a network of them.
    pub fn connection(&self, host: Option<IpAddr>) -> Connection {
        Connection { registry: self.clone(), host, queue: None }
    }

    /// How many requests with large bodies there are.
    pub fn uploads(&self) -> Uploads {
        self.inner.turns.count()
    }

    /// Waits until what clients sent before they hung up is written. To be called once no connection is left; bounded
    /// by [`Settings::idle_timeout`] and the store's own bounds.
    pub async fn settled(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Answers one request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.answer(request, Ok(Admitted { host: None, queue: None })).await
    }

    /// Says no to a request in the registry's place, as whoever stands in front of it has decided: with the same line in the log, and
    /// with so much of the body read that a client which writes first and reads then gets the answer.
    pub async fn refuse<B>(&self, request: Request<B>, refusal: Refusal) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.answer(request, Err(refusal)).await
    }
}

impl Connection {
    /// The same for a connection whose socket is a [`FileSocket`](crate::FileSocket), which sends large blobs from the
    /// page cache; `queue` is that socket's.
    #[must_use]
    pub fn sending_files(self, queue: FileQueue) -> Self {
        Self { queue: Some(queue), ..self }
    }

    /// Answers one request of this connection.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // Only HTTP/1 hands a body's memory to the socket untouched and in order.
        let queue = self.queue.as_ref().filter(|_| request.version() <= Version::HTTP_11);
        self.registry.answer(request, Ok(Admitted { host: self.host, queue })).await
    }
}

impl Registry {
    /// Answers one request and says so in the log, in one line: writes and failures as `info`, what an operator asks
    /// about later; reads that succeed or find nothing as `debug`, since they are many and change nothing.
    ///
    /// A request that was not let in comes with why not.
    async fn answer<B>(
        &self,
        request: Request<B>,
        admitted: Result<Admitted<'_>, Refusal>,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let host = admitted.as_ref().ok().and_then(|admitted| admitted.host);
        let body = RequestBody::new(body, &parts.headers, host, self.inner.settings.idle_timeout);
        let is_read = parts.method.is_safe();
        let span = if is_read { quiet_span(&parts) } else { span(&parts) };
        let outcome = match admitted {
            Ok(Admitted { queue, .. }) => self.inner.act(&parts, body, queue).instrument(span.clone()).await,
            Err(refusal) => {
                body.discard().await;
                Err(refusal)
            }
        };
        // A span costs more than the answer to a small read, so a read gets one only to be told about.
        let is_failure = matches!(&outcome, Err(refusal) if !is_read || !refusal.is_usual());
        let _entered =
            if is_read && is_failure && span.is_disabled() { self::span(&parts) } else { span }.entered();
        let elapsed = started.elapsed();
        let mut response = match outcome {
            Ok(answer) => {
                let response = answer.into_response();
                let status = response.status().as_u16();
                if is_read {
                    tracing::debug!(status, ?elapsed, "answered");
                } else {
                    tracing::info!(status, ?elapsed, "answered");
                }
                response
            }
            Err(refusal) => {
                let status = refusal.status().as_u16();
                match refusal.cause() {
                    Some(cause) => tracing::error!(status, ?elapsed, code = %refusal.code(), cause, "failed"),
                    None if is_failure => {
                        tracing::info!(status, ?elapsed, code = %refusal.code(), "refused");
                    }
                    None => tracing::debug!(status, ?elapsed, code = %refusal.code(), "refused"),
                }
                refusal.into_response()
            }
        };
        if parts.method == Method::HEAD {
            without_body(&mut response);
        }
        response
    }
}

impl Inner {
    /// What writes is boxed: a small read is moved several times on its way, and would else be as large as the largest of these futures.
    async fn act(
        self: &Arc<Self>,
        parts: &Parts,
        body: RequestBody,
        queue: Option<&FileQueue>,
    ) -> Result<Answer, Refusal> {
        let action = match Action::parse(parts) {
            Ok(action) => action,
            Err(refusal) => {
                body.discard().await;
                return Err(refusal);
            }
        };
        let reading = Reading { method: &parts.method, headers: &parts.headers, queue };
        match action {
            Action::Ping => Ok(Answer::new(StatusCode::OK).fixed(API_VERSION, "registry/2.0").json("{}")),
            Action::GetBlob { repository, digest } => self.blob(&repository, &digest, reading).await,
            Action::DeleteBlob { repository, digest } => self.delete_blob(&repository, &digest).await,
            Action::GetManifest { repository, selector } => {
                self.manifest(&repository, &selector, reading).await
            }
            Action::PutManifest { repository, selector, tags, expected } => {
                Box::pin(self.put_manifest(
                    repository,
                    Named { selector, tags, expected },
                    &parts.headers,
                    body,
                ))
                .await
            }
            Action::DeleteManifest { repository, selector, expected } => {
                self.delete_manifest(&repository, &selector, expected).await
            }
            Action::StartUpload { repository, start } => {
                Box::pin(self.start_upload(repository, start, body)).await
            }
            Action::UploadStatus { repository, session } => self.upload_status(repository, session).await,
            Action::AppendChunk { repository, session, chunk } => {
                Box::pin(self.append_chunk(repository, session, chunk, body)).await
            }
            Action::FinishUpload { repository, session, chunk, digest } => {
                Box::pin(self.finish_upload(repository, session, digest, chunk, body)).await
            }
            Action::CancelUpload { repository, session } => self.cancel_upload(repository, session).await,
            Action::ListTags { repository, page } => self.tags(&repository, &page).await,
            Action::ListReferrers { repository, digest, artifact_type, page } => {
                Box::pin(self.referrers(&repository, digest, artifact_type, page)).await
            }
            // The specification of extensions has registries list what they have; this one has none.
            Action::ListExtensions => Ok(Answer::new(StatusCode::OK).json(r#"{"extensions":[]}"#)),
            Action::ListRepositories { page } => self.repositories(&page).await,
        }
    }

    /// Does work that goes on when the request is dropped, because its client hung up.
    pub(crate) async fn in_task<F, T>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refusal>> + Send + 'static,
        T: Send + 'static,
    {
        let work = work(Arc::clone(self)).in_current_span();
        let outcome = self.tasks.spawn(work).await;
        outcome.unwrap_or_else(|source| Err(Error::Task { operation: "a request", source }.into()))
    }
}

/// What a server in front of the registry says when it does not let a request in: in the registry's words, so that
/// clients show it.
pub fn refusal(status: StatusCode, code: ErrorCode, message: &str) -> Response<ResponseBody> {
    Refusal::new(status, code, message).into_response()
}

/// What every line about a request says. The path names repository, digest, tag or session; the query is never logged,
/// since it may name more than a log should hold.
///
/// Whoever stands in front of the registry may have named the request in `X-Request-Id`, and has seen to it that the name may
/// stand in a log.
fn span(parts: &Parts) -> Span {
    tracing::info_span!("request", id = name(parts), method = %parts.method, path = path(parts))
}

fn quiet_span(parts: &Parts) -> Span {
    tracing::debug_span!("request", id = name(parts), method = %parts.method, path = path(parts))
}

/// As much of it as names anything: a stranger's 60 KiB are not for the log.
fn path(parts: &Parts) -> &str {
    let path = parts.uri.path();
    path.get(..MAX_LOGGED).unwrap_or(path)
}

fn name(parts: &Parts) -> Option<&str> {
    parts.headers.get(REQUEST_ID)?.to_str().ok()
}

/// A HEAD is answered with what a GET would say, its length included.
fn without_body(response: &mut Response<ResponseBody>) {
    let length = std::mem::replace(response.body_mut(), ResponseBody::empty()).size_hint().exact();
    if let (Some(length), Entry::Vacant(entry)) =
        (length, response.headers_mut().entry(header::CONTENT_LENGTH))
    {
        entry.insert(length.into());
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("blobs", &self.inner.blobs)
            .field("catalog", &self.inner.catalog)
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}
