//! Sending a blob to a registry: begun once, gone on with after every interruption, verified before it is finished.
//!
//! The session's URL is the registry's and is used as it came; it may change with every answer. A small blob goes in one request behind the
//! POST, so that many small blobs do not wait for a third answer each; a larger one is a PATCH that can be gone on with.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use http::{HeaderValue, Method, StatusCode, header};
use pier_content::{ByteRange, Error, Event, Opened, Origin, Progress, Result, Subject};
use pier_oci::{
    Descriptor, Digest, Repository, RepositoryName,
    wire::{Chunk, Endpoint, ErrorCode},
};
use url::Url;

use super::{
    Remote, ask,
    sending::{Sent, outgoing},
};
use crate::{
    transport::{Payload, Response, Stalls},
    wire::{Access, Ask, Target},
};

/// Blobs up to this many bytes are held in memory and sent in one request.
const AT_ONCE: u64 = 1 << 20;

/// An upload at a registry.
struct Session {
    location: Url,
    /// Bytes that the registry has.
    offset: u64,
}

impl Remote {
    pub(super) async fn upload_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()> {
        let _slot = self.wire.write_slot().await;
        let session = match self.known_session(repository, descriptor).await? {
            Some(session) => session,
            None => self.new_session(repository, descriptor).await?,
        };
        progress.emit(|| Event::Started { descriptor: descriptor.clone(), done: session.offset });
        let resumed = session.offset > 0;
        let outcome = if descriptor.size <= AT_ONCE && !resumed {
            self.send_at_once(repository, descriptor, session, origin, progress).await
        } else {
            self.send_and_finish(repository, descriptor, session, origin, progress).await
        };
        let error = match outcome {
            Ok(()) => {
                self.sessions.forget(repository, &descriptor.digest);
                progress.emit(|| Event::Committed(descriptor.clone()));
                return Ok(());
            }
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => error,
        };
        // What it has of this upload is of no use to anybody.
        self.sessions.forget(repository, &descriptor.digest);
        if !(resumed && error.is_integrity()) {
            return Err(error);
        }
        // Some of it came from an earlier run, so nobody can say whose bytes were wrong: once more, whole.
        progress.emit(|| Event::Discarded(descriptor.digest));
        let session = self.new_session(repository, descriptor).await?;
        self.send_and_finish(repository, descriptor, session, origin, progress).await?;
        self.sessions.forget(repository, &descriptor.digest);
        progress.emit(|| Event::Committed(descriptor.clone()));
        Ok(())
    }

    /// Remembers the upload that an answer began.
    pub(super) async fn keep_session(&self, repository: &Repository, digest: &Digest, answer: &Response) {
        if let Ok(location) = self.location(answer).await {
            self.sessions.keep(repository, digest, location.as_str());
        }
    }

