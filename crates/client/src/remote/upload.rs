//! Sending a blob to a registry: begun once, gone on with after every interruption, verified before it is finished.
//!
//! The session's URL is the registry's and is used as it came; it may change with every answer. A small blob goes in one request behind the
//! POST, so that many small blobs do not wait for a third answer each; a larger one is a PATCH that can be gone on with, or several where
//! something on the way does not let so much through at once.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use http::{HeaderValue, Method, StatusCode, header};
use pier_content::{ByteRange, Error, Event, Origin, Progress, Result, Subject};
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
    UploadSessions,
    refusal::Refusal,
    transport::{Payload, Response, Stalls},
    wire::{Access, Ask, Target},
};

/// Blobs up to this many bytes are held in memory and sent in one request.
const AT_ONCE: u64 = 1 << 20;

/// One blob on its way to one repository.
struct Upload<'a> {
    remote: &'a Remote,
    repository: &'a Repository,
    name: &'a RepositoryName,
    blob: &'a Descriptor,
    origin: Origin<'a>,
    progress: &'a Progress,
    /// Where the session is remembered; nowhere for the second of two uploads of one blob.
    sessions: Option<&'a dyn UploadSessions>,
}

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
        blob: &Descriptor,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()> {
        let name = self.name_of(repository)?;
        let _slot = self.wire.write_slot().await;
        let claim = self.wire.uploads().claim(repository, &blob.digest);
        let sessions = claim.as_ref().map(|_| &*self.sessions);
        Upload { remote: self, repository, name, blob, origin, progress, sessions }.run().await?;
        progress.emit(|| Event::Committed(blob.clone()));
        Ok(())
    }

    /// Remembers the upload that an answer began.
    pub(super) async fn keep_session(&self, repository: &Repository, digest: &Digest, answer: &Response) {
        if let Ok(location) = self.location(answer).await {
            self.sessions.keep(repository, digest, location.as_str());
        }
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
}

