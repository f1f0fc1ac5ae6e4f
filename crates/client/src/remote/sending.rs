//! A blob's bytes on their way to a registry: counted, hashed where nobody has yet, and told about.

use std::{
    fs::File,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use pier_content::{Blob, Body, ByteStream, Error, Event, Opened, Origin, Progress, Result, Subject};
use pier_oci::{Descriptor, Digest, Hasher};
use pier_sendfile::{FileBody, FileQueue};
use tokio::task::JoinHandle;

use crate::transport::Payload;

/// A blob that is to be sent, in one request or in several.
pub(super) struct Content<'a> {
    origin: Origin<'a>,
    blob: &'a Descriptor,
    /// What this process hashed when it took it in.
    held: Option<Blob>,
    progress: &'a Progress,
}

/// What is known of the bytes that were sent.
#[derive(Clone, Debug)]
pub(super) struct Sent(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    digest: Digest,
    source: String,
    /// Absent where the content was hashed before, or where an earlier run sent its beginning.
    hashing: Option<Hashing>,
    /// What is sent and not hashed yet.
    behind: Behind,
    failure: Option<Error>,
}

/// Bytes that are hashed in one go: the hop to a blocking thread costs as much as hashing 50 KiB.
const HASHED_BYTES: usize = 1 << 20;

/// Pieces that wait for that at most: who sends byte by byte must not fill the memory with pieces.
const HASHED_PIECES: usize = 256;

/// The hash follows the bytes on a thread of its own.
#[derive(Debug)]
enum Hashing {
    Idle(Box<Hasher>),
    Busy(JoinHandle<Box<Hasher>>),
}

impl<'a> Content<'a> {
    /// # Errors
    /// [`Size`](Error::Size) when what the source holds is not as long as the descriptor says, and those of looking it up.
    pub(super) async fn of(origin: Origin<'a>, blob: &'a Descriptor, progress: &'a Progress) -> Result<Self> {
        let held = origin.source.held(origin.repository, blob).await?;
        if let Some(actual) = held.as_ref().map(|held| held.size).filter(|&size| size != blob.size) {
            let (subject, origin) = (Subject::Blob(blob.digest), Some(origin.source.name()));
            return Err(Error::Size { subject, expected: blob.size, actual, origin });
        }
        Ok(Self { origin, blob, held, progress })
    }

    /// What is known of it when its first `offset` bytes were sent before.
    pub(super) fn sent(&self, offset: u64) -> Sent {
        let hasher = || Hashing::Idle(Box::new(Hasher::new(self.blob.digest.algorithm())));
        let hashes = offset == 0 && self.held.is_none();
        Sent(Arc::new(Mutex::new(State {
            digest: self.blob.digest,
            source: self.origin.source.name(),
            hashing: hashes.then(hasher),
            behind: Behind::default(),
            failure: None,
        })))
    }

    /// Whether it comes out of a file and need not be hashed on its way.
    pub(super) fn is_verified_file(&self) -> bool {
        matches!(self.held, Some(Blob { body: Body::File(_), .. }))
    }

    /// The bytes of `range`, to be sent.
    pub(super) async fn payload(&self, range: Range<u64>, sent: &Sent) -> Result<Payload> {
        let (sent, progress) = (sent.clone(), self.progress.clone());
        if let Some(held) = &self.held
            && let Body::File(file) = &held.body
        {
            let (blob, file) = (held.clone(), Arc::clone(file));
            return Ok(Payload::File(Box::new(move |queue| {
                let opened =
                    Opened { start: range.start, size: None, stream: read(&blob, &file, &range, queue) };
                outgoing(opened, range.clone(), sent.clone(), progress.clone())
            })));
        }
        let Origin { source, repository } = self.origin;
        let opened = source.open(repository, self.blob, range.clone().into()).await?;
        Ok(Payload::Stream(outgoing(opened, range, sent, progress)))
    }
}

impl Sent {
    /// Why the source could not give all bytes, if that is what ended the request.
    pub(super) fn failure(&self) -> Option<Error> {
        self.with(|state| state.failure.take())
    }

