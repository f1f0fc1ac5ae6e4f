//! A part whose bytes are hashed and not kept.
//!
//! Because it is a [`Filling`], what is only looked at comes the way that everything comes: resumed where a line broke, from mirrors in
//! their order, and fetched once more from one source alone when somebody sent wrong bytes. The work is done by a blocking thread of its
//! own, so that reading goes on while it hashes; a few batches in between are all that is ever in memory.

use std::{
    fmt,
    future::poll_fn,
    io::{self, BufRead, Read},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use pier_oci::{Algorithm, Descriptor, Digest, Hasher};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    Blob, Body, ByteRange, ByteStream, Commit, Error, Filling, Order, RangeReader, Result, Subject,
    compression::{Compression, Inflate},
};

/// Batches that wait for the hash: one that it is at, one that is ready, one that arrives.
const AHEAD: usize = 2;

/// Bytes that are unpacked at once.
const UNPACKED_AT_ONCE: usize = 256 << 10;

/// What is to be found out of a blob, besides its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Nothing.
    Digest,
    /// What it hashes to when it is unpacked, to at most so many bytes.
    Unpacked(Algorithm, u64),
}

/// What a blob unpacks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Its digest.
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
    /// How it was packed.
    pub(crate) compression: Compression,
}

/// A part of a known size that takes bytes front to back. One call at a time is made of it; each may be dropped at any point.
#[derive(Debug)]
pub(crate) struct Measuring {
    descriptor: Descriptor,
    measure: Measure,
    /// Nothing is waited for while it is locked.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes that were handed to the worker.
    arrived: u64,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// Nobody is at it.
    Idle,
    UnderWay(Worker),
    /// It has all that there is. It stays here until its answer is there, so that a commit that is dropped leaves it to the next one.
    Ending(JoinHandle<Found>),
    /// It was committed: what was found out.
    Done(Option<io::Result<Unpacked>>),
}

/// The thread, which ends when the last sender does.
struct Worker {
    batches: mpsc::Sender<Vec<Bytes>>,
    found: JoinHandle<Found>,
}

#[derive(Debug)]
struct Found {
    digest: Digest,
    unpacked: Option<io::Result<Unpacked>>,
}

impl Measuring {
    pub(crate) fn new(descriptor: &Descriptor, measure: Measure) -> Self {
        let state = Mutex::new(State { arrived: 0, work: Work::Idle });
        Self { descriptor: descriptor.clone(), measure, state }
    }

    /// What it unpacks to, once it is committed; `None` when that was not asked for.
    ///
    /// # Errors
    /// When the content is right and cannot be unpacked.
    pub(crate) fn unpacked(self) -> Result<Option<Unpacked>> {
        let found = match self.state.into_inner().unwrap_or_else(PoisonError::into_inner).work {
            Work::Done(found) => found,
            Work::Idle | Work::UnderWay(_) | Work::Ending(_) => None,
        };
        found.transpose().map_err(|error| Error::Invalid {
            subject: Subject::Blob(self.descriptor.digest),
            reason: format!("it cannot be unpacked: {error}"),
        })
    }

