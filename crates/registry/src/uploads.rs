//! Blobs on their way in: end-4 to end-6, end-11, end-13, end-14.
//!
//! A session is its id, which only this server could have made ([`session`](crate::session)), and a part in the
//! store, whose length is the session's offset: nothing else is kept, so a session outlives the process. Each request
//! holds the part alone while it writes.
//!
//! What a request writes, it writes in a task of its own: a client that hangs up in the middle of a chunk ends the
//! request, and the task still writes what had arrived, so that the status tells the true offset.
//!
//! So many of these tasks as [`Settings::max_uploads`](crate::Settings::max_uploads) says are at work at once, whatever
//! the number of connections and of streams in them, since each holds buffers. The others wait for their turn, and
//! their clients send no more than the sockets hold.

use std::sync::Arc;

use http::{HeaderName, StatusCode, header};
use pier_content::{Blob, ByteRange, Claim, Commit, Error, Filling, Ingest, IngestKey, Subject, pump};
use pier_oci::{
    Algorithm, Digest, RepositoryName, SessionId,
    wire::{Chunk, Endpoint, ErrorCode},
};
use tokio::time::timeout;

use crate::{
    action::StartUpload, answer::Answer, incoming::RequestBody, refusal::Refusal, registry::Inner, session,
    turns::Turn,
};

/// Names the session, for clients that want to.
const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

type Outcome<T = Answer> = Result<T, Refusal>;

/// A session of a repository whose id has been checked.
#[derive(Clone, Debug)]
struct Session {
    repository: RepositoryName,
    id: SessionId,
}

impl Session {
    fn location(&self) -> Endpoint {
        Endpoint::Upload { repository: self.repository.clone(), session: self.id }
    }

    fn subject(&self) -> Subject {
        Subject::Upload(self.id)
    }

    /// What every answer about a session carries. An empty session has the range `0-0`: the specification has no
    /// word for it, and this is what clients know from distribution.
    fn answer(&self, status: StatusCode, offset: u64) -> Answer {
        Answer::new(status)
            .header(header::LOCATION, self.location())
            .header(header::RANGE, format_args!("0-{}", offset.saturating_sub(1)))
            .header(UPLOAD_UUID, self.id)
    }
}

impl Inner {
    /// POST: opens a session, or takes the whole blob, or shows one that is there.
    pub(crate) async fn start_upload(
        self: &Arc<Self>,
        repository: RepositoryName,
        start: StartUpload,
        body: RequestBody,
    ) -> Outcome {
        match start {
            StartUpload::Mount { digest, from } => {
                body.discard().await;
                self.mount(repository, digest, from).await
            }
            StartUpload::Whole { digest } => {
                let session = self.new_session(repository)?;
                let (turn, body) = self.turn(body).await?;
                self.in_task(move |inner| async move {
                    let _turn = turn;
                    inner.upload_whole(&session, digest, body).await
                })
                .await
            }
            StartUpload::Session { algorithm } => {
                body.discard().await;
                self.open_session(repository, algorithm).await
            }
        }
    }

