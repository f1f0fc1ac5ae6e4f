//! The file `present`: which ranges of a part are there, as records that are only ever appended.
//!
//! A record is the first byte and the byte behind the last, little-endian, sixteen bytes. It is written after
//! the bytes that it speaks of, so a process that is killed leaves at worst bytes that are fetched once more. After
//! a power loss it may speak of bytes that are lost; the hash at commit finds that, and the part starts over.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    ops::Range,
    path::Path,
};

use pier_content::{Error, RangeSet, Result};

use crate::sys::{self, At as _, Entry};

const RECORD: usize = 16;

/// The ranges that are listed, cut to the length of the data. `None` when there is no list.
pub(super) fn read(path: &Path, length: u64) -> Result<Option<RangeSet>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path, error)),
    };
    let mut ranges = RangeSet::default();
    // What is left behind the last whole record was being written when the process ended.
    for record in bytes.chunks_exact(RECORD) {
        let (start, end) = record.split_at(RECORD / 2);
        let start = start.try_into().map_or(0, u64::from_le_bytes);
        let end = end.try_into().map_or(0, u64::from_le_bytes).min(length);
        if start < end {
            ranges.insert(start..end);
        }
    }
    let torn = bytes.len() % RECORD;
    if torn != 0 {
        cut(path, (bytes.len() - torn) as u64)?;
    }
    Ok(Some(ranges))
}

/// Adds ranges to the list, which is made if need be.
pub(super) fn append(path: &Path, ranges: &[Range<u64>]) -> Result<()> {
    let mut bytes = Vec::with_capacity(ranges.len() * RECORD);
    for range in ranges {
        bytes.extend_from_slice(&range.start.to_le_bytes());
        bytes.extend_from_slice(&range.end.to_le_bytes());
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path).at("open", path)?;
    let before = file.metadata().at("stat", path)?.len();
    let outcome = file.write_all(&bytes).at("write", path);
    if outcome.is_err() {
        if before == 0 {
            // An empty list would say that nothing is there, where without one the length says what is.
            sys::remove(path, Entry::File)?;
        } else {
            // Half a record would shift all that come after it.
            cut(path, before)?;
        }
    }
    outcome
}

fn cut(path: &Path, length: u64) -> Result<()> {
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(length)).at("cut", path)
}
