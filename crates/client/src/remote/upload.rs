//! Sending a blob to a registry: begun once, gone on with after every interruption, verified before it is finished.
//!
//! The session's URL is the registry's and is used as it came; it may change with every answer. A small blob goes in one request behind the
//! POST, so that many small blobs do not wait for a third answer each, and so does one of medium size that needs no verifying on its way; a
//! larger one is a PATCH that can be gone on with, or several where something on the way does not let so much through at once.

use std::{ops::Range, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;
use http::{HeaderValue, Method, StatusCode, header};
use pier_content::{ByteRange, Error, Event, Origin, Progress, Result, Subject, Target as _};
use pier_oci::{
    Descriptor, Digest, Repository, RepositoryName,
    wire::{Chunk, Endpoint, ErrorCode},
};
use url::Url;

use super::{
    Remote, ask,
    sending::{Content, Sent},
};
use crate::{
    UploadSessions,
    refusal::Refusal,
    transport::{Payload, Response},
    wire::{Access, Ask, Target},
};

/// Blobs up to this many bytes are held in memory and sent in one request.
const AT_ONCE: u64 = 1 << 20;

/// Blobs up to this many bytes are sent in one request when they come verified out of a file. It is what an interruption can cost.
const VERIFIED_AT_ONCE: u64 = 4 << 20;

/// Bytes a second that a registry reads again at least before it says that a blob is right. Some copy it to another place meanwhile.
const CHECKED: u64 = 16 << 20;

/// How often in a row a blob's bytes may be sent somewhere else instead.
const REDIRECTS: usize = 3;

const FINISH: &str = "finish an upload";

const TAKES_LESS: &str = "send a blob: it takes less in one request";

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
    begun: Begun,
}

/// What became of an upload that was begun before.
enum Kept {
    /// It can be gone on with.
    Usable(Session),
    /// The registry knows it no more: perhaps because it was finished.
    Gone,
    /// There is none that is of use.
    Nothing,
}

