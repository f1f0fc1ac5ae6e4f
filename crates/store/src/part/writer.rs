//! The one writer of a part.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use pier_content::{Blob, ByteRange, Commit, Error, Filling, Order, RangeSet, Result};
use pier_oci::Algorithm;
use tokio::task::JoinHandle;

use super::{
    commit,
    folder::{Data, Folder, Listed, Writable},
    hashing::Hashing,
    presence,
    shared::{Lost, Phase, Rejected, Shared, State},
    table::Registration,
};
use crate::{
    store::{Context, blocking, lock},
    sys,
};

/// Dirty bytes that pile up at most before they are sent to the disk, so that the commit's sync is short.
const FLUSH_BYTES: u64 = 64 << 20;

/// Space that is reserved ahead of what arrives: few extents, and a full disk is met early.
const RESERVE_BYTES: u64 = 64 << 20;

/// Parts that stay below this are written before a reservation would pay.
const RESERVE_FROM: u64 = 8 << 20;

/// Bytes by which one write lets the hash catch up with what came out of order, so that no write takes long.
const CATCH_UP_BYTES: u64 = 8 << 20;

/// The one writer of a part.
#[derive(Debug)]
pub(crate) struct Writer(pub(super) Arc<Inner>);

/// Kept alive by work on blocking threads too: the part is free only when that is over.
///
/// That work goes on when the call that began it is dropped. So each piece of it knows the epoch that it belongs to,
/// and holds the gate: writes share it, and what replaces the content has it alone.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) context: Arc<Context>,
    /// The lock goes before the registration, so that who takes over finds it free.
    pub(super) folder: Folder,
    pub(super) registration: Registration,
    /// Taken on blocking threads only.
    gate: RwLock<()>,
    /// Held while the list of what is present is written.
    listing: Mutex<()>,
    /// The sync that is under way while bytes go on arriving. It deals with its failure itself.
    flushing: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Takes a part over as it was found on disk.
    pub(crate) fn open(context: Arc<Context>, folder: Folder, registration: Registration) -> Result<Self> {
        let mut contents = folder.read()?;
        let size = registration.shared.state().size;
        // Longer than what was announced, or complete and shorter: it is not what it claims to be.
        let end = contents.present.end();
        let sealed = contents.writable == Writable::Sealed;
        if size.is_some_and(|size| end > size || (sealed && end != size)) {
            contents.data = folder.reset()?;
            contents.present = RangeSet::default();
            contents.listed = Listed::ByLength;
            contents.writable = Writable::Yes;
        }
        let parked = registration.table().unpark(&contents.data.path);
        registration.shared.opened(contents, parked);
        Ok(Self(Arc::new(Inner {
            context,
            folder,
            registration,
            gate: RwLock::default(),
            listing: Mutex::default(),
            flushing: Mutex::default(),
        })))
    }
}

#[async_trait]
impl Filling for Writer {
    fn order(&self) -> Order {
        Order::Any
    }

    fn missing(&self) -> Vec<ByteRange> {
        self.0.shared().state().missing()
    }

    fn size(&self) -> Option<u64> {
        self.0.shared().state().size
    }

    fn hash_as(&self, algorithm: Algorithm) {
        self.0.shared().hash_as(algorithm);
    }

    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()> {
        let Some(job) = self.0.claim(offset, &data)? else { return Ok(()) };
        let inner = Arc::clone(&self.0);
        blocking(move || inner.write(&job)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Blob> {
        commit::commit(&self.0, commit).await
    }

    async fn reset(&self) -> Result<()> {
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let _alone = inner.alone();
            inner.expect_filling()?;
            inner.shared().state().lost = None;
            inner.empty(Rejected::Reset)
        })
        .await
    }

    async fn abort(&self) -> Result<()> {
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let _alone = inner.alone();
            inner.expect_filling()?;
            inner.shared().set_phase(Phase::Aborted);
            inner.folder.remove()
        })
        .await
    }
}

/// A write that has its place.
struct Job {
    data: Data,
    epoch: u64,
    /// Where, and what goes there.
    pieces: Vec<(u64, Vec<Bytes>)>,
    /// Whether the list has to be there before the bytes are.
    listing: Listing,
    reserve: Option<Range<u64>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    /// It continues what is there.
    NotNeeded,
    /// It leaves a hole, and the length would hide that.
    First,
}

