//! The one writer of a part.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use pier_content::{Blob, ByteRange, Commit, Error, Filling, Order, RangeSet, Result};
use tokio::task::JoinHandle;

use super::{
    commit,
    folder::{Data, Folder, Listed},
    presence,
    shared::{Phase, Rejected, Shared, State},
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
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) context: Arc<Context>,
    /// The lock goes before the registration, so that who takes over finds it free.
    pub(super) folder: Folder,
    pub(super) registration: Registration,
    /// The sync that is under way while bytes go on arriving.
    flushing: std::sync::Mutex<Option<JoinHandle<Result<()>>>>,
}

impl Writer {
    /// Takes a part over as it was found on disk.
    pub(crate) fn open(context: Arc<Context>, folder: Folder, registration: Registration) -> Result<Self> {
        let mut contents = folder.read()?;
        let size = registration.shared.state().size;
        // Longer than what was announced: it is not what it claims to be.
        if size.is_some_and(|size| contents.present.end() > size) {
            contents.data = folder.reset()?;
            contents.present = RangeSet::default();
            contents.listed = Listed::ByLength;
        }
        let parked = registration.table().unpark(&contents.data.path);
        registration.shared.opened(contents, parked);
        Ok(Self(Arc::new(Inner { context, folder, registration, flushing: std::sync::Mutex::default() })))
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
        blocking(move || inner.reset(Rejected::Reset)).await
    }

    async fn abort(&self) -> Result<()> {
        let inner = Arc::clone(&self.0);
        blocking(move || {
            inner.shared().set_phase(Phase::Aborted);
            inner.folder.remove()
        })
        .await
    }
}

/// A write that has its place.
struct Job {
    data: Data,
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
        if !matches!(state.phase, Phase::Filling) {
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
        Ok(Some(Job { data: file, pieces, listing, reserve }))
    }

    /// Writes, records, hashes. Runs on a blocking thread, and to its end even when nobody waits any more.
    fn write(self: &Arc<Self>, job: &Job) -> Result<()> {
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
            let listed = self.shared().state().listed;
            if listed == Listed::InFile {
                presence::append(&self.folder.presence(), std::slice::from_ref(&range))?;
            }
            let mut state = self.shared().state();
            unwritten.retain(|left| *left != range);
            state.claimed.remove(range.clone());
            state.unflushed += range.end - range.start;
            state.present.insert(range);
        }
        Ok(())
    }

    /// From here on the list says what is present, and no longer the length.
    fn start_listing(&self) -> Result<()> {
        let present: Vec<Range<u64>> = self.shared().state().present.iter().collect();
        presence::append(&self.folder.presence(), &present)?;
        let mut state = self.shared().state();
        state.listed = Listed::InFile;
        // A write that was under way meanwhile has looked at `listed` before or looks at it after this.
        let since: Vec<Range<u64>> = state.present.iter().filter(|range| !present.contains(range)).collect();
        drop(state);
        if since.is_empty() { Ok(()) } else { presence::append(&self.folder.presence(), &since) }
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
    fn flush_if_due(&self, data: &Data) {
        let mut flushing = lock(&self.flushing);
        let idle = flushing.as_ref().is_none_or(JoinHandle::is_finished);
        {
            let mut state = self.shared().state();
            if !idle || state.unflushed < FLUSH_BYTES {
                return;
            }
            state.unflushed = 0;
        }
        // The outcome of the one before is carried on: a device reports a failed write only once.
        let before = flushing.take();
        let data = data.clone();
        *flushing = Some(tokio::runtime::Handle::current().spawn(async move {
            if let Some(before) = before {
                joined(before).await?;
            }
            blocking(move || sys::sync_data(&data.file, &data.path)).await
        }));
    }

    /// Waits for the sync that is under way, and gives the first failure of all.
    pub(super) async fn flushed(&self) -> Result<()> {
        let task = lock(&self.flushing).take();
        match task {
            Some(task) => joined(task).await,
            None => Ok(()),
        }
    }

    /// Throws the bytes away and keeps the part.
    pub(super) fn reset(&self, why: Rejected) -> Result<()> {
        let data = self.folder.reset()?;
        self.shared().emptied(data, why);
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut state = self.shared().state();
        if matches!(state.phase, Phase::Committed(_) | Phase::Aborted) {
            return;
        }
        let path = state.data.as_ref().map(|data| data.path.clone());
        let hashing = state.hashing.take().filter(|hashing| hashing.position() > 0);
        drop(state);
        if let (Some(path), Some(hashing)) = (path, hashing) {
            self.registration.table().park(path, hashing);
        }
    }
}

async fn joined(task: JoinHandle<Result<()>>) -> Result<()> {
    task.await.map_err(|error| Error::io("sync", "part", std::io::Error::other(error)))?
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
