//! What a part's writer and its readers share.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use pier_content::{Blob, ByteRange, Error, RangeSet};
use pier_oci::Algorithm;
use tokio::sync::watch;

use super::{
    folder::{Contents, Data, Listed, Writable},
    hashing::Hashing,
    table::PartKey,
};
use crate::store::lock;

/// A part that some task of this process holds, or did hold.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) key: PartKey,
    state: Mutex<State>,
    /// Bumped at each change that somebody may wait for.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// Whether a task of this process still holds it.
    pub(super) held: bool,
    /// The size that was announced.
    pub(super) size: Option<u64>,
    /// `None` until the folder has been opened.
    pub(super) data: Option<Data>,
    pub(super) present: RangeSet,
    /// Being written just now. Not present yet, and nobody else may write there.
    pub(super) claimed: RangeSet,
    pub(super) listed: Listed,
    pub(super) writable: Writable,
    /// `None` while a thread advances it.
    pub(super) hashing: Option<Hashing>,
    /// How often the content was thrown away. A reader of an older epoch has read what was wrong.
    pub(super) epoch: u64,
    /// Why the content was thrown away last.
    pub(super) rejected: Option<Rejected>,
    /// Bytes that were written since the last flush began.
    pub(super) unflushed: u64,
    /// Space is reserved up to here.
    pub(super) reserved: u64,
    /// Whether the hash may outlive this writer. Not once something is present that the list does not say: another
    /// process would write there, and the hash would be of bytes that are gone.
    pub(super) hash_outlives: bool,
    /// Counts commits, also those that were given up: work of an earlier one must not act any more.
    pub(super) commit: u64,
    /// Why bytes that were written are not to be had back: the device failed to keep them. Until the part is reset.
    pub(super) lost: Option<Lost>,
}

/// What a part is doing.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Its folder is being opened, or it takes bytes.
    Filling,
    /// It takes no more bytes, since its commit is under way.
    Committing,
    /// It was thrown away and is let go in a moment.
    Aborted,
    /// It is a blob.
    Committed(Blob),
    /// Nobody holds it any more.
    Abandoned,
}

/// A device's failure to keep what was written, to be told to whoever works on the part.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) kind: io::ErrorKind,
    pub(super) path: PathBuf,
}

impl Lost {
    pub(super) fn to_error(&self) -> Error {
        Error::io("keep what was written to", &self.path, self.kind.into())
    }
}

/// A mismatch, kept for those who followed.
#[derive(Clone, Debug)]
pub(super) enum Rejected {
    Digest {
        expected: pier_oci::Digest,
        actual: pier_oci::Digest,
    },
    /// Its writer started over.
    Reset,
}

impl Shared {
    pub(super) fn new(key: PartKey, size: Option<u64>) -> Self {
        let algorithm = key.algorithm();
        let state = State {
            phase: Phase::Filling,
            held: true,
            size,
            data: None,
            present: RangeSet::default(),
            claimed: RangeSet::default(),
            listed: Listed::ByLength,
            writable: Writable::Yes,
            hashing: Some(Hashing::new(algorithm)),
            epoch: 0,
            rejected: None,
            unflushed: 0,
            reserved: 0,
            hash_outlives: true,
            commit: 0,
            lost: None,
        };
        Self { key, state: Mutex::new(state), changed: watch::Sender::new(()) }
    }

    /// Hashes with an algorithm from the first byte on, if none has been hashed.
    pub(super) fn hash_as(&self, algorithm: Algorithm) {
        // A thread that advances the hash has it just now: then it is under way.
        if let Some(hashing) = &mut self.state().hashing
            && hashing.position() == 0
            && hashing.algorithm() != algorithm
        {
            *hashing = Hashing::new(algorithm);
        }
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

    /// Takes over what was found in the folder.
    pub(super) fn opened(&self, contents: Contents, parked: Option<Hashing>) {
        let mut state = self.state();
        state.data = Some(contents.data);
        state.present = contents.present;
        state.listed = contents.listed;
        state.writable = contents.writable;
        // A parked hash that has come further than what is there would be of something else.
        if let Some(hashing) = parked.filter(|hashing| hashing.position() <= state.present.prefix_end()) {
            state.hashing = Some(hashing);
        }
        drop(state);
        self.notify();
    }

    /// Empties the state after its files were replaced.
    ///
    /// Without new ones the part can no longer be used.
    pub(super) fn emptied(&self, data: Option<Data>, why: Rejected) {
        let mut state = self.state();
        let algorithm = state.hashing.as_ref().map_or(self.key.algorithm(), Hashing::algorithm);
        if data.is_none() {
            state.phase = Phase::Aborted;
        }
        state.data = data;
        state.present = RangeSet::default();
        state.claimed = RangeSet::default();
        state.listed = Listed::ByLength;
        state.writable = Writable::Yes;
        state.hashing = Some(Hashing::new(algorithm));
        state.epoch += 1;
        state.rejected = Some(why);
        state.unflushed = 0;
        state.reserved = 0;
        state.hash_outlives = true;
        drop(state);
        self.notify();
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.state().phase = phase;
        self.notify();
    }

    /// Nobody writes any more; if no blob has come of it, it was abandoned.
    pub(super) fn let_go(&self) {
        let mut state = self.state();
        state.held = false;
        if !matches!(state.phase, Phase::Committed(_)) {
            state.phase = Phase::Abandoned;
        }
        drop(state);
        self.notify();
    }

    /// Waits until nobody of this process holds the part.
    pub(crate) async fn released(&self) {
        let mut changes = self.changes();
        while self.state().held {
            // The sender lives in `self`.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl State {
    /// What is missing, with an open end while the size is unknown.
    pub(super) fn missing(&self) -> Vec<ByteRange> {
        match self.size {
            Some(size) => self.present.holes(0..size).into_iter().map(ByteRange::from).collect(),
            None => {
                let end = self.present.end();
                let mut missing: Vec<ByteRange> =
                    self.present.holes(0..end).into_iter().map(ByteRange::from).collect();
                missing.push(ByteRange::starting_at(end));
                missing
            }
        }
    }

    /// Why a reader of an older epoch has to stop.
    pub(super) fn rejection(&self, key: &PartKey) -> Error {
        match &self.rejected {
            Some(Rejected::Digest { expected, actual }) => {
                Error::Integrity { expected: *expected, actual: *actual, origin: None }
            }
            Some(Rejected::Reset) | None => Error::Abandoned { subject: key.subject() },
        }
    }
}

/// Shared by several tasks.
pub(super) type SharedPart = Arc<Shared>;
