//! A part's folder: its files and its lock.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use pier_content::{RangeSet, Result};

use super::presence;
use crate::sys::{self, At as _, Entry};

const DATA: &str = "data-";
const PRESENT: &str = "present";

/// A second name for the data file, made to be renamed into `blobs/`.
const SEALED: &str = "sealed";

/// A part's folder, locked by this process.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Held for as long as this value lives.
    _lock: File,
}

/// A data file. Its generation is random, so that what is remembered of one is never believed of another.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
}

/// What a folder holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) data: Data,
    pub(crate) present: RangeSet,
    /// Whether `present` is a file already, which then has to be kept up.
    pub(crate) listed: Listed,
    pub(crate) writable: Writable,
}

/// Whether a data file may still be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writable {
    Yes,
    /// It is complete and may be a blob already: a commit linked it, and did not come to its end. A byte written
    /// now would be written into `blobs/`; that the file is read-only stops nobody who is root.
    Sealed,
}

/// How a part's presence is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// By the length of the data file: everything came front to back.
    ByLength,
    /// In the file `present`.
    InFile,
}

/// Whether a folder may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It is made when it is not there.
    Create,
    /// It has to be there.
    Existing,
}

impl Folder {
    /// Takes the lock of a folder. `None` while another process has it; `NotFound` as the I/O error's kind when
    /// it has to exist and does not.
    pub(crate) fn try_lock(path: &Path, opening: Opening) -> Result<Option<Self>> {
        match opening {
            Opening::Create => sys::ensure_folder(path)?,
            Opening::Existing => {
                fs::symlink_metadata(path).at("open upload", path)?;
            }
        }
        Ok(sys::try_lock_folder(path)?.map(|lock| Self { path: path.to_owned(), _lock: lock }))
    }

    /// What is there, or a new empty data file.
    pub(crate) fn read(&self) -> Result<Contents> {
        // A commit that ended between the two names of its file is not one that gave it its place.
        sys::remove(&self.sealed(), Entry::File)?;
        let mut found = self.data_files()?;
        // There is one, or none after a crash in a reset. Of two nobody could say which the hash was taken of.
        if found.len() > 1 {
            for path in found.drain(..) {
                sys::remove(&path, Entry::File)?;
            }
        }
        let Some(path) = found.pop() else {
            sys::remove(&self.path.join(PRESENT), Entry::File)?;
            return Ok(Contents {
                data: self.create_data()?,
                present: RangeSet::default(),
                listed: Listed::ByLength,
                writable: Writable::Yes,
            });
        };
        let metadata = fs::symlink_metadata(&path).at("stat", &path)?;
        let length = metadata.len();
        let whole = || {
            let mut ranges = RangeSet::default();
            ranges.insert(0..length);
            ranges
        };
        if metadata.nlink() > 1 {
            let file = File::open(&path).at("open", &path)?;
            let data = Data { file: Arc::new(file), path };
            return Ok(Contents {
                data,
                present: whole(),
                listed: Listed::ByLength,
                writable: Writable::Sealed,
            });
        }
        if metadata.permissions().readonly() {
            // The blob that it was has been collected, and nobody else has the file any more.
            sys::make_writable(&path)?;
        }
        let file = sys::open_read_write(&path)?;
        let (present, listed) = match presence::read(&self.path.join(PRESENT), length)? {
            Some(ranges) => (ranges, Listed::InFile),
            None => (whole(), Listed::ByLength),
        };
        Ok(Contents { data: Data { file: Arc::new(file), path }, present, listed, writable: Writable::Yes })
    }

    /// Starts over with an empty data file. The old one is unlinked and never truncated: a commit that did not
    /// finish may have linked it into `blobs/`, where another process may have published it since.
    pub(crate) fn reset(&self) -> Result<Data> {
        // The old bytes go first: that needs no space, and whatever fails after it, they are not taken for good again.
        for path in self.data_files()? {
            sys::remove(&path, Entry::File)?;
        }
        sys::remove(&self.path.join(PRESENT), Entry::File)?;
        self.create_data()
    }

    /// The list of what is there, for parts whose bytes came out of order.
    pub(crate) fn presence(&self) -> PathBuf {
        self.path.join(PRESENT)
    }

    /// The name under which a data file waits to be renamed into `blobs/`.
    pub(crate) fn sealed(&self) -> PathBuf {
        self.path.join(SEALED)
    }

    /// Removes everything. The lock is still held, on a folder that nobody can find any more.
    pub(crate) fn remove(&self) -> Result<()> {
        for path in self.data_files()? {
            sys::remove(&path, Entry::File)?;
        }
        sys::remove(&self.path.join(PRESENT), Entry::File)?;
        sys::remove(&self.sealed(), Entry::File)?;
        sys::remove(&self.path, Entry::Folder)
    }

    fn data_files(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).at("read folder", &self.path)? {
            let entry = entry.at("read folder", &self.path)?;
            if entry.file_name().to_string_lossy().starts_with(DATA) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    fn create_data(&self) -> Result<Data> {
        let path = self.path.join(format!("{DATA}{:016x}", random()));
        Ok(Data { file: Arc::new(sys::create(&path)?), path })
    }
}

/// Random enough to differ from the generation before; needs no secrecy.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(SystemTime::now())
}

/// Removes folders below `parent` that nobody has touched since `before` and nobody holds. Gives their number.
pub(crate) fn settle(parent: &Path, before: SystemTime) -> Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(parent).at("read folder", parent)? {
        let path = entry.at("read folder", parent)?.path();
        if last_touched(&path).is_some_and(|touched| touched <= before)
            && let Some(folder) = Folder::try_lock(&path, Opening::Existing).unwrap_or(None)
            // Somebody may have worked on it between the look and the lock.
            && last_touched(&path).is_some_and(|touched| touched <= before)
        {
            // One folder that holds something unexpected must not keep all others from expiring.
            match folder.remove() {
                Ok(()) => removed += 1,
                Err(error) => tracing::warn!(%error, "cannot remove an expired part"),
            }
        }
    }
    Ok(removed)
}

/// When the newest of a folder's files was written.
pub(super) fn last_touched(folder: &Path) -> Option<SystemTime> {
    let mut newest = fs::symlink_metadata(folder).ok()?.modified().ok()?;
    for entry in fs::read_dir(folder).ok()?.flatten() {
        if let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) {
            newest = newest.max(modified);
        }
    }
    Some(newest)
}
