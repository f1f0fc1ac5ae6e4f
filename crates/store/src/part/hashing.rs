//! The hash over the contiguous beginning of a part.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use bytes::Bytes;
use pier_content::Result;
use pier_oci::{Algorithm, Digest, Hasher};

use crate::sys::At as _;

/// Bytes that are read at once when the hash has to be taken from the file.
const READ_BYTES: usize = 1 << 20;

/// How far the hash has come. Travels to the blocking thread that advances it, so that only one does.
#[derive(Clone, Debug)]
pub(super) struct Hashing {
    hasher: Hasher,
    position: u64,
}

impl Hashing {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self { hasher: Hasher::new(algorithm), position: 0 }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.hasher.algorithm()
    }

    /// Bytes that are hashed.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Takes bytes from memory, as far as they continue what is hashed.
    pub(super) fn advance(&mut self, data: &[Bytes], offset: u64) {
        let mut start = offset;
        for bytes in data {
            if start == self.position {
                self.hasher.update(bytes);
                self.position += bytes.len() as u64;
            }
            start += bytes.len() as u64;
        }
    }

    /// Takes bytes from the file up to `end`, at most `limit` of them.
    pub(super) fn catch_up(&mut self, file: &File, path: &Path, end: u64, limit: u64) -> Result<()> {
        let end = end.min(self.position.saturating_add(limit));
        if self.position >= end {
            return Ok(());
        }
        let mut buffer = vec![0; READ_BYTES];
        while self.position < end {
            let length = usize::try_from(end - self.position).unwrap_or(READ_BYTES).min(READ_BYTES);
            file.read_exact_at(&mut buffer[..length], self.position).at("read", path)?;
            self.hasher.update(&buffer[..length]);
            self.position += length as u64;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Digest {
        self.hasher.finish()
    }
}
