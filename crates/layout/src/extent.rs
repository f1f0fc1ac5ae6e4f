//! Bytes that lie somewhere in a file, or in memory, and are read from any position.
//!
//! A layout's blob is a file, an archive's blob a piece of one: both are read the same way, by position, so that one
//! open file serves any number of readers.

use std::{fs::File, ops::Range, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use pier_content::{ByteRange, ByteStream, Error, Opened, Result, Subject};
use pier_oci::{Algorithm, Digest, Hasher};

use crate::sys::{blocking, read_at};

/// Bytes read at once: large enough that the hop to a blocking thread (about 35 microseconds) is lost in the copying.
pub(crate) const READ_BYTES: u64 = 1 << 20;

/// Content of a known size. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    /// Bytes.
    pub(crate) size: u64,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    File { file: Arc<File>, start: u64, path: Arc<PathBuf> },
    Memory(Bytes),
}

impl Extent {
    /// `size` bytes of a file from `start` on; `path` is for people.
    pub(crate) fn in_file(file: Arc<File>, start: u64, size: u64, path: PathBuf) -> Self {
        Self { size, place: Place::File { file, start, path: Arc::new(path) } }
    }

    /// Bytes that were made here.
    pub(crate) fn in_memory(bytes: Bytes) -> Self {
        Self { size: bytes.len() as u64, place: Place::Memory(bytes) }
    }

    /// The bytes of a range that lies within. Waits for the disk.
    pub(crate) fn read(&self, range: Range<u64>) -> Result<Bytes> {
        match &self.place {
            Place::File { file, start, path } => {
                let length = usize::try_from(range.end - range.start)
                    .map_err(|_| Error::Unsupported { what: "content larger than memory" })?;
                let mut buffer = vec![0; length];
                read_at(file, start + range.start, &mut buffer, path)?;
                Ok(buffer.into())
            }
            // Positions within memory are of its type.
            #[expect(clippy::cast_possible_truncation, reason = "a range within a buffer")]
            Place::Memory(bytes) => Ok(bytes.slice(range.start as usize..range.end as usize)),
        }
    }

    /// All of it, unless there are more than `limit` bytes. Waits for the disk.
    pub(crate) fn read_all(&self, limit: u64, subject: impl FnOnce() -> Subject) -> Result<Bytes> {
        if self.size > limit {
            return Err(Error::Size { subject: subject(), expected: limit, actual: self.size, origin: None });
        }
        self.read(0..self.size)
    }

    /// What it hashes to. Waits for the disk.
    pub(crate) fn digest(&self, algorithm: Algorithm) -> Result<Digest> {
        self.hash_into(Hasher::new(algorithm)).map(Hasher::finish)
    }

    /// The hasher after all of it. Waits for the disk.
    pub(crate) fn hash_into(&self, mut hasher: Hasher) -> Result<Hasher> {
        let mut position = 0;
        while position < self.size {
            let end = self.size.min(position + READ_BYTES);
            hasher.update(&self.read(position..end)?);
            position = end;
        }
        Ok(hasher)
    }

    /// A stream of a range, cut to what there is.
    pub(crate) fn open(self, range: ByteRange) -> Opened {
        let end = range.end.unwrap_or(self.size).min(self.size);
        let start = range.start.min(end);
        let size = Some(self.size);
        let stream: ByteStream = stream::try_unfold((self, start), move |(extent, position)| async move {
            if position >= end {
                return Ok(None);
            }
            let next = end.min(position + READ_BYTES);
            let read = extent.clone();
            let bytes = blocking(move || read.read(position..next)).await?;
            Ok(Some((bytes, (extent, next))))
        })
        .boxed();
        Opened { start, size, stream }
    }
}