    /// Shows a blob that another repository shows, or else opens a session for it.
    ///
    /// Without `from` any repository will do: whoever gets as far as this may read all of them. Access control by
    /// repository has to decide here from which ones a caller may mount.
    async fn mount(
        &self,
        repository: RepositoryName,
        digest: Digest,
        from: Option<RepositoryName>,
    ) -> Outcome {
        let claim = from.map_or(Claim::FromAny, Claim::From);
        match self.catalog.link(&repository, &digest, claim).await {
            Ok(_) => Ok(created(&repository, digest)),
            Err(Error::NotFound { .. }) => self.open_session(repository, Some(digest.algorithm())).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn open_session(&self, repository: RepositoryName, algorithm: Option<Algorithm>) -> Outcome {
        let session = self.new_session(repository)?;
        let filling = self.part(IngestKey::NewUpload(session.id)).await?;
        if let Some(algorithm) = algorithm {
            filling.hash_as(algorithm);
        }
        Ok(session.answer(StatusCode::ACCEPTED, 0))
    }

    async fn upload_whole(&self, session: &Session, digest: Digest, body: RequestBody) -> Outcome {
        let (filling, body) = self.part_for(IngestKey::NewUpload(session.id), body).await?;
        filling.hash_as(digest.algorithm());
        let outcome = match self.append(session, &*filling, None, body).await {
            Ok(_) => self.publish(session, &*filling, digest).await,
            Err(refusal) => Err(refusal),
        };
        if outcome.is_err() {
            // The client was never told of the session, so nobody will come back to it.
            self.end(session, &*filling).await;
        }
        outcome.map(|()| created(&session.repository, digest))
    }

    /// PATCH: appends a chunk, or a stream of no announced length.
    pub(crate) async fn append_chunk(
        self: &Arc<Self>,
        repository: RepositoryName,
        id: SessionId,
        chunk: Option<Chunk>,
        body: RequestBody,
    ) -> Outcome {
        self.in_session(repository, id, body, move |inner, session, filling, body| async move {
            let offset = inner.append(&session, &*filling, chunk, body).await?;
            Ok(session.answer(StatusCode::ACCEPTED, offset))
        })
        .await
    }

    /// PUT: appends what the body holds, checks the whole and shows it.
    pub(crate) async fn finish_upload(
        self: &Arc<Self>,
        repository: RepositoryName,
        id: SessionId,
        digest: Digest,
        chunk: Option<Chunk>,
        body: RequestBody,
    ) -> Outcome {
        self.in_session(repository, id, body, move |inner, session, filling, body| async move {
            // For a session that has no byte yet: the whole blob may be in this request.
            filling.hash_as(digest.algorithm());
            inner.append(&session, &*filling, chunk, body).await?;
            inner.publish(&session, &*filling, digest).await?;
            Ok(created(&session.repository, digest))
        })
        .await
    }

    /// Does what a request with a body asks of its session: in its turn, alone, and also when the client hangs up.
    async fn in_session<F>(
        self: &Arc<Self>,
        repository: RepositoryName,
        id: SessionId,
        body: RequestBody,
        work: impl FnOnce(Arc<Self>, Session, Box<dyn Filling>, RequestBody) -> F + Send + 'static,
    ) -> Outcome
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (session, body) = self.session_for(repository, id, body).await?;
        let (turn, body) = self.turn(body).await?;
        self.in_task(move |inner| async move {
            let _turn = turn;
            let (filling, body) = inner.part_for(IngestKey::Upload(session.id), body).await?;
            work(inner, session, filling, body).await
        })
        .await
    }

    /// GET: how far the session is.
    pub(crate) async fn upload_status(&self, repository: RepositoryName, id: SessionId) -> Outcome {
        let session = self.session(repository, id)?;
        let filling = self.part(IngestKey::Upload(session.id)).await?;
        Ok(session.answer(StatusCode::NO_CONTENT, offset(&*filling)))
    }

    /// DELETE: ends the session.
    pub(crate) async fn cancel_upload(&self, repository: RepositoryName, id: SessionId) -> Outcome {
        let session = self.session(repository, id)?;
        let filling = self.part(IngestKey::Upload(session.id)).await?;
        filling.abort().await?;
        Ok(Answer::new(StatusCode::NO_CONTENT))
    }

    fn new_session(&self, repository: RepositoryName) -> Outcome<Session> {
        let id = session::start(&self.settings.session_key, &repository)
            .map_err(|error| Error::io("take randomness", "/dev/urandom", error))?;
        Ok(Session { repository, id })
    }

    /// Knows a session by its id alone; the store is not asked about ids that nobody gave out.
    fn session(&self, repository: RepositoryName, id: SessionId) -> Outcome<Session> {
        if !session::is_ours(&self.settings.session_key, &repository, id) {
            return Err(Refusal::upload_unknown());
        }
        Ok(Session { repository, id })
    }

    /// The session of a request with a body, which is read when the session is none.
    async fn session_for(
        &self,
        repository: RepositoryName,
        id: SessionId,
        body: RequestBody,
    ) -> Outcome<(Session, RequestBody)> {
        match self.session(repository, id) {
            Ok(session) => Ok((session, body)),
            Err(refusal) => {
                body.discard().await;
                Err(refusal)
            }
        }
    }

    /// The part behind a session, alone.
    async fn part(&self, key: IngestKey) -> Outcome<Box<dyn Filling>> {
        match self.blobs.ingest(key).await? {
            Ingest::Filling(filling) => Ok(filling),
            // An upload has no digest before its commit, so it is neither there already nor followed.
            Ingest::Present(_) | Ingest::Following(_) => Err(Refusal::upload_unknown()),
        }
    }

    /// The part behind the session of a request with a body, which is read when the part is not to be had.
    async fn part_for(&self, key: IngestKey, body: RequestBody) -> Outcome<(Box<dyn Filling>, RequestBody)> {
        match self.part(key).await {
            Ok(filling) => Ok((filling, body)),
            Err(refusal) => {
                body.discard().await;
                Err(refusal)
            }
        }
    }

    /// Waits until fewer uploads are at work than may be. To be held as long as the upload is.
    pub(crate) async fn turn(&self, body: RequestBody) -> Outcome<(Turn, RequestBody)> {
        match timeout(self.settings.idle_timeout, self.turns.take(body.host())).await {
            Ok(turn) => Ok((turn, body)),
            Err(_) => {
                body.discard().await;
                Err(Refusal::crowded())
            }
        }
    }

    /// Writes the body behind what is there. Gives the new offset.
    async fn append(
        &self,
        session: &Session,
        filling: &dyn Filling,
        chunk: Option<Chunk>,
        body: RequestBody,
    ) -> Outcome<u64> {
        let start = offset(filling);
        if let Some(chunk) = chunk {
            let fits =
                chunk.bytes().start == start && body.length().is_none_or(|length| length == length_of(chunk));
            if !fits {
                body.discard().await;
                return Err(out_of_order(session, start));
            }
        }
        let limit = self.settings.max_blob_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(start));
        let announced = body.length().or(chunk.map(length_of));
        if announced.is_some_and(|announced| announced > limit) {
            body.discard().await;
            return Err(self.too_large());
        }
        let hole = ByteRange { start, end: chunk.map(|chunk| chunk.bytes().end) };
        let reached = match pump(body.into_stream(limit, session.subject()), start, hole, filling).await {
            Err(Error::Size { .. }) => return Err(self.too_large()),
            outcome => outcome?,
        };
        match hole.end {
            Some(end) if reached < end => Err(out_of_order(session, reached)),
            _ => Ok(reached),
        }
    }

