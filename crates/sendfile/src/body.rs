//! A range of a file as a body, read in the cheapest way that does not stop other tasks.
//!
//! What the page cache has is read inline, because a hop to a blocking thread costs as much as copying 100 KiB; what it
//! has not is read on a blocking thread, a mebibyte at once, while the kernel is told to fetch what follows. Which of
//! the two is decided for each piece.
//!
//! On a connection that can send files by itself the bytes never pass through here: the piece is made sure to be in
//! the page cache and handed to the connection's queue.

use std::{
    fs::File,
    future::Future as _,
    io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    FileQueue,
    socket::PIECE_BYTES,
    sys::{self, Cached},
};

/// Bytes copied inline at once: half of what hyper lets pile up before it writes, and small enough that the buffer
/// is still in the CPU's cache when the kernel copies it on.
const INLINE_BYTES: u64 = 256 << 10;

/// Bytes read at once from a disk.
const WAITING_BYTES: u64 = 1 << 20;

/// Bytes that the kernel is asked to fetch ahead of them.
const AHEAD_BYTES: u64 = 2 << 20;

/// Below this a body is copied: a queue of pieces would not pay.
const SENDFILE_FROM_BYTES: u64 = 32 << 10;

/// How far apart the bytes of a piece are that are looked for in the page cache. What was read or written in one go is
/// also dropped in one go, in runs much longer than this; and each look costs a cache miss: at 128 KiB, which the kernel
/// reads ahead at once, they were 6 % of the CPU of a GET.
const SAMPLED_BYTES: usize = 1 << 20;

/// A buffer for [`warm`], which reads only to have the kernel read. It stays in the CPU's cache.
const WARMING_BYTES: usize = 64 << 10;

/// A range of a file, on its way to one connection; exactly so long, or it ends in an error.
///
/// As a [`Body`] it is given to hyper as it is, as a [`Stream`] to whatever wraps it. Chunks have to reach the
/// connection whole, in order and unlooked at: with a queue they are not the bytes, but stand for them.
#[derive(Debug)]
pub struct FileBody {
    file: Arc<File>,
    position: u64,
    end: u64,
    way: Way,
}

/// How the bytes get to the socket.
#[derive(Debug)]
enum Way {
    Copied { buffers: Buffers, reading: Option<JoinHandle<io::Result<Bytes>>> },
    Sent { queue: FileQueue, warming: Option<JoinHandle<io::Result<()>>> },
}

impl FileBody {
    /// The bytes `range` of a file. `queue` is that of the connection that the body goes to; without one the bytes are
    /// read.
    pub fn new(file: Arc<File>, range: Range<u64>, queue: Option<FileQueue>) -> Self {
        let way = match queue {
            Some(queue)
                if range.end.saturating_sub(range.start) >= SENDFILE_FROM_BYTES && queue.takes_files() =>
            {
                Way::Sent { queue, warming: None }
            }
            _ => Way::Copied { buffers: Buffers::default(), reading: None },
        };
        Self { file, position: range.start, end: range.end, way }
    }

    /// Bytes that are still to come.
    pub fn left(&self) -> u64 {
        self.end.saturating_sub(self.position)
    }

    /// The next bytes, or the hole that stands for them.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let left = self.left();
        if left == 0 {
            return Poll::Ready(None);
        }
        // The file system of an earlier piece was found to know no `sendfile(2)`.
        if matches!(&self.way, Way::Sent { queue, warming: None } if !queue.takes_files()) {
            self.way = Way::Copied { buffers: Buffers::default(), reading: None };
        }
        let (file, position) = (&self.file, self.position);
        let chunk = match &mut self.way {
            Way::Copied { buffers, reading } => {
                ready!(poll_copied(file, position, left, buffers, reading, cx))
            }
            Way::Sent { queue, warming } => ready!(poll_sent(file, position, left, queue, warming, cx)),
        };
        if let Ok(bytes) = &chunk {
            self.position += bytes.len() as u64;
        }
        Poll::Ready(Some(chunk))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.poll_chunk(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl Stream for FileBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx)
    }
}