/// What became of some bytes of a blob.
enum Patched {
    Taken(Response),
    /// They are to be sent there.
    Redirected(Url),
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
        self.wire.learn_chunks(answer);
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
            Kept::Usable(session) => session,
            Kept::Gone if self.is_there().await => return Ok(()),
            Kept::Gone | Kept::Nothing => self.new_session().await?,
        };
        self.progress.emit(|| Event::Started { descriptor: self.blob.clone(), done: session.offset });
        let begun = session.begun;
        let outcome = if self.blob.size <= AT_ONCE && session.offset == 0 {
            self.send_at_once(session).await
        } else {
            self.send(session).await
        };
        match outcome {
            Err(error) if !error.is_retryable() => {
                // What it has of this upload is of no use to anybody.
                self.forget();
                let is_final =
                    matches!(error, Error::Denied { .. } | Error::Untrusted { .. } | Error::Integrity { .. });
                if begun == Begun::Now || is_final {
                    return Err(error);
                }
                // Some of it may be from an earlier run, so nobody can say what was wrong: once more, whole.
                self.progress.emit(|| Event::Discarded(self.blob.digest));
                let session = self.new_session().await?;
                self.send(session).await?;
            }
            outcome => outcome?,
        }
        self.forget();
        Ok(())
    }

    /// An upload that was begun before. It is a hint and no more: whatever is wrong with it, another one is begun, and it is forgotten, so
    /// that it does not stand in the way of the next push.
    async fn known_session(&self) -> Result<Kept> {
        let Self { remote, repository, blob, .. } = self;
        let kept = self.sessions.and_then(|sessions| sessions.find(repository, &blob.digest));
        let Some(kept) = kept else { return Ok(Kept::Nothing) };
        let forget = |kept| {
            self.forget();
            Ok(kept)
        };
        let Ok(url) = Url::parse(&kept) else { return forget(Kept::Nothing) };
        // What was kept is held against the same rules as what an answer says.
        let Ok(location) = remote.wire.resolve(&kept, &url).await else { return forget(Kept::Nothing) };
        let progress = async || {
            let get = self.about(Method::GET, &location, "ask how far an upload is");
            remote.wire.ask_in(None, get).await
        };
        let answer = match progress().await {
            // The bytes that are there are worth a second question, but not that every push asks it.
            Err(Error::Unavailable { .. }) => progress().await,
            answer => answer,
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error @ Error::TooManyRequests { .. }) => return Err(error),
            Err(Error::NotFound { .. }) => return forget(Kept::Gone),
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "an upload cannot be gone on with, another one is begun"
                );
                return forget(Kept::Nothing);
            }
        };
        let offset = answer.header(header::RANGE).map_or(0, received);
        if offset > blob.size {
            return forget(Kept::Nothing);
        }
        let location = remote.location(&answer).await.unwrap_or(location);
        let begun = if offset == blob.size { Begun::Complete } else { Begun::Before };
        Ok(Kept::Usable(Session { location, offset, begun }))
    }

    /// Whether the registry has the blob, for all that it said.
    async fn is_there(&self) -> bool {
        matches!(self.remote.has(self.repository, self.blob).await, Ok(true))
    }

    async fn new_session(&self) -> Result<Session> {
        let Self { remote, repository, name, blob, .. } = self;
        let path = Endpoint::Uploads { repository: (*name).clone() }.to_string();
        let subject = Subject::RemoteRepository((*repository).clone());
        let mut post = ask(Method::POST, &path, "begin an upload", Access::Push(name), subject);
        post.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let answer = remote.wire.ask_in(None, post).await?;
        remote.wire.learn_chunks(&answer);
        let location = remote.location(&answer).await?;
        if blob.size > AT_ONCE {
            self.keep(&location);
        }
        Ok(Session { location, offset: 0, begun: Begun::Now })
    }

    async fn send_at_once(&self, session: Session) -> Result<()> {
        let bytes = read_whole(self.origin, self.blob).await?;
        let sent = bytes.len() as u64;
        self.finish(&session.location, Payload::Bytes(bytes), sent, session.begun).await?;
        self.progress.emit(|| Event::Advanced { digest: self.blob.digest, bytes: sent });
        Ok(())
    }

    async fn send(&self, session: Session) -> Result<()> {
        let Self { remote, blob, .. } = self;
        let Session { mut location, offset: start, begun } = session;
        let content = Content::of(self.origin, blob, self.progress).await?;
        let chunks = remote.wire.chunks();
        let fits = chunks.size(remote.wire.largest_body(), blob.size) == blob.size;
        if start == 0 && blob.size <= VERIFIED_AT_ONCE && content.is_verified_file() && fits {
            match self.send_verified(&location, &content, begun).await? {
                AtOnce::Done => return Ok(()),
                // Parts are followed by questions for how to go on, so that all of them go there.
                AtOnce::Redirected => {}
            }
        }
        let mut offset = start;
        let mut sent = content.sent(start);
        let mut redirects = 0;
        while offset < blob.size {
            let end = offset + chunks.size(remote.wire.largest_body(), blob.size - offset);
            let patched = self.patch(&location, &content, offset..end, &sent, begun).await;
            // The source's own failure says more than the connection that it broke.
            if let Some(error) = sent.failure() {
                return Err(error);
            }
            let answer = match patched? {
                Patched::Taken(answer) => answer,
                // Nothing was taken yet, so that what was read of it can be read once more.
                Patched::Redirected(next) if offset == start && redirects < REDIRECTS => {
                    redirects += 1;
                    sent = content.sent(start);
                    location = next;
                    continue;
                }
                Patched::Redirected(_) => {
                    return Err(Error::Unsupported {
                        what: "a blob that is sent elsewhere from its middle on",
                    });
                }
            };
            if let Ok(next) = remote.location(&answer).await {
                location = next;
                self.keep(&location);
            }
            offset = end;
        }
        if let Err(error) = sent.verify().await {
            self.cancel(&location).await;
            return Err(error);
        }
        self.finish(&location, Payload::Empty, 0, begun).await
    }

    async fn send_verified(&self, location: &Url, content: &Content<'_>, begun: Begun) -> Result<AtOnce> {
        let length = self.blob.size;
        let sent = content.sent(0);
        let body = content.payload(0..length, &sent).await?;
        let answer = self.put(location, body, length).await;
        // The source's own failure says more than the connection that it broke.
        if let Some(error) = sent.failure() {
            return Err(error);
        }
        if let Ok(Err(refusal)) = &answer
            && matches!(refusal.status.as_u16(), 307 | 308)
        {
            return Ok(AtOnce::Redirected);
        }
        self.finished(answer, length, begun).await.map(|()| AtOnce::Done)
    }

    async fn patch(
        &self,
        location: &Url,
        content: &Content<'_>,
        range: Range<u64>,
        sent: &Sent,
        begun: Begun,
    ) -> Result<Patched> {
        const OPERATION: &str = "send a blob";
        let Self { remote, blob, .. } = self;
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
        patch.body = content.payload(range, sent).await?;
        let subject = patch.subject.clone();
        let refusal = match remote.wire.attempt_in(None, patch).await? {
            Ok(answer) => return Ok(Patched::Taken(answer)),
            Err(refusal) => refusal,
        };
        let next = refusal.headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
        if let (307 | 308, Some(next)) = (refusal.status.as_u16(), next) {
            return Ok(Patched::Redirected(remote.wire.resolve(next, location).await?));
        }
        if begun != Begun::Now && refusal.status.is_server_error() {
            self.forget();
        }
        // The next part does not begin where this registry says that its content ends; it is asked where that is.
        if refusal.status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(self.interrupted("send a blob: it has not kept all that was sent", refusal));
        }
        // What it takes at once, a registry says only where an upload begins.
        if refusal.status == StatusCode::PAYLOAD_TOO_LARGE
            && begun != Begun::Now
            && !remote.wire.chunks().are_said()
        {
            self.forget();
        }
        // Content delivery networks let only so much through in one request.
        if refusal.status == StatusCode::PAYLOAD_TOO_LARGE && remote.wire.send_less_than(length) {
            return Err(self.interrupted(TAKES_LESS, refusal));
        }
        Err(refusal.into_error(&remote.wire.name(), OPERATION, subject))
    }

    /// Ends an upload with the last `length` bytes: the registry holds what it got against the digest.
    async fn finish(&self, location: &Url, body: Payload, length: u64, begun: Begun) -> Result<()> {
        let answer = self.put(location, body, length).await;
        self.finished(answer, length, begun).await
    }

    async fn put(&self, location: &Url, body: Payload, length: u64) -> Result<Result<Response, Refusal>> {
        let mut location = location.clone();
        location.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        let mut put = self.about(Method::PUT, &location, FINISH);
        put.headers.insert(header::CONTENT_LENGTH, length.into());
        put.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        put.body = body;
        put.patience = Duration::from_secs(self.blob.size / CHECKED);
        self.remote.wire.attempt_in(None, put).await
    }

    /// What came of the last request, which had `length` bytes with it.
    async fn finished(
        &self,
        answer: Result<Result<Response, Refusal>>,
        length: u64,
        begun: Begun,
    ) -> Result<()> {
        let error = match answer {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(refusal)) => self.not_finished(refusal, length, begun),
            Err(error) => error,
        };
        // It may be the answer that was lost, and not the blob.
        if matches!(error, Error::Unavailable { .. }) && self.is_there().await {
            return Ok(());
        }
        Err(error)
    }

    fn not_finished(&self, refusal: Refusal, length: u64, begun: Begun) -> Error {
        let Self { remote, repository, blob, .. } = self;
        let wrong = matches!(refusal.code, Some(ErrorCode::DigestInvalid | ErrorCode::SizeInvalid));
        if wrong && begun != Begun::Now {
            let subject = Subject::RemoteBlob((*repository).clone(), blob.digest);
            // How much of it is wrong is not known: whatever it has is not the blob.
            return Error::Size { subject, expected: blob.size, actual: blob.size, origin: None };
        }
        if refusal.status == StatusCode::NOT_FOUND {
            // The session ended meanwhile: another one will do.
            self.forget();
            return self.interrupted(FINISH, refusal);
        }
        // It failed with nothing left to send, or with all of it sent at once, and would again.
        let has_failed = begun == Begun::Complete || (begun == Begun::Before && length > 0);
        if has_failed && refusal.status.is_server_error() {
            self.forget();
        }
        // What need not go in one request can go in several.
        if refusal.status == StatusCode::PAYLOAD_TOO_LARGE
            && length > AT_ONCE
            && remote.wire.send_less_than(length)
        {
            // What it takes at once, a registry says only where an upload begins.
            if begun != Begun::Now && !remote.wire.chunks().are_said() {
                self.forget();
            }
            return self.interrupted(TAKES_LESS, refusal);
        }
        let subject = Subject::RemoteBlob((*repository).clone(), blob.digest);
        refusal.into_error(&remote.wire.name(), FINISH, subject)
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

/// What became of a blob that was sent in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtOnce {
    Done,
    /// The registry wants its bytes elsewhere.
    Redirected,
}

/// When the first of the bytes that a registry has were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    /// By this call, which knows what it sent.
    Now,
    /// By an earlier one.
    Before,
    /// By earlier ones, which have sent all of them.
    Complete,
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
