//! The system calls of this crate, each with its path in the error.
//!
//! What is inside a layout was written by somebody else: below the folder that the user named, no symbolic link is
//! followed and nothing but regular files is read, so that a layout cannot show what lies outside of it.

use std::{
    fs::File,
    io,
    os::fd::OwnedFd,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use pier_content::{Error, Result, Subject};
use rustix::{
    fs::{AtFlags, CWD, FlockOperation, Mode, OFlags},
    io::Errno,
};

/// How long a change of a layout waits for another one, which takes a few milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// How often it looks meanwhile.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How often a folder is made that others remove whenever they find it empty.
pub(crate) const ATTEMPTS: usize = 64;

/// Attaches what was being done and where.
pub(crate) trait At<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::io(operation, path, source))
    }
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::io(operation, path, source.into()))
    }
}

/// Runs work that waits for the disk on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(failure) => Err(Error::io("finish work on", "a layout", io::Error::other(failure))),
    }
}

/// A file or a folder that is not what may stand there.
pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> Error {
    Error::Invalid { subject: Subject::File(path.to_owned()), reason: reason.into() }
}

/// What tells one state of a file from another, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(file: &File, path: &Path) -> Result<Self> {
        let found = file.metadata().at("stat", path)?;
        // The change time and not the modification time, which anybody may set.
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    /// Whether the file had been left alone for a while at a moment.
    pub(crate) fn changed_before(&self, moment: SystemTime, by: Duration) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds)) else {
            // Before 1970: long ago, or nonsense that is not to be relied on.
            return false;
        };
        let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        moment.duration_since(changed).is_ok_and(|since| since >= by)
    }
}

/// An open folder. Its entries are named by one word each, never by a path.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    handle: Arc<OwnedFd>,
    path: PathBuf,
}

/// Holds a folder for as long as it lives.
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "its drop frees the lock")] OwnedFd);

impl Folder {
    /// The folder that a user named; links on the way to it are the user's own.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(CWD, path, flags, Mode::empty()).at("open folder", path)?;
        Ok(Self { handle: Arc::new(handle), path: path.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry, for people.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A folder in it, if it is there.
    pub(crate) fn folder(&self, name: &str) -> Result<Option<Self>> {
        let path = self.path_of(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&*self.handle, name, flags, Mode::empty()) {
            Ok(handle) => Ok(Some(Self { handle: Arc::new(handle), path })),
            Err(Errno::NOENT) => Ok(None),
            // A link is not a folder to the kernel when it may not be followed.
            Err(Errno::LOOP | Errno::NOTDIR) => {
                Err(invalid(&path, "is not a folder; links are not followed"))
            }
            Err(error) => Err(error).at("open folder", &path),
        }
    }

    /// A folder in it, which is made when it is not there.
    pub(crate) fn make_folder(&self, name: &str) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            match rustix::fs::mkdirat(&*self.handle, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error).at("make folder", &self.path_of(name)),
            }
            // Between the two, somebody may have found it empty and removed it.
            if let Some(folder) = self.folder(name)? {
                return Ok(folder);
            }
        }
        Err(Error::Abandoned { subject: Subject::File(self.path_of(name)) })
    }

    /// A regular file in it, to be read, if it is there.
    pub(crate) fn file(&self, name: &str) -> Result<Option<File>> {
        let path = self.path_of(name);
        // A pipe would otherwise keep whoever opens it waiting for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&*self.handle, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(invalid(&path, "is a symbolic link, which is not followed")),
            Err(Errno::NXIO) => return Err(invalid(&path, "is not a regular file")),
            Err(error) => return Err(error).at("open", &path),
        };
        if file.metadata().at("stat", &path)?.is_file() {
            return Ok(Some(file));
        }
        Err(invalid(&path, "is not a regular file"))
    }

    /// A regular file in it, to be read and written, which is made when it is not there.
    pub(crate) fn part(&self, name: &str) -> rustix::io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&*self.handle, name, flags, Mode::from_raw_mode(0o666)).map(File::from)
    }

    /// Whether an entry is this very file.
    pub(crate) fn names(&self, name: &str, file: &File) -> Result<bool> {
        let path = self.path_of(name);
        let held = file.metadata().at("stat", &path)?;
        match rustix::fs::statat(&*self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(held.is_file() && found.st_ino == held.ino() && found.st_dev == held.dev()),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error).at("stat", &path),
        }
    }

    /// Gives an entry another name, in place of whatever has it there.
    pub(crate) fn rename(&self, name: &str, to: &Self, new_name: &str) -> Result<()> {
        rustix::fs::renameat(&*self.handle, name, &*to.handle, new_name).at("rename", &self.path_of(name))
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&*self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error).at("remove", &self.path_of(name)),
        }
    }

    /// Removes a folder in it, if nothing is in that.
    pub(crate) fn remove_if_empty(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&*self.handle, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(error) => Err(error).at("remove folder", &self.path_of(name)),
        }
    }

    /// The names of its entries, in no order.
    pub(crate) fn entries(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&*self.handle).at("list folder", &self.path)? {
            let name = entry.at("list folder", &self.path)?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Makes its entries durable.
    pub(crate) fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&*self.handle).at("sync folder", &self.path)
    }

    /// Holds the folder against every other holder, in this process and in others.
    ///
    /// # Errors
    /// [`Error::Busy`] when it is not free in time.
    pub(crate) fn lock(&self) -> Result<FolderLock> {
        // A handle of its own: handles that share an opening share its lock.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle =
            rustix::fs::openat(&*self.handle, ".", flags, Mode::empty()).at("open folder", &self.path)?;
        let begun = Instant::now();
        loop {
            match rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(FolderLock(handle)),
                Err(Errno::WOULDBLOCK) if begun.elapsed() < LOCK_WAIT => thread::sleep(LOCK_PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    let subject = Subject::File(self.path.clone());
                    return Err(Error::Busy { subject, waited: begun.elapsed() });
                }
                Err(error) => return Err(error).at("lock", &self.path),
            }
        }
    }
}

/// Takes the lock of a file, if it is free.
pub(crate) fn try_lock(file: &File, path: &Path) -> Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error).at("lock", path),
    }
}

/// Makes a file's bytes and size durable.
pub(crate) fn sync_data(file: &File, path: &Path) -> Result<()> {
    rustix::fs::fdatasync(file).at("sync", path)
}

/// Fills a buffer from a position on; a file that ends before is an error.
pub(crate) fn read_at(file: &File, start: u64, buffer: &mut [u8], path: &Path) -> Result<()> {
    file.read_exact_at(buffer, start).at("read", path)
}
