//! Becoming a part's one writer, or following it, or waiting for another process.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use pier_content::{Error, Ingest, Result, Subject};
use pier_oci::{Digest, SessionId};
use tokio::time::{Instant, sleep, timeout};

use super::{
    folder::{Folder, Opening, last_touched},
    reader::Reader,
    table::{Joined, PartKey, PartTable, Registration},
    writer::Writer,
};
use crate::store::{Context, blocking};

/// How often the lock of another process is tried. A lock that another process holds wakes nobody here, and a
/// thread that blocks in it could not be called back.
const LOCK_TRY: Duration = Duration::from_millis(50);

/// How long a request waits for another one on the same upload session, which is one client's business.
///
/// Long enough for the flush of a request that has just ended.
const SESSION_WAIT: Duration = Duration::from_secs(30);

/// The ways into a part.
#[derive(Debug)]
pub(crate) struct Join<'a> {
    pub(crate) context: &'a Arc<Context>,
    pub(crate) parts: &'a Arc<PartTable>,
}

impl Join<'_> {
    /// Fills a blob or follows who does.
    pub(crate) async fn blob(&self, digest: Digest, size: Option<u64>) -> Result<Ingest> {
        let key = PartKey::Blob(digest);
        match self.parts.join(&key, size) {
            Joined::Existing(shared) => Ok(Ingest::Following(Box::new(Reader::new(shared)))),
            Joined::New(registration) => self.open(registration, Opening::Create).await,
        }
    }

    /// Begins an upload session.
    pub(crate) async fn new_upload(&self, session: SessionId) -> Result<Ingest> {
        self.session(session, Opening::Create).await
    }

    /// Goes on with an upload session.
    pub(crate) async fn upload(&self, session: SessionId) -> Result<Ingest> {
        self.session(session, Opening::Existing).await
    }

    async fn session(&self, session: SessionId, opening: Opening) -> Result<Ingest> {
        let key = PartKey::Upload(session);
        let deadline = Instant::now() + SESSION_WAIT;
        loop {
            match self.parts.join(&key, None) {
                Joined::New(registration) => return self.open(registration, opening).await,
                Joined::Existing(shared) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || timeout(left, shared.released()).await.is_err() {
                        return Err(Error::Busy { subject: key.subject(), waited: SESSION_WAIT });
                    }
                }
            }
        }
    }

    /// Takes the folder's lock, waiting for another process as long as that makes progress.
    async fn open(&self, registration: Registration, opening: Opening) -> Result<Ingest> {
        let key = registration.shared.key.clone();
        let path = match &key {
            PartKey::Blob(digest) => self.context.dir.part(digest),
            PartKey::Upload(session) => self.context.dir.upload(session),
        };
        let mut registration = registration;
        let mut patience = match &key {
            PartKey::Blob(_) => Patience::while_it_gets_on(self.context.options.writer_wait),
            PartKey::Upload(_) => Patience::fixed(SESSION_WAIT),
        };
        loop {
            let context = Arc::clone(self.context);
            let folder = path.clone();
            // The registration goes along, so that a caller who stops waiting leaves nothing half-taken.
            let attempt = blocking(move || match Folder::try_lock(&folder, opening)? {
                Some(locked) => Writer::open(context, locked, registration).map(Attempt::Opened),
                None => Ok(Attempt::Held(registration, last_touched(&folder))),
            });
            match attempt.await {
                Ok(Attempt::Opened(writer)) => return Ok(Ingest::Filling(Box::new(writer))),
                Ok(Attempt::Held(kept, touched)) => {
                    registration = kept;
                    if !patience.goes_on(touched) {
                        return Err(Error::Busy { subject: key.subject(), waited: patience.waited() });
                    }
                    sleep(LOCK_TRY).await;
                }
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    match &key {
                        PartKey::Upload(session) => {
                            return Err(Error::NotFound { subject: Subject::Upload(*session) });
                        }
                        PartKey::Blob(_) => return Err(Error::io("open part", path, source)),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

enum Attempt {
    Opened(Writer),
    Held(Registration, Option<SystemTime>),
}

/// How long to wait for another process.
struct Patience {
    bound: Duration,
    renewed: Renewed,
    since: Instant,
    last_progress: Instant,
    touched: Option<SystemTime>,
}

/// Whether the bound begins anew.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Renewed {
    ByProgress,
    Never,
}

impl Patience {
    /// Until it has made no progress for `bound`.
    fn while_it_gets_on(bound: Duration) -> Self {
        Self::new(bound, Renewed::ByProgress)
    }

    /// `bound`, whatever it does.
    fn fixed(bound: Duration) -> Self {
        Self::new(bound, Renewed::Never)
    }

    fn new(bound: Duration, renewed: Renewed) -> Self {
        let now = Instant::now();
        Self { bound, renewed, since: now, last_progress: now, touched: None }
    }

    /// Whether to go on waiting, given when the part's files were last written.
    fn goes_on(&mut self, touched: Option<SystemTime>) -> bool {
        if self.renewed == Renewed::ByProgress && touched != self.touched {
            self.touched = touched;
            self.last_progress = Instant::now();
        }
        self.last_progress.elapsed() < self.bound
    }

    fn waited(&self) -> Duration {
        self.since.elapsed()
    }
}