    /// Commits what is there as a blob of the repository. Content that is something else ends the session.
    async fn publish(&self, session: &Session, filling: &dyn Filling, digest: Digest) -> Outcome<()> {
        let commit = Commit { digest, link: Some(session.repository.clone()) };
        match filling.commit(commit).await {
            Ok(Blob { .. }) => Ok(()),
            Err(error) => {
                if error.is_integrity() {
                    self.end(session, filling).await;
                }
                Err(error.into())
            }
        }
    }

    /// Throws a session away after a failure that the client is told about. That this fails too changes nothing for
    /// the client: the part expires.
    async fn end(&self, session: &Session, filling: &dyn Filling) {
        if let Err(error) = filling.abort().await {
            tracing::warn!(session = %session.id, %error, "upload session could not be removed");
        }
    }

    fn too_large(&self) -> Refusal {
        Refusal::too_large("the blob", self.settings.max_blob_bytes.unwrap_or(u64::MAX))
    }
}

/// What does not start where the content ends. The range tells the client where that is.
fn out_of_order(session: &Session, offset: u64) -> Refusal {
    let message = format!("the chunk does not fit: the next byte is byte {offset}");
    let answer = session.answer(StatusCode::RANGE_NOT_SATISFIABLE, offset);
    Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid, message)
        .with_headers_of(answer)
}

fn length_of(chunk: Chunk) -> u64 {
    chunk.bytes().end - chunk.bytes().start
}

/// Where the next byte goes: an upload is filled front to back, so that is where its only hole starts.
fn offset(filling: &dyn Filling) -> u64 {
    filling.missing().first().map_or_else(|| filling.size().unwrap_or(0), |hole| hole.start)
}

fn created(repository: &RepositoryName, digest: Digest) -> Answer {
    Answer::new(StatusCode::CREATED)
        .header(header::LOCATION, Endpoint::Blob { repository: repository.clone(), digest })
        .digest(digest)
}
