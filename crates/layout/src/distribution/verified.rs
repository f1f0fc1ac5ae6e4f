//! Which files were hashed, and when that is to be believed.
//!
//! Content of up to [`SMALL`] bytes is read into memory and hashed each time: what is given is then the very buffer that
//! was hashed. A larger file is hashed once, and what the kernel says of it (device, inode, size, time of the last
//! change) is remembered; while that stays the same the file is not read again. The time of change is not one that
//! anybody can set. It is as fine as the kernel's tick, so a file that was changed a moment ago might be changed once
//! more at the same time: only of a file that has been left alone for [`SETTLED`] the answer is remembered.
//!
//! A large file can still be changed while it is sent. So each piece is given only when, after it was read, the file is
//! still the one that was hashed; else the answer ends before its announced length.

use std::{
    collections::HashMap,
    fs::File,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use pier_content::{Blob, Body, ByteStream, Error, RangeReader, Result};
use pier_oci::Digest;

use super::tree::{Data, Tree};
use crate::{
    extent::{Extent, READ_BYTES},
    sys::{Stamp, blocking},
};

/// Bytes that are hashed each time they are asked for.
const SMALL: u64 = 256 << 10;

/// How long a file has to have been as it is.
const SETTLED: Duration = Duration::from_secs(1);

/// The files that were hashed and found right.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<HashMap<Digest, Gate>>);

/// Held by whoever hashes a file, so that all others wait for the answer and do not find it out themselves.
type Gate = Arc<Mutex<Option<Stamp>>>;

impl Verified {
    /// The blob under a digest, whose bytes have it. Waits for the disk.
    ///
    /// # Errors
    /// [`Integrity`](Error::Integrity) when they have another.
    pub(super) fn open(&self, tree: &Tree, digest: &Digest) -> Result<Option<Blob>> {
        let Some(Data { file, size, path }) = tree.blob(digest)? else { return Ok(None) };
        let file = Arc::new(file);
        let extent = Extent::in_file(Arc::clone(&file), 0, size, path.clone());
        if size <= SMALL {
            let bytes = extent.read(0..size)?;
            check(digest, Digest::of(digest.algorithm(), &bytes), &path)?;
            return Ok(Some(Blob { digest: *digest, size, body: Body::Memory(bytes) }));
        }
        let stamp = self.verify(digest, &file, &extent, &path)?;
        let body = Body::Ranges(Arc::new(Watched { extent, file, stamp, path }));
        Ok(Some(Blob { digest: *digest, size, body }))
    }

    /// Whether a blob is there, whole and right. Waits for the disk.
    pub(super) fn has(&self, tree: &Tree, digest: &Digest, expected: u64) -> Result<bool> {
        match tree.blob(digest)? {
            Some(Data { size, .. }) if size == expected => {}
            _ => return Ok(false),
        }
        match self.open(tree, digest) {
            Ok(blob) => Ok(blob.is_some()),
            Err(error) if error.is_integrity() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a blob is not what it is called");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn verify(&self, digest: &Digest, file: &File, extent: &Extent, path: &Path) -> Result<Stamp> {
        let gate = Arc::clone(lock(&self.0).entry(*digest).or_default());
        let mut known = lock(&gate);
        let begun = SystemTime::now();
        let stamp = Stamp::of(file, path)?;
        if *known == Some(stamp) {
            return Ok(stamp);
        }
        *known = None;
        check(digest, extent.digest(digest.algorithm())?, path)?;
        if Stamp::of(file, path)? != stamp {
            return Err(changed(path));
        }
        if stamp.changed_before(begun, SETTLED) {
            *known = Some(stamp);
        }
        Ok(stamp)
    }
}

/// A file that was hashed, for as long as it stays as it was.
struct Watched {
    extent: Extent,
    file: Arc<File>,
    stamp: Stamp,
    path: std::path::PathBuf,
}

impl Watched {
    /// Waits for the disk.
    fn piece(&self, range: Range<u64>) -> Result<bytes::Bytes> {
        let bytes = self.extent.read(range)?;
        if Stamp::of(&self.file, &self.path)? == self.stamp { Ok(bytes) } else { Err(changed(&self.path)) }
    }
}

#[async_trait]
impl RangeReader for Watched {
    async fn read(&self, range: Range<u64>) -> Result<ByteStream> {
        let Self { extent, file, stamp, path } = self;
        let watched = Arc::new(Self {
            extent: extent.clone(),
            file: Arc::clone(file),
            stamp: *stamp,
            path: path.clone(),
        });
        let pieces = stream::try_unfold((watched, range), |(watched, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let next = range.end.min(range.start + READ_BYTES);
            let (reader, piece) = (Arc::clone(&watched), range.start..next);
            let bytes = blocking(move || reader.piece(piece)).await?;
            Ok(Some((bytes, (watched, next..range.end))))
        });
        Ok(pieces.boxed())
    }
}

fn check(expected: &Digest, actual: Digest, path: &Path) -> Result<()> {
    if actual == *expected {
        return Ok(());
    }
    Err(Error::Integrity { expected: *expected, actual, origin: Some(format!("`{}`", path.display())) })
}

/// Worth another attempt: it is hashed anew then.
fn changed(path: &Path) -> Error {
    Error::Unavailable {
        origin: format!("`{}`", path.display()),
        operation: "read a blob: its file is being changed",
        retry_after: None,
        source: None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Whoever panicked while hashing has left no answer, or the one from before, which still holds.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