fn poll_copied(
    file: &Arc<File>,
    position: u64,
    left: u64,
    buffers: &mut Buffers,
    reading: &mut Option<JoinHandle<io::Result<Bytes>>>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    if reading.is_none() {
        let mut buffer = buffers.take(small(left.min(INLINE_BYTES)));
        let wanted = small(left.min(buffer.len() as u64));
        match sys::read_cached(file, &mut buffer[..wanted], position)? {
            Cached::Read(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Cached::Read(read) => return Poll::Ready(Ok(buffers.lend(buffer, read))),
            Cached::Absent => buffers.put_back(buffer),
        }
    }
    let task = reading.get_or_insert_with(|| {
        let (file, length) = (Arc::clone(file), left.min(WAITING_BYTES));
        let ahead = (left - length).min(AHEAD_BYTES);
        spawn_blocking(move || {
            let mut buffer = vec![0; small(length)];
            sys::read_waiting(&file, &mut buffer, position, ahead)?;
            Ok(buffer.into())
        })
    });
    let outcome = ready!(Pin::new(task).poll(cx));
    *reading = None;
    Poll::Ready(outcome.map_err(io::Error::other).flatten())
}

fn poll_sent(
    file: &Arc<File>,
    position: u64,
    left: u64,
    queue: &FileQueue,
    warming: &mut Option<JoinHandle<io::Result<()>>>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    let length = left.min(PIECE_BYTES);
    if warming.is_none() && is_cached(file, position, length)? {
        return Poll::Ready(Ok(queue.push(Arc::clone(file), position, length)));
    }
    let task = warming.get_or_insert_with(|| {
        let file = Arc::clone(file);
        let ahead = (left - length).min(AHEAD_BYTES);
        spawn_blocking(move || warm(&file, position, length, ahead))
    });
    let outcome = ready!(Pin::new(task).poll(cx));
    *warming = None;
    outcome.map_err(io::Error::other).flatten()?;
    Poll::Ready(Ok(queue.push(Arc::clone(file), position, length)))
}

/// Whether a piece seems to be in the page cache, by samples and its last byte. What lies between them can be missing
/// all the same, or be dropped before it is sent; then `sendfile(2)` waits for the disk once.
fn is_cached(file: &File, position: u64, length: u64) -> io::Result<bool> {
    let mut byte = [0];
    let samples = (0..length).step_by(SAMPLED_BYTES).chain([length - 1]);
    for offset in samples.map(|sample| position + sample) {
        match sys::read_cached(file, &mut byte, offset)? {
            Cached::Read(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Cached::Read(_) => {}
            Cached::Absent => return Ok(false),
        }
    }
    Ok(true)
}

/// Brings a piece into the page cache by reading it.
fn warm(file: &File, position: u64, length: u64, ahead: u64) -> io::Result<()> {
    let mut buffer = vec![0; WARMING_BYTES];
    let end = position + length;
    let mut offset = position;
    while offset < end {
        let wanted = small((end - offset).min(WARMING_BYTES as u64));
        let is_last = offset + wanted as u64 == end;
        sys::read_waiting(file, &mut buffer[..wanted], offset, if is_last { ahead } else { 0 })?;
        offset += wanted as u64;
    }
    Ok(())
}

/// Two buffers that go to hyper and come back in turn, so that a body does not touch fresh memory for each read:
/// page faults cost more than the copy.
#[derive(Debug, Default)]
struct Buffers {
    lent: [Bytes; 2],
    turn: usize,
}

impl Buffers {
    /// The buffer whose turn it is, if hyper has written it out; else a new one of `length` bytes.
    fn take(&mut self, length: usize) -> BytesMut {
        match std::mem::take(&mut self.lent[self.turn]).try_into_mut() {
            Ok(buffer) if !buffer.is_empty() => buffer,
            _ => BytesMut::zeroed(length),
        }
    }

    /// The first `read` bytes of `buffer`, which comes back when they are dropped.
    fn lend(&mut self, buffer: BytesMut, read: usize) -> Bytes {
        let whole = buffer.freeze();
        let bytes = whole.slice(..read);
        self.lent[self.turn] = whole;
        self.turn = 1 - self.turn;
        bytes
    }

    fn put_back(&mut self, buffer: BytesMut) {
        self.lent[self.turn] = buffer.freeze();
    }
}

/// A length that was cut to a constant of this file.
fn small(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