impl Upload<'_> {
    async fn run(&self) -> Result<()> {
        let session = match self.known_session().await? {
            Some(session) => session,
            None => self.new_session().await?,
        };
        self.progress.emit(|| Event::Started { descriptor: self.blob.clone(), done: session.offset });
        let resumed = session.offset > 0;
        let outcome = if self.blob.size <= AT_ONCE && !resumed {
            self.send_at_once(session).await
        } else {
            self.send(session).await
        };
        match outcome {
            Err(error) if !error.is_retryable() => {
                // What it has of this upload is of no use to anybody.
                self.forget();
                if !resumed || matches!(error, Error::Denied { .. } | Error::Untrusted { .. }) {
                    return Err(error);
                }
                // Some of it came from an earlier run, so nobody can say what was wrong: once more, whole.
                self.progress.emit(|| Event::Discarded(self.blob.digest));
                let session = self.new_session().await?;
                self.send(session).await?;
            }
            outcome => outcome?,
        }
        self.forget();
        Ok(())
    }

    /// An upload that was begun before, if the registry still knows it.
    async fn known_session(&self) -> Result<Option<Session>> {
        let Self { remote, repository, blob, .. } = self;
        let kept = self.sessions.and_then(|sessions| sessions.find(repository, &blob.digest));
        let Some(kept) = kept else { return Ok(None) };
        let forget = || {
            self.forget();
            Ok(None)
        };
        let Ok(url) = Url::parse(&kept) else { return forget() };
        // What was kept is held against the same rules as what an answer says.
        let Ok(location) = remote.wire.resolve(&kept, &url).await else { return forget() };
        let get = self.about(Method::GET, &location, "ask how far an upload is");
        let answer = match remote.wire.ask_in(None, get).await {
            Ok(answer) => answer,
            Err(error) if error.is_retryable() => return Err(error),
            Err(_) => return forget(),
        };
        let offset = answer.header(header::RANGE).map_or(0, received);
        if offset > blob.size {
            return forget();
        }
        let location = remote.location(&answer).await.unwrap_or(location);
        Ok(Some(Session { location, offset }))
    }

    async fn new_session(&self) -> Result<Session> {
        let Self { remote, repository, name, blob, .. } = self;
        let path = Endpoint::Uploads { repository: (*name).clone() }.to_string();
        let subject = Subject::RemoteRepository((*repository).clone());
        let mut post = ask(Method::POST, &path, "begin an upload", Access::Push(name), subject);
        post.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let answer = remote.wire.ask_in(None, post).await?;
        let location = remote.location(&answer).await?;
        if blob.size > AT_ONCE {
            self.keep(&location);
        }
        Ok(Session { location, offset: 0 })
    }

    async fn send_at_once(&self, session: Session) -> Result<()> {
        let bytes = read_whole(self.origin, self.blob).await?;
        let sent = bytes.len() as u64;
        self.finish(&session.location, Payload::Bytes(bytes), Begun::Now).await?;
        self.progress.emit(|| Event::Advanced { digest: self.blob.digest, bytes: sent });
        Ok(())
    }

    async fn send(&self, session: Session) -> Result<()> {
        let Self { remote, blob, origin, .. } = self;
        let begun = if session.offset > 0 { Begun::Before } else { Begun::Now };
        let Session { mut location, mut offset } = session;
        let sent = Sent::new(*origin, blob, offset);
        while offset < blob.size {
            let end = blob.size.min(offset.saturating_add(remote.wire.largest_body()));
            let answer = self.patch(&location, offset..end, &sent).await;
            // The source's own failure says more than the connection that it broke.
            if let Some(error) = sent.failure() {
                return Err(error);
            }
            if let Ok(next) = remote.location(&answer?).await {
                location = next;
                self.keep(&location);
            }
            offset = end;
        }
        if let Err(error) = sent.verify().await {
            self.cancel(&location).await;
            return Err(error);
        }
        self.finish(&location, Payload::Empty, begun).await
    }

    async fn patch(&self, location: &Url, range: std::ops::Range<u64>, sent: &Sent) -> Result<Response> {
        const OPERATION: &str = "send a blob";
        let Self { remote, blob, origin, .. } = self;
        let opened = origin.source.open(origin.repository, blob, range.clone().into()).await?;
        let mut patch = self.about(Method::PATCH, location, OPERATION);
        let length = range.end - range.start;
        patch.headers.insert(header::CONTENT_LENGTH, length.into());
        patch.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        // The whole in one piece is what every registry takes; it needs no range, and some know none.
        if length < blob.size
            && let Some(chunk) = Chunk::new(range.clone())
            && let Ok(value) = HeaderValue::from_str(&chunk.to_string())
        {
            patch.headers.insert(header::CONTENT_RANGE, value);
        }
        let body = outgoing(opened, range, sent.clone(), self.progress.clone());
        patch.body = Payload::Stream(body, Stalls::default());
        let subject = patch.subject.clone();
        let refusal = match remote.wire.attempt_in(None, patch).await? {
            Ok(answer) => return Ok(answer),
            Err(refusal) => refusal,
        };
        // Content delivery networks let only so much through in one request.
        if refusal.status == StatusCode::PAYLOAD_TOO_LARGE && remote.wire.send_less_than(length) {
            return Err(self.interrupted("send a blob: it takes less in one request", refusal));
        }
        Err(refusal.into_error(&remote.wire.name(), OPERATION, subject))
    }

    /// Ends an upload: the registry holds what it got against the digest.
    async fn finish(&self, location: &Url, body: Payload, begun: Begun) -> Result<()> {
        const OPERATION: &str = "finish an upload";
        let Self { remote, repository, blob, .. } = self;
        let mut location = location.clone();
        location.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let mut put = self.about(Method::PUT, &location, OPERATION);
        let length = if let Payload::Bytes(bytes) = &body { bytes.len() as u64 } else { 0 };
        put.headers.insert(header::CONTENT_LENGTH, length.into());
        put.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        put.body = body;
        let Err(refusal) = remote.wire.attempt_in(None, put).await? else { return Ok(()) };
        let wrong = matches!(refusal.code, Some(ErrorCode::DigestInvalid | ErrorCode::SizeInvalid));
        if wrong && begun == Begun::Before {
            let subject = Subject::RemoteBlob((*repository).clone(), blob.digest);
            // How much of it is wrong is not known: whatever it has is not the blob.
            return Err(Error::Size { subject, expected: blob.size, actual: blob.size, origin: None });
        }
        if refusal.status == StatusCode::NOT_FOUND {
            // The session ended meanwhile: another one will do.
            self.forget();
            return Err(self.interrupted(OPERATION, refusal));
        }
        let subject = Subject::RemoteBlob((*repository).clone(), blob.digest);
        Err(refusal.into_error(&remote.wire.name(), OPERATION, subject))
    }

    /// Gives an upload up. A registry that does not hear of it lets it expire.
    async fn cancel(&self, location: &Url) {
        let delete = self.about(Method::DELETE, location, "cancel an upload");
        if let Err(error) = self.remote.wire.ask_in(None, delete).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "an upload could not be cancelled");
        }
    }

    fn keep(&self, location: &Url) {
        if let Some(sessions) = self.sessions {
            sessions.keep(self.repository, &self.blob.digest, location.as_str());
        }
    }

    fn forget(&self) {
        if let Some(sessions) = self.sessions {
            sessions.forget(self.repository, &self.blob.digest);
        }
    }

    /// A request to the upload's own URL.
    fn about<'b>(&'b self, method: Method, location: &'b Url, operation: &'static str) -> Ask<'b> {
        let subject = Subject::RemoteBlob(self.repository.clone(), self.blob.digest);
        Ask { target: Target::Url(location), ..ask(method, "", operation, Access::Push(self.name), subject) }
    }

    fn interrupted(&self, operation: &'static str, refusal: Refusal) -> Error {
        let source = Some(refusal.words.into());
        Error::Unavailable { origin: self.remote.wire.name(), operation, retry_after: None, source }
    }
}

/// When the first of the bytes that a registry has were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    /// By this call, which knows what it sent.
    Now,
    /// By an earlier one.
    Before,
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
async fn read_whole(origin: Origin<'_>, blob: &Descriptor) -> Result<Bytes> {
    let opened = origin.source.open(origin.repository, blob, ByteRange::ALL).await?;
    let mut bytes = BytesMut::new();
    let mut stream = opened.stream;
    while let Some(piece) = stream.try_next().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > blob.size {
            break;
        }
    }
    let (actual, expected) = (bytes.len() as u64, blob.size);
    let name = || Some(origin.source.name());
    if actual != expected {
        let subject = Subject::RemoteBlob(origin.repository.clone(), blob.digest);
        return Err(Error::Size { subject, expected, actual, origin: name() });
    }
    let actual = Digest::of(blob.digest.algorithm(), &bytes);
    if actual != blob.digest {
        return Err(Error::Integrity { expected: blob.digest, actual, origin: name() });
    }
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::received;

    #[test]
    fn what_a_registry_has_is_read_from_the_range_of_an_upload() {
        for (range, bytes) in
            [("0-0", 0), ("0-99", 100), ("bytes=0-99", 100), (" 0-1 ", 2), ("", 0), ("0-x", 0)]
        {
            assert_eq!(received(range), bytes, "{range}");
        }
    }
}
