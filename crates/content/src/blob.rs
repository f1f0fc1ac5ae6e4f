//! Verified content, and the ways in which it is read.

use std::{
    fmt,
    fs::File,
    io::{self, IoSliceMut},
    ops::Range,
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use pier_oci::Digest;
use rustix::io::{ReadWriteFlags, preadv2};

use crate::{Error, Result, Subject};

/// Bytes as they arrive, in order; ends early with an error and is not polled after it.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Bytes read at once from a file: large enough that the hop to a blocking thread (about 35 microseconds)
/// is lost in the copying, small enough that a hundred readers fit in memory.
const READ_BYTES: u64 = 1 << 20;

/// Bytes copied at once from the page cache, with no hop: what was copied is still in the CPU's own cache when it is sent.
const CACHED_BYTES: u64 = 256 << 10;

/// A range of bytes whose end may not be known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte; `None` when it reaches to an end that nobody has announced.
    pub end: Option<u64>,
}

impl ByteRange {
    /// Everything from the first byte on.
    pub const ALL: Self = Self { start: 0, end: None };

    /// From `start` to an end that is not known.
    pub fn starting_at(start: u64) -> Self {
        Self { start, end: None }
    }

    /// Bytes in it, if its end is known.
    pub fn len(&self) -> Option<u64> {
        self.end.map(|end| end.saturating_sub(self.start))
    }

    /// Whether it is known to hold nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

impl From<Range<u64>> for ByteRange {
    fn from(range: Range<u64>) -> Self {
        Self { start: range.start, end: Some(range.end) }
    }
}

/// A committed blob: its bytes hash to `digest`, there are `size` of them, and they never change.
///
/// It stays readable for as long as it is held, even when the store removes it meanwhile.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What its bytes hash to.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Where the bytes are.
    pub body: Body,
}

/// Where a blob's bytes are, so that a server can choose the cheapest way to send them.
#[derive(Clone)]
pub enum Body {
    /// An open file that holds exactly the blob.
    File(Arc<File>),
    /// In memory.
    Memory(Bytes),
    /// Behind something that reads ranges, such as object storage.
    Ranges(Arc<dyn RangeReader>),
    /// Elsewhere: the URL to send a client to. Good for a short time only; may hold a signature, so it is not shown.
    Redirect(String),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
            Self::Memory(bytes) => f.debug_tuple("Memory").field(&bytes.len()).finish(),
            Self::Ranges(_) => f.write_str("Ranges"),
            Self::Redirect(_) => f.write_str("Redirect"),
        }
    }
}

/// Reads ranges of content that is neither a file nor in memory.
#[async_trait]
pub trait RangeReader: Send + Sync {
    /// The bytes of `range`, all of them or an error.
    async fn read(&self, range: Range<u64>) -> Result<ByteStream>;
}

impl Blob {
    /// What it means that its file could not be read: a file that has lost its end since it was committed is damaged, anything else is the
    /// disk's fault.
    pub fn unreadable(&self, error: io::Error) -> Error {
        let (digest, expected) = (self.digest, self.size);
        match (&self.body, error.kind()) {
            (Body::File(file), io::ErrorKind::UnexpectedEof) => {
                let actual = file.metadata().map_or(0, |metadata| metadata.len());
                Error::Size { subject: Subject::Blob(digest), expected, actual, origin: None }
            }
            _ => Error::io("read blob", digest.to_string(), error),
        }
    }

    /// The bytes of `range`, cut to the blob's size.
    pub async fn read(&self, range: ByteRange) -> Result<ByteStream> {
        let end = range.end.unwrap_or(self.size).min(self.size);
        let start = range.start.min(end);
        match &self.body {
            Body::File(file) => Ok(read_file(self.clone(), Arc::clone(file), start..end)),
            Body::Memory(bytes) => {
                let slice = bytes.slice(offset(start)?..offset(end)?);
                Ok(stream::iter((!slice.is_empty()).then_some(Ok(slice))).boxed())
            }
            Body::Ranges(reader) => reader.read(start..end).await,
            Body::Redirect(_) => Err(Error::Unsupported { what: "reading through a redirect" }),
        }
    }
}

/// An offset into memory.
fn offset(position: u64) -> Result<usize> {
    usize::try_from(position).map_err(|_| Error::Unsupported { what: "content larger than memory" })
}

/// Reads with positions, so that one open file serves any number of readers. What the page cache has is read where it is asked for; a
/// read that may wait for a disk goes to a blocking thread.
fn read_file(blob: Blob, file: Arc<File>, range: Range<u64>) -> ByteStream {
    stream::try_unfold((blob, file, range), |(blob, file, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let bytes = match read_cached(&file, range.clone()) {
            Some(bytes) => Ok(bytes),
            None => {
                let (read, range) = (Arc::clone(&file), range.clone());
                tokio::task::spawn_blocking(move || read_waiting(&read, range))
                    .await
                    .map_err(io::Error::other)
                    .flatten()
            }
        };
        let bytes = bytes.map_err(|error| blob.unreadable(error))?;
        let next = range.start + bytes.len() as u64;
        Ok(Some((bytes, (blob, file, next..range.end))))
    })
    .boxed()
}

/// The beginning of a range as far as it is in memory; `None` when it is not, or when this file system cannot tell.
fn read_cached(file: &File, range: Range<u64>) -> Option<Bytes> {
    let length = usize::try_from(CACHED_BYTES.min(range.end - range.start)).ok()?;
    let mut buffer = vec![0; length];
    // Whatever else goes wrong, a read that waits says what it is.
    let read =
        preadv2(file, &mut [IoSliceMut::new(&mut buffer)], range.start, ReadWriteFlags::NOWAIT).ok()?;
    buffer.truncate(read);
    (read > 0).then(|| buffer.into())
}

/// The beginning of a range, from the disk if need be; never nothing.
fn read_waiting(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(READ_BYTES.min(range.end - range.start)).map_err(io::Error::other)?;
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, range.start)?;
    Ok(buffer.into())
}