impl Inner {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.registration.shared
    }

    /// Finds which of the bytes fall into holes, and claims those. `None` when none do.
    fn claim(&self, offset: u64, data: &[Bytes]) -> Result<Option<Job>> {
        let length: u64 = data.iter().map(|bytes| bytes.len() as u64).sum();
        let subject = || self.shared().key.subject();
        let end = offset.checked_add(length).ok_or_else(|| Error::OutOfRange {
            subject: subject(),
            offset,
            expected: u64::MAX - length,
        })?;
        let mut state = self.shared().state();
        if let Some(lost) = &state.lost {
            return Err(lost.to_error());
        }
        if !matches!(state.phase, Phase::Filling) || state.writable == Writable::Sealed {
            return Err(Error::Invalid { subject: subject(), reason: "it takes no more bytes".to_owned() });
        }
        if let Some(size) = state.size.filter(|&size| end > size) {
            return Err(Error::Size { subject: subject(), expected: size, actual: end, origin: None });
        }
        let Some(file) = state.data.clone() else {
            return Err(Error::Invalid { subject: subject(), reason: "it is not open".to_owned() });
        };
        let free: Vec<Range<u64>> =
            state.present.holes(offset..end).into_iter().flat_map(|hole| state.claimed.holes(hole)).collect();
        if free.is_empty() {
            return Ok(None);
        }
        let continues = state.claimed.is_empty() && free[0].start == state.present.end() && free.len() == 1;
        let listing = match state.listed {
            Listed::ByLength if !continues => Listing::First,
            Listed::ByLength | Listed::InFile => Listing::NotNeeded,
        };
        for range in &free {
            state.claimed.insert(range.clone());
        }
        let reserve = reservation(&mut state, end);
        let pieces = free.into_iter().map(|range| (range.start, cut(data, offset, &range))).collect();
        Ok(Some(Job { data: file, epoch: state.epoch, pieces, listing, reserve }))
    }

    /// Writes, records, hashes. Runs on a blocking thread, and to its end even when nobody waits any more.
    fn write(self: &Arc<Self>, job: &Job) -> Result<()> {
        let _together = self.together();
        self.expect_epoch(job.epoch)?;
        self.expect_filling()?;
        if self.shared().state().writable == Writable::Sealed {
            return Err(self.invalid("it is complete"));
        }
        let mut unwritten: Vec<Range<u64>> =
            job.pieces.iter().map(|(start, bytes)| *start..start + total(bytes)).collect();
        let outcome = self.write_pieces(job, &mut unwritten);
        {
            let mut state = self.shared().state();
            for range in unwritten {
                state.claimed.remove(range);
            }
        }
        self.shared().notify();
        outcome?;
        self.advance_hash(job)?;
        self.flush_if_due(&job.data);
        Ok(())
    }

    fn write_pieces(&self, job: &Job, unwritten: &mut Vec<Range<u64>>) -> Result<()> {
        if job.listing == Listing::First {
            self.start_listing()?;
        }
        if let Some(ahead) = &job.reserve {
            sys::reserve(&job.data.file, ahead.start, ahead.end - ahead.start);
        }
        for (start, bytes) in &job.pieces {
            sys::write_all_at(&job.data.file, &job.data.path, bytes, *start)?;
            let range = *start..start + total(bytes);
            unwritten.retain(|left| *left != range);
            let listed = {
                let mut state = self.shared().state();
                state.claimed.remove(range.clone());
                state.unflushed += range.end - range.start;
                state.present.insert(range.clone());
                state.listed
            };
            if listed == Listed::InFile {
                self.list(std::slice::from_ref(&range))?;
            }
        }
        Ok(())
    }

    /// From here on the list says what is present, and no longer the length.
    fn start_listing(&self) -> Result<()> {
        let _alone = lock(&self.listing);
        let present: Vec<Range<u64>> = self.shared().state().present.iter().collect();
        presence::append(&self.folder.presence(), &present)?;
        let since: Vec<Range<u64>> = {
            let mut state = self.shared().state();
            // A write that was under way meanwhile is in here, or lists itself since it sees this.
            state.listed = Listed::InFile;
            state.present.iter().filter(|range| !present.contains(range)).collect()
        };
        if since.is_empty() {
            return Ok(());
        }
        let outcome = presence::append(&self.folder.presence(), &since);
        if outcome.is_err() {
            self.shared().state().hash_outlives = false;
        }
        outcome
    }

    /// Adds to the list what has become present.
    fn list(&self, ranges: &[Range<u64>]) -> Result<()> {
        let _alone = lock(&self.listing);
        let outcome = presence::append(&self.folder.presence(), ranges);
        if outcome.is_err() {
            self.shared().state().hash_outlives = false;
        }
        outcome
    }

    /// Hashes the new bytes from memory if they come next, and then a little of what was there before.
    fn advance_hash(&self, job: &Job) -> Result<()> {
        let Some(mut hashing) = self.shared().state().hashing.take() else { return Ok(()) };
        for (start, bytes) in &job.pieces {
            hashing.advance(bytes, *start);
        }
        let end = self.shared().state().present.prefix_end();
        let outcome = hashing.catch_up(&job.data.file, &job.data.path, end, CATCH_UP_BYTES);
        self.shared().state().hashing = Some(hashing);
        outcome
    }

    /// Starts a sync beside what goes on, unless one is running.
    fn flush_if_due(self: &Arc<Self>, data: &Data) {
        let mut flushing = lock(&self.flushing);
        let epoch = {
            let mut state = self.shared().state();
            let idle = flushing.as_ref().is_none_or(JoinHandle::is_finished);
            if !idle || state.unflushed < FLUSH_BYTES {
                return;
            }
            state.unflushed = 0;
            state.epoch
        };
        let (inner, data) = (Arc::clone(self), data.clone());
        *flushing = Some(tokio::task::spawn_blocking(move || inner.flush(&data, epoch)));
    }

    /// Sends dirty bytes to the disk. It keeps the part held until it is over, and throws the bytes away if they
    /// could not be written: the device reports that once, and the next sync would call the same bytes durable.
    fn flush(&self, data: &Data, epoch: u64) {
        {
            // A commit waits at the gate until this is over, and then sees what became of it.
            let _together = self.together();
            let Err(error) = sys::sync_data(&data.file, &data.path) else { return };
            if self.expect_epoch(epoch).is_err() {
                return;
            }
            self.lose(&error, data);
        }
        let _alone = self.alone();
        let in_use = !matches!(self.shared().state().phase, Phase::Committed(_) | Phase::Aborted);
        if in_use
            && self.expect_epoch(epoch).is_ok()
            && let Err(error) = self.empty(Rejected::Reset)
        {
            tracing::error!(%error, "cannot start a transfer over");
        }
    }

    /// Remembers that the device did not keep what was written.
    pub(super) fn lose(&self, error: &Error, data: &Data) {
        tracing::warn!(%error, subject = %self.shared().key.subject(), "written bytes are lost");
        let kind = match error {
            Error::StorageFull { .. } => io::ErrorKind::StorageFull,
            Error::Io { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        self.shared().state().lost = Some(Lost { kind, path: data.path.clone() });
    }

    /// Beside other writes.
    pub(super) fn together(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// With no other work on the part going on.
    pub(super) fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses work whose content was thrown away meanwhile.
    pub(super) fn expect_epoch(&self, epoch: u64) -> Result<()> {
        if self.shared().state().epoch == epoch {
            return Ok(());
        }
        Err(match &self.shared().state().lost {
            Some(lost) => lost.to_error(),
            None => self.invalid("its content was thrown away meanwhile"),
        })
    }

    /// Refuses work of a commit that was given up.
    pub(super) fn expect_commit(&self, commit: u64, epoch: u64) -> Result<()> {
        self.expect_epoch(epoch)?;
        let state = self.shared().state();
        match &state.lost {
            Some(lost) => Err(lost.to_error()),
            None if state.commit == commit && matches!(state.phase, Phase::Committing) => Ok(()),
            None => {
                drop(state);
                Err(self.invalid("this commit was given up"))
            }
        }
    }

    fn invalid(&self, reason: &str) -> Error {
        Error::Invalid { subject: self.shared().key.subject(), reason: reason.to_owned() }
    }

    fn expect_filling(&self) -> Result<()> {
        let reason = match self.shared().state().phase {
            Phase::Filling => return Ok(()),
            Phase::Committing => "its commit is under way",
            Phase::Committed(_) => "it is committed",
            Phase::Aborted | Phase::Abandoned => "it was thrown away",
        };
        Err(self.invalid(reason))
    }

    /// Throws the bytes away and keeps the part. The caller holds the gate alone. When no new file can be made the part
    /// cannot be used any more.
    pub(super) fn empty(&self, why: Rejected) -> Result<()> {
        let reset = self.folder.reset();
        let (data, outcome) = match reset {
            Ok(data) => (Some(data), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.shared().emptied(data, why);
        outcome
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut state = self.shared().state();
        if matches!(state.phase, Phase::Committed(_) | Phase::Aborted) {
            return;
        }
        let path = state.data.as_ref().map(|data| data.path.clone());
        let outlives = state.hash_outlives;
        // Before the first byte it may still be all that is known of the algorithm.
        let assumed = self.shared().key.algorithm();
        let is_worth_it = |hashing: &Hashing| hashing.position() > 0 || hashing.algorithm() != assumed;
        let hashing = state.hashing.take().filter(|hashing| outlives && is_worth_it(hashing));
        drop(state);
        if let (Some(path), Some(hashing)) = (path, hashing) {
            self.registration.table().park(path, hashing);
        }
    }
}

/// Moves the reservation on when the write comes near its end.
fn reservation(state: &mut State, end: u64) -> Option<Range<u64>> {
    if end < RESERVE_FROM || end <= state.reserved {
        return None;
    }
    let ahead = (end + RESERVE_BYTES).min(state.size.unwrap_or(u64::MAX)).max(end);
    let start = std::mem::replace(&mut state.reserved, ahead);
    Some(start..ahead)
}

/// The bytes of `range` out of `data`, which starts at `offset`.
fn cut(data: &[Bytes], offset: u64, range: &Range<u64>) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut start = offset;
    for bytes in data {
        let end = start + bytes.len() as u64;
        let from = range.start.clamp(start, end);
        let to = range.end.clamp(from, end);
        if from < to {
            #[expect(clippy::cast_possible_truncation, reason = "differences within one buffer")]
            pieces.push(bytes.slice((from - start) as usize..(to - start) as usize));
        }
        start = end;
    }
    pieces
}

fn total(data: &[Bytes]) -> u64 {
    data.iter().map(|bytes| bytes.len() as u64).sum()
}
