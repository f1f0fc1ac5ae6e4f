//! Verified content, and the ways in which it is read.

use std::{fmt, fs::File, ops::Range, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use pier_oci::Digest;

use crate::{Error, Result};

/// Bytes as they arrive, in order; ends early with an error and is not polled after it.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Bytes read at once from a file: large enough that the hop to a blocking thread (about 35 microseconds)
/// is lost in the copying, small enough that a hundred readers fit in memory.
const READ_BYTES: u64 = 1 << 20;

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
    /// The bytes of `range`, cut to the blob's size.
    pub async fn read(&self, range: ByteRange) -> Result<ByteStream> {
        let end = range.end.unwrap_or(self.size).min(self.size);
        let start = range.start.min(end);
        match &self.body {
            Body::File(file) => Ok(read_file(Arc::clone(file), self.digest, start..end)),
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

/// Reads with positions, so that one open file serves any number of readers.
fn read_file(file: Arc<File>, digest: Digest, range: Range<u64>) -> ByteStream {
    stream::try_unfold((file, range), move |(file, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let length = READ_BYTES.min(range.end - range.start);
        let start = range.start;
        let read = Arc::clone(&file);
        let bytes = tokio::task::spawn_blocking(move || read_exact_at(&read, start, length))
            .await
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|source| Error::io("read blob", digest.to_string(), source))?;
        Ok(Some((bytes, (file, start + length..range.end))))
    })
    .boxed()
}

fn read_exact_at(file: &File, start: u64, length: u64) -> std::io::Result<Bytes> {
    use std::os::unix::fs::FileExt as _;
    let length = usize::try_from(length).map_err(std::io::Error::other)?;
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, start)?;
    Ok(buffer.into())
}
