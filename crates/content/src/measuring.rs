//! A part whose bytes are hashed and not kept.
//!
//! Because it is a [`Filling`], what is only looked at comes the way that everything comes: resumed where a line broke, from mirrors in
//! their order, and fetched once more from one source alone when somebody sent wrong bytes. The work is done by a blocking thread of its
//! own, so that reading goes on while it hashes; a few batches in between are all that is ever in memory.

use std::{
    fmt,
    io::{self, BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use pier_oci::{Algorithm, Descriptor, Digest, Hasher};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

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

/// A part of a known size that takes bytes front to back.
#[derive(Debug)]
pub(crate) struct Measuring {
    descriptor: Descriptor,
    measure: Measure,
    /// Bytes that were handed to the worker.
    arrived: AtomicU64,
    work: Mutex<Work>,
}

#[derive(Debug)]
enum Work {
    /// Nobody is at it.
    Idle,
    UnderWay(Worker),
    /// It was committed: what was found out.
    Done(Option<io::Result<Unpacked>>),
}

/// The thread, which ends when the sender does.
struct Worker {
    batches: mpsc::Sender<Vec<Bytes>>,
    found: JoinHandle<Found>,
}

struct Found {
    digest: Digest,
    unpacked: Option<io::Result<Unpacked>>,
}

impl Measuring {
    pub(crate) fn new(descriptor: &Descriptor, measure: Measure) -> Self {
        let (descriptor, arrived) = (descriptor.clone(), AtomicU64::new(0));
        Self { descriptor, measure, arrived, work: Mutex::new(Work::Idle) }
    }

    /// What it unpacks to, once it is committed; `None` when that was not asked for.
    ///
    /// # Errors
    /// When the content is right and cannot be unpacked.
    pub(crate) fn unpacked(self) -> Result<Option<Unpacked>> {
        let found = match self.work.into_inner() {
            Work::Done(found) => found,
            Work::Idle | Work::UnderWay(_) => None,
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

    fn subject(&self) -> Subject {
        Subject::Blob(self.descriptor.digest)
    }
}

#[async_trait]
impl Filling for Measuring {
    fn order(&self) -> Order {
        Order::FrontToBack
    }

    fn missing(&self) -> Vec<ByteRange> {
        let arrived = self.arrived.load(SeqCst);
        if arrived == self.descriptor.size {
            return Vec::new();
        }
        vec![(arrived..self.descriptor.size).into()]
    }

    fn size(&self) -> Option<u64> {
        Some(self.descriptor.size)
    }

    async fn write_at(&self, offset: u64, mut data: Vec<Bytes>) -> Result<()> {
        let mut work = self.work.lock().await;
        let arrived = self.arrived.load(SeqCst);
        let length: u64 = data.iter().map(|bytes| bytes.len() as u64).sum();
        if offset > arrived {
            return Err(Error::OutOfRange { subject: self.subject(), offset, expected: arrived });
        }
        let end = offset + length;
        if end > self.descriptor.size {
            let (expected, actual) = (self.descriptor.size, end);
            return Err(Error::Size { subject: self.subject(), expected, actual, origin: None });
        }
        // What is there is not taken a second time.
        let mut known = arrived - offset;
        for bytes in &mut data {
            let skipped = known.min(bytes.len() as u64);
            bytes.advance(usize::try_from(skipped).unwrap_or(bytes.len()));
            known -= skipped;
        }
        if matches!(*work, Work::Idle) {
            *work = Work::UnderWay(self.start());
        }
        let Work::UnderWay(worker) = &*work else { return Err(self.over()) };
        // The worker takes all that it is given, so it is gone only when it panicked, which the commit tells.
        let _ = worker.batches.send(data).await;
        self.arrived.store(arrived.max(end), SeqCst);
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<Blob> {
        let mut work = self.work.lock().await;
        if !self.missing().is_empty() {
            let reason = "some of it is missing".to_owned();
            return Err(Error::Invalid { subject: self.subject(), reason });
        }
        let worker = match std::mem::replace(&mut *work, Work::Idle) {
            Work::Idle => self.start(),
            Work::UnderWay(worker) => worker,
            done @ Work::Done(_) => {
                *work = done;
                return Err(self.over());
            }
        };
        drop(worker.batches);
        let Found { digest, unpacked } = worker.found.await.map_err(|source| {
            Error::io("hash", self.descriptor.digest.to_string(), io::Error::other(source))
        })?;
        if digest != commit.digest {
            self.arrived.store(0, SeqCst);
            return Err(Error::Integrity { expected: commit.digest, actual: digest, origin: None });
        }
        *work = Work::Done(unpacked);
        Ok(Blob { digest, size: self.descriptor.size, body: Body::Ranges(Arc::new(NotKept)) })
    }

    async fn reset(&self) -> Result<()> {
        let mut work = self.work.lock().await;
        if matches!(*work, Work::Done(_)) {
            return Err(self.over());
        }
        *work = Work::Idle;
        self.arrived.store(0, SeqCst);
        Ok(())
    }

    async fn abort(&self) -> Result<()> {
        self.reset().await
    }
}

impl Measuring {
    fn over(&self) -> Error {
        Error::Invalid { subject: self.subject(), reason: "it is committed".to_owned() }
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
