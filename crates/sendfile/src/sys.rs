//! The system calls of this crate: reads that do not wait, and bytes that go from a file to a socket in the kernel.
//!
//! All of them through rustix's safe wrappers; they sit in one place so that what depends on Linux is seen at once.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    num::NonZeroU64,
    os::fd::AsFd,
    os::unix::fs::FileExt as _,
};

use rustix::{
    io::{Errno, ReadWriteFlags, preadv2},
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};

/// What a read from the page cache gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cached {
    /// So many bytes; 0 at the end of the file.
    Read(usize),
    /// The next byte is not in memory, or this file system cannot tell: reading it may wait for a disk.
    Absent,
}

/// Reads what the page cache has at `offset`, and never waits for a disk.
pub(crate) fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<Cached> {
    loop {
        return match preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(Cached::Read(read)),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Cached::Absent),
            Err(error) => Err(error.into()),
        };
    }
}

/// Reads exactly `buffer.len()` bytes, waiting for the disk; then asks the kernel to fetch `ahead` bytes behind them
/// meanwhile.
pub(crate) fn read_waiting(file: &File, buffer: &mut [u8], offset: u64, ahead: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)?;
    if let Some(ahead) = NonZeroU64::new(ahead) {
        // Advice: a file system that refuses it only makes the next read slower.
        let _ = rustix::fs::fadvise(
            file,
            offset + buffer.len() as u64,
            Some(ahead),
            rustix::fs::Advice::WillNeed,
        );
    }
    Ok(())
}

/// Sends up to `count` bytes of `file` from `offset` on to a socket that does not block. 0 at the end of the file.
pub(crate) fn send_file(socket: impl AsFd, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    let mut offset = offset;
    Ok(rustix::fs::sendfile(socket, file, Some(&mut offset), count)?)
}

/// Whether an error of [`send_file`] is about the file's kind: its file system cannot do it, and copying will do.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    let refusals = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::OVERFLOW];
    Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
}

/// Writes slices to a socket that does not block, and says that more follows at once, so that a response's head and
/// the first bytes of its body share a packet.
pub(crate) fn send_with_more(socket: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    Ok(sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_sent_is_told_from_a_socket_that_fails() {
        let (socket, peer) = std::os::unix::net::UnixStream::pair().unwrap();
        // Read as usual, and not known to `sendfile(2)`.
        let pages = File::open("/proc/self/pagemap").unwrap();
        assert!(is_refused(&send_file(&socket, &pages, 0, 4096).unwrap_err()));
        drop(peer);
        let file = File::open("/proc/self/exe").unwrap();
        assert!(!is_refused(&send_file(&socket, &file, 0, 1).unwrap_err()));
    }
}
