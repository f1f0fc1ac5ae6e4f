//! Pieces of files through memory, where the kernel sends no files by itself.
//!
//! Only for what hyper has holes of already, so simple: read on a blocking thread, then written.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{FileSocket, out_of_step};
use crate::sys;

/// Bytes read at once.
const COPIED_BYTES: u64 = 256 << 10;

/// The start of the front piece on its way through memory.
#[derive(Debug)]
pub(super) enum Copying {
    Reading(JoinHandle<io::Result<Bytes>>),
    /// What is read and not written.
    Writing(Bytes),
}

impl FileSocket {
    /// Sends up to `at_most` bytes from the start of the front piece.
    pub(super) fn poll_copy(&mut self, cx: &mut Context<'_>, at_most: u64) -> Poll<io::Result<u64>> {
        loop {
            match &mut self.copying {
                None => self.copying = Some(Copying::Reading(self.read_front()?)),
                Some(Copying::Reading(task)) => {
                    let read = ready!(Pin::new(task).poll(cx)).map_err(io::Error::other).flatten();
                    self.copying = read.as_ref().ok().cloned().map(Copying::Writing);
                    read?;
                }
                Some(Copying::Writing(bytes)) => {
                    let count = usize::try_from(at_most).unwrap_or(usize::MAX).min(bytes.len());
                    match self.io.inner().try_write(&bytes[..count]) {
                        Ok(written) => {
                            bytes.advance(written);
                            if bytes.is_empty() {
                                self.copying = None;
                            }
                            self.queue.advance(written as u64);
                            return Poll::Ready(Ok(written as u64));
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            ready!(self.io.inner().poll_write_ready(cx))?;
                        }
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
        }
    }

    fn read_front(&self) -> io::Result<JoinHandle<io::Result<Bytes>>> {
        let pieces = self.queue.lock();
        let piece = pieces.waiting.front().ok_or_else(out_of_step)?;
        let (file, offset) = (Arc::clone(&piece.file), piece.offset);
        let length = usize::try_from(piece.length.min(COPIED_BYTES)).map_err(io::Error::other)?;
        Ok(spawn_blocking(move || {
            let mut buffer = vec![0; length];
            sys::read_waiting(&file, &mut buffer, offset, 0)?;
            Ok(buffer.into())
        }))
    }
}