    /// Holds what was sent against the digest, where it was hashed.
    pub(super) async fn verify(&self) -> Result<()> {
        let Some(hashing) = self.hash_on().await? else { return Ok(()) };
        let actual = hashing.finish().await?.finish();
        self.with(|state| {
            if actual == state.digest {
                return Ok(());
            }
            Err(Error::Integrity { expected: state.digest, actual, origin: Some(state.source.clone()) })
        })
    }

    async fn hash(&self, bytes: &Bytes) -> Result<()> {
        let is_enough = self.with(|state| state.hashing.is_some() && state.behind.add(bytes));
        if is_enough {
            let hashing = self.hash_on().await?;
            self.with(|state| state.hashing = hashing);
        }
        Ok(())
    }

    /// Begins to hash what is not, once what was begun before is done.
    async fn hash_on(&self) -> Result<Option<Hashing>> {
        let (hashing, behind) = self.with(|state| (state.hashing.take(), std::mem::take(&mut state.behind)));
        let Some(hashing) = hashing else { return Ok(None) };
        let mut hasher = hashing.finish().await?;
        Ok(Some(Hashing::Busy(tokio::task::spawn_blocking(move || {
            for bytes in behind.pieces {
                hasher.update(&bytes);
            }
            hasher
        }))))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Pieces in the order in which they were sent.
#[derive(Debug, Default)]
struct Behind {
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Behind {
    /// Whether they are enough to be hashed.
    fn add(&mut self, piece: &Bytes) -> bool {
        self.pieces.push(piece.clone());
        self.bytes += piece.len();
        self.bytes >= HASHED_BYTES || self.pieces.len() >= HASHED_PIECES
    }
}

impl Hashing {
    async fn finish(self) -> Result<Box<Hasher>> {
        match self {
            Self::Idle(hasher) => Ok(hasher),
            Self::Busy(busy) => {
                busy.await.map_err(|error| Error::io("hash", "", std::io::Error::other(error)))
            }
        }
    }
}

/// A range of a file that holds a blob, for the connection to which the queue belongs.
fn read(blob: &Blob, file: &Arc<File>, range: &Range<u64>, queue: Option<FileQueue>) -> ByteStream {
    let blob = blob.clone();
    FileBody::new(Arc::clone(file), range.clone(), queue).map_err(move |error| blob.unreadable(error)).boxed()
}

/// The bytes of `range`, exactly: what lies before it is dropped, and a source that gives too few or too many ends the request.
fn outgoing(opened: Opened, range: Range<u64>, sent: Sent, progress: Progress) -> ByteStream {
    let digest = sent.with(|state| state.digest);
    let state = Outgoing { stream: opened.stream, position: opened.start, range, sent, progress, digest };
    stream::try_unfold(state, |mut state| async move {
        match state.next().await {
            Ok(Some(bytes)) => Ok(Some((bytes, state))),
            Ok(None) => Ok(None),
            Err(error) => {
                let broken = Error::Abandoned { subject: Subject::Blob(state.digest) };
                state.sent.with(|sent| sent.failure = Some(error));
                Err(broken)
            }
        }
    })
    .boxed()
}

struct Outgoing {
    stream: ByteStream,
    position: u64,
    range: Range<u64>,
    sent: Sent,
    progress: Progress,
    digest: Digest,
}

impl Outgoing {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.position >= self.range.end {
                return Ok(None);
            }
            let Some(bytes) = self.stream.next().await.transpose()? else {
                return Err(self.wrong_size());
            };
            let start = self.position;
            self.position += bytes.len() as u64;
            if self.position > self.range.end {
                return Err(self.wrong_size());
            }
            let skipped = self.range.start.saturating_sub(start).min(bytes.len() as u64);
            // At most the length of the piece.
            #[expect(clippy::cast_possible_truncation, reason = "bounded by the length of a buffer")]
            let bytes = bytes.slice(skipped as usize..);
            if bytes.is_empty() {
                continue;
            }
            self.sent.hash(&bytes).await?;
            let advanced = bytes.len() as u64;
            self.progress.emit(|| Event::Advanced { digest: self.digest, bytes: advanced });
            return Ok(Some(bytes));
        }
    }

    fn wrong_size(&self) -> Error {
        Error::Size {
            subject: Subject::Blob(self.digest),
            expected: self.range.end,
            actual: self.position,
            origin: Some(self.sent.with(|state| state.source.clone())),
        }
    }
}