    fn start(&self) -> Worker {
        let (batches, received) = mpsc::channel(AHEAD);
        let hasher = Hasher::new(self.descriptor.digest.algorithm());
        let queue = Queue { batches: received, batch: Vec::new().into_iter(), current: Bytes::new(), hasher };
        let measure = self.measure;
        Worker { batches, found: tokio::task::spawn_blocking(move || measured(queue, measure)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where bytes go now.
    fn batches(&self) -> Result<mpsc::Sender<Vec<Bytes>>> {
        let mut state = self.state();
        if matches!(state.work, Work::Idle) {
            state.work = Work::UnderWay(self.start());
        }
        match &state.work {
            Work::UnderWay(worker) => Ok(worker.batches.clone()),
            Work::Idle | Work::Ending(_) | Work::Done(_) => Err(self.over()),
        }
    }

    /// What of `data`, which begins at `offset`, has not arrived yet, and where it ends.
    fn news(&self, arrived: u64, offset: u64, mut data: Vec<Bytes>) -> Result<(Vec<Bytes>, u64)> {
        if offset > arrived {
            return Err(Error::OutOfRange { subject: self.subject(), offset, expected: arrived });
        }
        let length: u64 = data.iter().map(|bytes| bytes.len() as u64).sum();
        let end = offset + length;
        if end > self.descriptor.size {
            let (expected, actual) = (self.descriptor.size, end);
            return Err(Error::Size { subject: self.subject(), expected, actual, origin: None });
        }
        let mut known = arrived - offset;
        for bytes in &mut data {
            let skipped = known.min(bytes.len() as u64);
            bytes.advance(usize::try_from(skipped).unwrap_or(bytes.len()));
            known -= skipped;
        }
        Ok((data, arrived.max(end)))
    }

    /// What the worker has found out, once it has ended.
    fn poll_found(&self, context: &mut Context<'_>, commit: &Commit) -> Poll<Result<Blob>> {
        let mut state = self.state();
        state.work = match std::mem::replace(&mut state.work, Work::Idle) {
            // Its sender goes, and with it the thread's queue.
            Work::UnderWay(worker) => Work::Ending(worker.found),
            other => other,
        };
        let Work::Ending(found) = &mut state.work else { return Poll::Ready(Err(self.over())) };
        let found = ready!(Pin::new(found).poll(context));
        *state = State { arrived: 0, work: Work::Idle };
        let Found { digest, unpacked } = found.map_err(|source| {
            Error::io("hash", self.descriptor.digest.to_string(), io::Error::other(source))
        })?;
        if digest != commit.digest {
            return Poll::Ready(Err(Error::Integrity {
                expected: commit.digest,
                actual: digest,
                origin: None,
            }));
        }
        *state = State { arrived: self.descriptor.size, work: Work::Done(unpacked) };
        let body = Body::Ranges(Arc::new(NotKept));
        Poll::Ready(Ok(Blob { digest, size: self.descriptor.size, body }))
    }

    fn subject(&self) -> Subject {
        Subject::Blob(self.descriptor.digest)
    }

    fn over(&self) -> Error {
        Error::Invalid { subject: self.subject(), reason: "it is committed".to_owned() }
    }
}

#[async_trait]
impl Filling for Measuring {
    fn order(&self) -> Order {
        Order::FrontToBack
    }

    fn missing(&self) -> Vec<ByteRange> {
        let arrived = self.state().arrived;
        if arrived == self.descriptor.size {
            return Vec::new();
        }
        vec![(arrived..self.descriptor.size).into()]
    }

    fn size(&self) -> Option<u64> {
        Some(self.descriptor.size)
    }

    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()> {
        self.news(self.state().arrived, offset, data.clone())?;
        let batches = self.batches()?;
        // The place in the queue is waited for before anything is decided, so that a call that is dropped has done nothing. The worker takes
        // all that it is given, so it is gone only when it panicked, which the commit tells.
        let place = batches.reserve().await;
        let mut state = self.state();
        if !matches!(&state.work, Work::UnderWay(worker) if worker.batches.same_channel(&batches)) {
            return Err(self.over());
        }
        let (news, arrived) = self.news(state.arrived, offset, data)?;
        if let Ok(place) = place {
            place.send(news);
        }
        state.arrived = arrived;
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<Blob> {
        if !self.missing().is_empty() {
            let reason = "some of it is missing".to_owned();
            return Err(Error::Invalid { subject: self.subject(), reason });
        }
        {
            let mut state = self.state();
            if matches!(state.work, Work::Idle) {
                // There is nothing of it, which is what was announced.
                state.work = Work::UnderWay(self.start());
            }
        }
        poll_fn(|context| self.poll_found(context, &commit)).await
    }

    async fn reset(&self) -> Result<()> {
        let mut state = self.state();
        if matches!(state.work, Work::Done(_)) {
            return Err(self.over());
        }
        *state = State { arrived: 0, work: Work::Idle };
        Ok(())
    }

    async fn abort(&self) -> Result<()> {
        self.reset().await
    }
}

/// The content of what was only looked at.
struct NotKept;

#[async_trait]
impl RangeReader for NotKept {
    async fn read(&self, _: std::ops::Range<u64>) -> Result<ByteStream> {
        Err(Error::Unsupported { what: "reading what was hashed and not kept" })
    }
}

/// What arrives, as a reader that hashes what passes.
struct Queue {
    batches: mpsc::Receiver<Vec<Bytes>>,
    batch: std::vec::IntoIter<Bytes>,
    current: Bytes,
    hasher: Hasher,
}

impl BufRead for Queue {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            if let Some(bytes) = self.batch.next() {
                self.hasher.update(&bytes);
                self.current = bytes;
                continue;
            }
            match self.batches.blocking_recv() {
                Some(batch) => self.batch = batch.into_iter(),
                None => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

impl Read for Queue {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl Queue {
    /// Takes whatever still comes.
    fn drain(&mut self) {
        while let Ok(available) = self.fill_buf() {
            let length = available.len();
            if length == 0 {
                break;
            }
            self.consume(length);
        }
    }
}

/// The worker: takes all that comes, whatever it is, since a sender that nobody hears would wait for ever.
fn measured(mut queue: Queue, measure: Measure) -> Found {
    let unpacked = match measure {
        Measure::Digest => None,
        Measure::Unpacked(algorithm, limit) => Some(unpack(&mut queue, algorithm, limit)),
    };
    queue.drain();
    Found { digest: queue.hasher.finish(), unpacked }
}

fn unpack(queue: &mut Queue, algorithm: Algorithm, limit: u64) -> io::Result<Unpacked> {
    let mut inflate = Inflate::new(queue, limit)?;
    let compression = inflate.compression();
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; UNPACKED_AT_ONCE];
    let mut size = 0;
    loop {
        match inflate.read(&mut buffer)? {
            0 => return Ok(Unpacked { digest: hasher.finish(), size, compression }),
            read => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker")
    }
}

#[cfg(test)]
mod tests;
