//! The socket, and the queue that is its and its bodies'.
//!
//! A body hands hyper a *hole*: a slice of one block of memory that nobody ever reads or writes, as long as the piece
//! of the file that it stands for. hyper counts its bytes, queues it without copying it and passes it to the socket,
//! which knows it by its address and sends the piece of the file in its place. The pieces wait in a queue that
//! belongs to the connection; HTTP/1.1 sends in order, so the queue and the holes are in the same order.
//!
//! It must never happen that the hole itself is sent. Before anything is written, the holes in hyper's buffers are
//! counted against the pieces in the queue, and a difference ends the connection: a hyper that copies bodies would be
//! caught before the first wrong byte.
//!
//! Some file systems know no `sendfile(2)`. The pieces that wait by the time that shows are copied ([`copying`]), and
//! bodies of the connection are from then on read as usual.

mod copying;

use std::{
    collections::VecDeque,
    fmt,
    fs::File,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{io::Interest, net::TcpStream};

use self::copying::Copying;
use crate::sys;

/// The longest piece of a file that goes through hyper at once. hyper flushes when more than about 400 KiB wait, so
/// this is also how much one body sends before other tasks get their turn.
pub(crate) const PIECE_BYTES: u64 = 2 << 20;

/// The memory that holes point into. Zeroed memory of this size comes straight from the kernel and, as nothing touches
/// it, takes none.
static HOLE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![0; 2 << 20]));

/// A TCP connection to give to hyper's HTTP/1 in place of `TokioIo`, be it a server's, the automatic server's or a
/// client's.
///
/// What hyper buffers has to be written vectored, as it is unless a builder is told otherwise; a builder that copies
/// bodies together makes every body that uses the queue end the connection.
pub struct FileSocket {
    io: TokioIo<TcpStream>,
    queue: FileQueue,
    /// The front piece on its way through memory, once `sendfile(2)` was refused.
    copying: Option<Copying>,
}

/// The pieces of files that one connection has still to send. Whoever makes the bodies of the connection gives it to
/// [`FileBody::new`](crate::FileBody::new).
#[derive(Clone, Default)]
pub struct FileQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Only tasks of the connection take this lock: its own, and those that make its bodies.
    pieces: Mutex<Pieces>,
    /// Bytes that the connection has taken so far. Beside the lock, since `sendfile(2)` is called with it and may wait for a disk once.
    sent: AtomicU64,
}

#[derive(Default)]
struct Pieces {
    waiting: VecDeque<Piece>,
    sending: Sending,
}

/// How pieces get to the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sending {
    #[default]
    ByKernel,
    /// The kernel refused to.
    Copied,
}

struct Piece {
    file: Arc<File>,
    offset: u64,
    length: u64,
}

impl FileSocket {
    /// Wraps a connection.
    pub fn new(stream: TcpStream) -> Self {
        Self { io: TokioIo::new(stream), queue: FileQueue::default(), copying: None }
    }

    /// The queue that bodies of this connection put their pieces in.
    pub fn queue(&self) -> FileQueue {
        self.queue.clone()
    }

