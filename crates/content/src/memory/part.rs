//! Content in the making, as its writer and its readers share it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::{Bytes, BytesMut};
use pier_oci::{Algorithm, Digest, Hasher, SessionId};
use tokio::sync::watch;

use super::lock;
use crate::{Blob, ByteRange, Error, RangeSet, Result, Subject};

/// What a part is to become.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum PartKey {
    Blob(Digest),
    Upload(SessionId),
}

impl PartKey {
    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::Blob(digest) => Subject::Blob(*digest),
            Self::Upload(session) => Subject::Upload(*session),
        }
    }

    /// What its bytes are hashed with as they come. For uploads that is what nearly everybody pushes under.
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Blob(digest) => digest.algorithm(),
            Self::Upload(_) => Algorithm::Sha256,
        }
    }
}

/// A part under one writer. The next writer gets a new one with the same bytes, so that those who followed the
/// last are told that it went away, however late they look.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) key: PartKey,
    state: Mutex<State>,
    /// Bumped at each change that somebody may wait for.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// The size that was announced.
    pub(super) size: Option<u64>,
    pub(super) content: Content,
    /// How often the content was thrown away. A reader of an older epoch has read what was wrong.
    pub(super) epoch: u64,
    /// Why the content was thrown away last.
    rejected: Option<Rejected>,
}

/// What a part is doing.
#[derive(Debug)]
pub(super) enum Phase {
    Filling,
    /// It takes no more bytes, since its commit is under way.
    Committing,
    Committed(Blob),
    /// Its writer has gone or has thrown it away.
    Abandoned,
}

/// Why content was thrown away.
#[derive(Clone, Debug)]
pub(super) enum Rejected {
    Digest {
        expected: Digest,
        actual: Digest,
    },
    /// Its writer started over.
    Reset,
}

impl Part {
    pub(super) fn new(key: PartKey, size: Option<u64>) -> Self {
        let content = Content::new(key.algorithm());
        Self::with_content(key, size, content)
    }

    /// The part for the next writer. Content that is longer than what is announced now is not what it claims to be.
    pub(super) fn succeeded(&self, size: Option<u64>) -> Self {
        let content = self.state().content.clone();
        if size.is_some_and(|size| content.present.end() > size) {
            return Self::new(self.key.clone(), size);
        }
        Self::with_content(self.key.clone(), size, content)
    }

    fn with_content(key: PartKey, size: Option<u64>, content: Content) -> Self {
        let state = State { phase: Phase::Filling, size, content, epoch: 0, rejected: None };
        Self { key, state: Mutex::new(state), changed: watch::Sender::new(()) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// To be taken before the state is looked at, so that no change between the two is missed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn notify(&self) {
        self.changed.send_replace(());
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.state().phase = phase;
        self.notify();
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self.state().phase, Phase::Filling | Phase::Committing)
    }

    /// Waits until nobody holds the part.
    pub(super) async fn released(self: Arc<Self>) {
        let mut changes = self.changes();
        while self.is_held() {
            // The sender lives in `self`.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Empties the part and keeps it.
    pub(super) fn reset(&self, why: Rejected) {
        {
            let mut state = self.state();
            state.content = Content::new(self.key.algorithm());
            state.epoch += 1;
            state.rejected = Some(why);
        }
        self.notify();
    }

    pub(super) fn invalid(&self, reason: impl Into<String>) -> Error {
        Error::Invalid { subject: self.key.subject(), reason: reason.into() }
    }

    pub(super) fn abandoned(&self) -> Error {
        Error::Abandoned { subject: self.key.subject() }
    }

    /// Refuses a reader whose epoch is over.
    pub(super) fn check_epoch(&self, state: &State, epoch: u64) -> Result<()> {
        if state.epoch == epoch {
            return Ok(());
        }
        match state.rejected {
            Some(Rejected::Digest { expected, actual }) => {
                Err(Error::Integrity { expected, actual, origin: None })
            }
            Some(Rejected::Reset) | None => Err(self.abandoned()),
        }
    }
}

impl State {
    /// What is missing, with an open end while the size is unknown.
    pub(super) fn missing(&self) -> Vec<ByteRange> {
        let present = &self.content.present;
        let end = self.size.unwrap_or(present.end());
        let mut missing: Vec<ByteRange> = present.holes(0..end).into_iter().map(ByteRange::from).collect();
        if self.size.is_none() {
            missing.push(ByteRange::starting_at(end));
        }
        missing
    }
}

/// Bytes that have arrived, hashed as far as they reach without a hole.
#[derive(Clone, Debug)]
pub(super) struct Content {
    /// By their position. They fill `present` exactly and do not overlap, so that a far offset costs no memory.
    pieces: BTreeMap<u64, Bytes>,
    pub(super) present: RangeSet,
    hasher: Hasher,
    hashed: u64,
}

impl Content {
    fn new(algorithm: Algorithm) -> Self {
        Self {
            pieces: BTreeMap::new(),
            present: RangeSet::default(),
            hasher: Hasher::new(algorithm),
            hashed: 0,
        }
    }

    /// Keeps what of `bytes`, which belong at `offset`, falls into holes.
    pub(super) fn fill(&mut self, offset: u64, bytes: &Bytes) {
        let end = offset + bytes.len() as u64;
        for hole in self.present.holes(offset..end) {
            #[expect(clippy::cast_possible_truncation, reason = "differences within one buffer")]
            let piece = bytes.slice((hole.start - offset) as usize..(hole.end - offset) as usize);
            self.pieces.insert(hole.start, piece);
            self.present.insert(hole);
        }
        self.advance_hash();
    }

    /// Bytes from `position` on, at least one and not beyond their piece; `None` when they are not there.
    pub(super) fn at(&self, position: u64) -> Option<Bytes> {
        let (start, piece) = self.pieces.range(..=position).next_back()?;
        let skipped = usize::try_from(position - start).ok()?;
        (skipped < piece.len()).then(|| piece.slice(skipped..))
    }

    /// What the bytes from the first on hash to. Another algorithm than was used on the way reads all of them again.
    pub(super) fn digest(&self, algorithm: Algorithm) -> Digest {
        if self.hasher.algorithm() == algorithm {
            return self.hasher.clone().finish();
        }
        let mut hasher = Hasher::new(algorithm);
        for piece in self.pieces.values() {
            hasher.update(piece);
        }
        hasher.finish()
    }

    /// All pieces, one behind the other.
    pub(super) fn joined(&self) -> Bytes {
        let mut whole = BytesMut::new();
        for piece in self.pieces.values() {
            whole.extend_from_slice(piece);
        }
        whole.freeze()
    }

    fn advance_hash(&mut self) {
        while let Some(next) = self.at(self.hashed) {
            self.hasher.update(&next);
            self.hashed += next.len() as u64;
        }
    }
}