    /// An upload that was begun before, if the registry still knows it.
    async fn known_session(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<Option<Session>> {
        let Some(location) = self.sessions.find(repository, &descriptor.digest) else { return Ok(None) };
        let Ok(url) = Url::parse(&location) else { return Ok(None) };
        // What was kept is held against the same rules as what an answer says.
        let location = self.wire.resolve(&location, &url).await?;
        let name = self.name_of(repository)?;
        let get =
            about(Method::GET, &location, "ask how far an upload is", name, repository, &descriptor.digest);
        let answer = match self.wire.ask_in(None, get).await {
            Ok(answer) => answer,
            Err(error) if error.is_retryable() => return Err(error),
            Err(_) => {
                self.sessions.forget(repository, &descriptor.digest);
                return Ok(None);
            }
        };
        let offset = answer.header(header::RANGE).map_or(0, received);
        if offset > descriptor.size {
            self.sessions.forget(repository, &descriptor.digest);
            return Ok(None);
        }
        let location = self.location(&answer).await.unwrap_or(location);
        Ok(Some(Session { location, offset }))
    }

    async fn new_session(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Session> {
        let name = self.name_of(repository)?;
        let path = Endpoint::Uploads { repository: name.clone() }.to_string();
        let subject = Subject::RemoteRepository(repository.clone());
        let mut post = ask(Method::POST, &path, "begin an upload", Access::Push(name), subject);
        post.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let answer = self.wire.ask_in(None, post).await?;
        let location = self.location(&answer).await?;
        if descriptor.size > AT_ONCE {
            self.sessions.keep(repository, &descriptor.digest, location.as_str());
        }
        Ok(Session { location, offset: 0 })
    }

    /// Where an upload goes on, as an answer says.
    async fn location(&self, answer: &Response) -> Result<Url> {
        let location = answer.header(header::LOCATION).ok_or_else(|| Error::Unavailable {
            origin: self.wire.name(),
            operation: "begin an upload: the answer does not say where it goes on",
            retry_after: None,
            source: None,
        })?;
        self.wire.resolve(location, answer.url()).await
    }

    async fn send_at_once(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        session: Session,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()> {
        let bytes = read_whole(origin, descriptor).await?;
        let sent = bytes.len() as u64;
        self.finish(repository, descriptor, &session.location, Payload::Bytes(bytes), false).await?;
        progress.emit(|| Event::Advanced { digest: descriptor.digest, bytes: sent });
        Ok(())
    }

    async fn send_and_finish(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        session: Session,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()> {
        let resumed = session.offset > 0;
        let mut location = session.location;
        if session.offset < descriptor.size {
            let rest = ByteRange::from(session.offset..descriptor.size);
            let opened = origin.source.open(origin.repository, descriptor, rest).await?;
            let sent = Sent::new(origin, descriptor, session.offset);
            let answer =
                self.patch(repository, descriptor, &location, opened, &sent, session.offset, progress).await;
            // The source's own failure says more than the connection that it broke.
            if let Some(error) = sent.failure() {
                return Err(error);
            }
            let answer = answer?;
            if let Ok(next) = self.location(&answer).await {
                location = next;
                self.sessions.keep(repository, &descriptor.digest, location.as_str());
            }
            if let Err(error) = sent.verify().await {
                self.cancel(repository, descriptor, &location).await;
                return Err(error);
            }
        }
        self.finish(repository, descriptor, &location, Payload::Empty, resumed).await
    }

    #[expect(clippy::too_many_arguments, reason = "one request, and all that it is made of")]
    async fn patch(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        location: &Url,
        opened: Opened,
        sent: &Sent,
        offset: u64,
        progress: &Progress,
    ) -> Result<Response> {
        let name = self.name_of(repository)?;
        let mut patch = about(Method::PATCH, location, "send a blob", name, repository, &descriptor.digest);
        let length = descriptor.size - offset;
        patch.headers.insert(header::CONTENT_LENGTH, length.into());
        patch.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if offset > 0
            && let Some(chunk) = Chunk::new(offset..descriptor.size)
            && let Ok(range) = HeaderValue::from_str(&chunk.to_string())
        {
            patch.headers.insert(header::CONTENT_RANGE, range);
        }
        let body = outgoing(opened, offset..descriptor.size, sent.clone(), progress.clone());
        patch.body = Payload::Stream(body, Stalls::default());
        self.wire.ask_in(None, patch).await
    }

    /// Ends an upload: the registry holds what it got against the digest.
    async fn finish(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        location: &Url,
        body: Payload,
        resumed: bool,
    ) -> Result<()> {
        const OPERATION: &str = "finish an upload";
        let name = self.name_of(repository)?;
        let mut location = location.clone();
        location.query_pairs_mut().append_pair("digest", &descriptor.digest.to_string());
        let mut put = about(Method::PUT, &location, OPERATION, name, repository, &descriptor.digest);
        let length = if let Payload::Bytes(bytes) = &body { bytes.len() as u64 } else { 0 };
        put.headers.insert(header::CONTENT_LENGTH, length.into());
        put.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        put.body = body;
        let Err(refusal) = self.wire.attempt_in(None, put).await? else { return Ok(()) };
        let wrong = matches!(refusal.code, Some(ErrorCode::DigestInvalid | ErrorCode::SizeInvalid));
        if wrong && resumed {
            let expected = descriptor.digest;
            // What the registry computed is not known; whatever it is, it is not this.
            return Err(Error::Integrity {
                expected,
                actual: Digest::of(expected.algorithm(), b""),
                origin: None,
            });
        }
        if refusal.status == StatusCode::NOT_FOUND {
            // The session ended meanwhile: another one will do.
            self.sessions.forget(repository, &descriptor.digest);
            let (origin, source) = (self.wire.name(), Some(refusal.words.into()));
            return Err(Error::Unavailable { origin, operation: OPERATION, retry_after: None, source });
        }
        let subject = Subject::RemoteBlob(repository.clone(), descriptor.digest);
        Err(refusal.into_error(&self.wire.name(), OPERATION, subject))
    }

    /// Gives an upload up. A registry that does not hear of it lets it expire.
    async fn cancel(&self, repository: &Repository, descriptor: &Descriptor, location: &Url) {
        if let Ok(name) = self.name_of(repository) {
            let delete =
                about(Method::DELETE, location, "cancel an upload", name, repository, &descriptor.digest);
            if let Err(error) = self.wire.ask_in(None, delete).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "an upload could not be cancelled");
            }
        }
    }
}

/// A request to an upload's own URL.
fn about<'a>(
    method: Method,
    location: &'a Url,
    operation: &'static str,
    name: &'a RepositoryName,
    repository: &Repository,
    digest: &Digest,
) -> Ask<'a> {
    let subject = Subject::RemoteBlob(repository.clone(), *digest);
    Ask { target: Target::Url(location), ..ask(method, "", operation, Access::Push(name), subject) }
}

/// Bytes that the registry has, from the `Range` of an upload: `0-99`, both included. An upload without a byte is `0-0` or none at all;
/// the first byte is then sent a second time, which a registry that has it refuses, so one byte counts as none.
fn received(range: &str) -> u64 {
    let range = range.trim();
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    match range.split_once('-').and_then(|(_, last)| last.trim().parse::<u64>().ok()) {
        Some(0) | None => 0,
        Some(last) => last.saturating_add(1),
    }
}

/// A small blob, verified.
async fn read_whole(origin: Origin<'_>, descriptor: &Descriptor) -> Result<Bytes> {
    let opened = origin.source.open(origin.repository, descriptor, ByteRange::ALL).await?;
    let mut bytes = BytesMut::new();
    let mut stream = opened.stream;
    while let Some(piece) = stream.try_next().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > descriptor.size {
            break;
        }
    }
    let name = || Some(origin.source.name());
    if bytes.len() as u64 != descriptor.size {
        let (subject, expected) =
            (Subject::RemoteBlob(origin.repository.clone(), descriptor.digest), descriptor.size);
        return Err(Error::Size { subject, expected, actual: bytes.len() as u64, origin: name() });
    }
    let actual = Digest::of(descriptor.digest.algorithm(), &bytes);
    if actual != descriptor.digest {
        return Err(Error::Integrity { expected: descriptor.digest, actual, origin: name() });
    }
    Ok(bytes.freeze())
}