    /// Sends from the front of the queue until `wanted` bytes are sent or the socket takes no more.
    fn poll_send(&mut self, cx: &mut Context<'_>, wanted: u64) -> Poll<io::Result<usize>> {
        let mut sent = 0;
        while sent < wanted {
            if !self.queue.takes_files() {
                match self.poll_copy(cx, wanted - sent) {
                    Poll::Pending if sent > 0 => break,
                    outcome => sent += ready!(outcome)?,
                }
                continue;
            }
            let stream = self.io.inner();
            match self.queue.send_front(stream, wanted - sent) {
                Ok(bytes) => sent += bytes,
                Err(error) if sys::is_refused(&error) => self.queue.copy_from_now_on(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if sent > 0 {
                        break;
                    }
                    ready!(stream.poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(usize::try_from(sent).map_err(io::Error::other))
    }

    /// Sends what is in memory, in one packet with the piece that follows it if it can be.
    fn poll_send_before_piece(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = self.io.inner();
        loop {
            match stream.try_io(Interest::WRITABLE, || sys::send_with_more(stream, slices)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(stream.poll_write_ready(cx))?;
                }
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

impl FileQueue {
    /// Bytes of files that the connection has taken since it began: whether it still takes any is what tells a slow
    /// one from a dead one.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Queues a piece of a file and gives the hole that stands for it.
    ///
    /// `length` is at most [`PIECE_BYTES`]; what the hole does not cover is not queued, so the caller goes on from
    /// the hole's length.
    pub(crate) fn push(&self, file: Arc<File>, offset: u64, length: u64) -> Bytes {
        let covered = usize::try_from(length).unwrap_or(usize::MAX).min(HOLE.len());
        self.lock().waiting.push_back(Piece { file, offset, length: covered as u64 });
        HOLE.slice(..covered)
    }

    /// Whether to put pieces of files in it; else bodies are to be read as usual.
    pub(crate) fn takes_files(&self) -> bool {
        self.lock().sending == Sending::ByKernel
    }

    fn copy_from_now_on(&self) {
        self.lock().sending = Sending::Copied;
    }

    /// Bytes that wait.
    fn waiting(&self) -> u64 {
        self.lock().waiting.iter().map(|piece| piece.length).sum()
    }

    /// One `sendfile(2)` from the front piece.
    fn send_front(&self, stream: &TcpStream, at_most: u64) -> io::Result<u64> {
        let mut pieces = self.lock();
        let Some(piece) = pieces.waiting.front_mut() else { return Err(out_of_step()) };
        let count = usize::try_from(piece.length.min(at_most)).map_err(io::Error::other)?;
        let sent =
            stream.try_io(Interest::WRITABLE, || sys::send_file(stream, &piece.file, piece.offset, count))?;
        if sent == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a file is shorter than the body that it is sent as",
            ));
        }
        drop(pieces);
        let sent = sent as u64;
        self.advance(sent);
        Ok(sent)
    }

    /// Takes note that so many bytes of the front piece are sent.
    fn advance(&self, sent: u64) {
        self.0.sent.fetch_add(sent, Ordering::Relaxed);
        let mut pieces = self.lock();
        let Some(piece) = pieces.waiting.front_mut() else { return };
        piece.offset += sent;
        piece.length -= sent;
        if piece.length == 0 {
            pieces.waiting.pop_front();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pieces> {
        // Nothing panics while it is held with the queue half changed.
        self.0.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a slice is one of our holes.
fn is_hole(slice: &[u8]) -> bool {
    let address = slice.as_ptr().addr();
    let start = HOLE.as_ptr().addr();
    !slice.is_empty() && (start..start + HOLE.len()).contains(&address)
}

fn length(slices: &[IoSlice<'_>]) -> u64 {
    slices.iter().map(|slice| slice.len() as u64).sum()
}

fn out_of_step() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the pieces of files to send do not match what is buffered")
}

impl Write for FileSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buffer)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let holes: u64 = slices.iter().filter(|slice| is_hole(slice)).map(|slice| slice.len() as u64).sum();
        if holes != self.queue.waiting() {
            return Poll::Ready(Err(out_of_step()));
        }
        match slices.iter().position(|slice| is_hole(slice)) {
            None => Pin::new(&mut self.io).poll_write_vectored(cx, slices),
            Some(0) => {
                let behind = slices.iter().position(|slice| !is_hole(slice)).unwrap_or(slices.len());
                self.poll_send(cx, length(&slices[..behind]))
            }
            Some(in_memory) => self.poll_send_before_piece(cx, &slices[..in_memory]),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Read for FileSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl fmt::Debug for FileSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSocket")
            .field("io", self.io.inner())
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FileQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileQueue({} bytes)", self.waiting())
    }
}
