//! The head of the database's WAL index, which changes with every commit, whoever commits.
//!
//! All connections to a database share a file beside it, `catalog.sqlite-shm`. It begins with a header that is there twice: how far the
//! log goes, its checksums, a count of changes. A commit counts once both copies are written, so who finds the same header twice knows
//! that nothing was committed between (<https://www.sqlite.org/walformat.html#the_wal_index_header>). `PRAGMA data_version` tells the
//! same and takes a lock for it, which is a seventh of what a small answer costs.
//!
//! There is a trap: to close *any* descriptor of a file gives up all locks that this process has on it, SQLite's too. So all who have one
//! database open share one descriptor, and each keeps its share until its connections are closed.

use std::{
    collections::HashMap,
    fs::File,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, Weak},
};

use pier_content::Result;

use crate::{store::lock, sys::At as _};

/// Bytes of one copy of the header.
const HEADER_BYTES: usize = 48;

/// Where a copy says whether it was ever written.
const IS_WRITTEN: usize = 12;

/// A commit writes both copies in far less than one of these reads takes.
const TRIES: usize = 3;

/// A header. Two that are equal are of one state of the database.
pub(super) type Header = [u8; HEADER_BYTES];

/// A share in this process's descriptor of one database's WAL index. Whoever opens a connection takes one before and drops it after.
#[derive(Debug)]
pub(super) struct WalIndex {
    /// `None` only while it is dropped.
    descriptor: Option<Arc<Descriptor>>,
}

#[derive(Debug)]
struct Descriptor {
    path: PathBuf,
    /// Empty until the first connection has made the file.
    file: OnceLock<File>,
}

/// A folder, by device and number, since it may be known by several paths.
type Folder = (u64, u64);

/// Shares are taken and dropped under this lock, so that no descriptor is closed while another share of the same database is taken.
static DESCRIPTORS: Mutex<Option<HashMap<Folder, Weak<Descriptor>>>> = Mutex::new(None);

impl WalIndex {
    /// Takes a share. The database need not be there yet, its folder has to.
    pub(super) fn share(database: &Path) -> Result<Self> {
        let folder = database.parent().unwrap_or(Path::new("."));
        let metadata = folder.metadata().at("look at", folder)?;
        let mut descriptors = lock(&DESCRIPTORS);
        let known = descriptors.get_or_insert_default();
        known.retain(|_, descriptor| descriptor.strong_count() > 0);
        let id = (metadata.dev(), metadata.ino());
        let descriptor = known.get(&id).and_then(Weak::upgrade).unwrap_or_else(|| {
            let mut path = database.as_os_str().to_owned();
            path.push("-shm");
            let descriptor = Arc::new(Descriptor { path: path.into(), file: OnceLock::new() });
            known.insert(id, Arc::downgrade(&descriptor));
            descriptor
        });
        Ok(Self { descriptor: Some(descriptor) })
    }

    /// Opens the file, which is there once a connection has read.
    pub(super) fn open(&self) -> Result<()> {
        // One at a time: a second descriptor would have to be closed.
        let _one = lock(&DESCRIPTORS);
        let Some(descriptor) = &self.descriptor else { return Ok(()) };
        if descriptor.file.get().is_none() {
            let file = File::open(&descriptor.path).at("open", &descriptor.path)?;
            descriptor.file.get_or_init(|| file);
        }
        Ok(())
    }

    /// The header, unless somebody is writing it or has died writing it. Never waits.
    pub(super) fn header(&self) -> Option<Header> {
        let file = self.descriptor.as_ref()?.file.get()?;
        (0..TRIES).find_map(|_| {
            let mut copies = [[0; HEADER_BYTES]; 2];
            file.read_exact_at(copies.as_flattened_mut(), 0).ok()?;
            let [first, second] = copies;
            (first == second && first[IS_WRITTEN] == 1).then_some(first)
        })
    }
}

impl Clone for WalIndex {
    fn clone(&self) -> Self {
        Self { descriptor: self.descriptor.clone() }
    }
}

impl Drop for WalIndex {
    fn drop(&mut self) {
        let _closing = lock(&DESCRIPTORS);
        drop(self.descriptor.take());
    }
}

#[cfg(test)]
mod tests {
    use super::{super::database, *};

    /// Locks that this process has on a file.
    fn locks(file: &Path) -> usize {
        let inode = format!(":{}", file.metadata().unwrap().ino());
        let process = std::process::id().to_string();
        let is_ours = |line: &&str| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.contains(&&*process) && words.iter().any(|word| word.ends_with(&inode))
        };
        std::fs::read_to_string("/proc/locks").unwrap().lines().filter(is_ours).count()
    }

    #[test]
    fn every_commit_changes_the_header_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.sqlite");
        let index = WalIndex::share(&path).unwrap();
        assert_eq!(index.header(), None);
        let writer = database::open_writer(&path).unwrap();
        index.open().unwrap();
        let mut seen = index.header().unwrap();
        for number in 0..100 {
            writer.execute("UPDATE repository SET created_at = 1 WHERE id = -1", []).unwrap();
            writer.query_row("SELECT count(*) FROM repository", [], |_| Ok(())).unwrap();
            assert_eq!(index.header(), Some(seen));
            let name = format!("a{number}");
            writer.execute("INSERT INTO repository (name, created_at) VALUES (?1, 0)", [name]).unwrap();
            let now = index.header();
            assert!(now.is_some() && now != Some(seen));
            seen = now.unwrap();
            if number % 10 == 0 {
                writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
                seen = index.header().unwrap();
            }
        }
    }

    #[test]
    fn a_share_that_is_dropped_takes_no_lock_of_the_others_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.sqlite");
        let shared_memory = folder.path().join("catalog.sqlite-shm");
        let open = || {
            let index = WalIndex::share(&path).unwrap();
            let writer = database::open_writer(&path).unwrap();
            index.open().unwrap();
            (writer, index)
        };
        let (first, second) = (open(), open());
        let had = locks(&shared_memory);
        assert!(had > 0, "SQLite locks the file for as long as it is open");
        drop(first);
        assert_eq!(locks(&shared_memory), had);
        assert!(second.1.header().is_some());
        drop(second);
        // Closed with the last: the next is another file, and is read as such.
        let (_writer, index) = open();
        assert!(index.header().is_some());
    }
}
