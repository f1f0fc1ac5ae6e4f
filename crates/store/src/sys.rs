//! The system calls of this crate, each with its path in the error.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, IoSlice},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use bytes::Bytes;
use pier_content::{Error, Result};
use rustix::{
    fs::{AtFlags, FallocateFlags, FlockOperation, Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// Buffers that one call takes; the kernel refuses more than 1024.
const MAX_BUFFERS: usize = 512;

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

/// Makes the entries of a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    let folder = open_folder(path)?;
    rustix::fs::fsync(&folder).at("sync folder", path)
}

pub(crate) fn open_folder(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(OFlags::DIRECTORY.bits()).unwrap_or(0))
        .open(path)
        .at("open folder", path)
}

/// Makes a file's bytes and size durable.
pub(crate) fn sync_data(file: &File, path: &Path) -> Result<()> {
    rustix::fs::fdatasync(file).at("sync", path)
}

/// A new file that nobody else has made.
pub(crate) fn create(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path).at("create", path)
}

pub(crate) fn open_read_write(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).write(true).open(path).at("open", path)
}

/// Opens a regular file below a folder; never through a symbolic link, which could lead out of the store.
pub(crate) fn open_blob(folder: &File, name: &str, lookup: Lookup) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let resolve = match lookup {
        Lookup::Cached => resolve | ResolveFlags::CACHED,
        Lookup::Blocking => resolve,
    };
    match rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve) {
        Ok(file) => Ok(file.into()),
        // Kernels before 5.6 and some sandboxes lack openat2; the name holds no slash, so openat is as safe.
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) if lookup == Lookup::Blocking => {
            rustix::fs::openat(folder, name, flags, Mode::empty()).map(File::from)
        }
        Err(error) => Err(error),
    }
}

/// Whether a look-up may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Only what the kernel has cached; `EAGAIN` otherwise. Fit for the reactor.
    Cached,
    /// Anything. For blocking threads.
    Blocking,
}

/// Gives a file the name `to`, in place of whatever has it, by way of the name `between`.
///
/// A file that is there already is not adopted: nobody here has hashed it. Who has it open keeps it.
pub(crate) fn link_over(from: &Path, between: &Path, to: &Path) -> Result<()> {
    remove(between, Entry::File)?;
    fs::hard_link(from, between).at("link", between)?;
    fs::rename(between, to).at("rename", to)
}

/// Takes the one lock of a folder, if it is free and the folder is still where it was.
pub(crate) fn try_lock_folder(path: &Path) -> Result<Option<File>> {
    let folder = match open_folder(path) {
        Ok(folder) => folder,
        // It was removed between being made and being opened: its owner has just finished.
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error).at("lock", path),
    }
    // The lock may be on a folder that its former owner has removed: then it protects nothing.
    let held = folder.metadata().at("stat", path)?;
    match fs::symlink_metadata(path) {
        Ok(now) if now.ino() == held.ino() && now.dev() == held.dev() => Ok(Some(folder)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("stat", path),
    }
}

/// Writes all of `data`, one behind the other, from `offset` on.
pub(crate) fn write_all_at(file: &File, path: &Path, data: &[Bytes], offset: u64) -> Result<()> {
    let mut position = offset;
    for chunk in data.chunks(MAX_BUFFERS) {
        let slices: Vec<IoSlice<'_>> = chunk.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let total: u64 = chunk.iter().map(|bytes| bytes.len() as u64).sum();
        let written = loop {
            match rustix::io::pwritev(file, &slices, position) {
                Err(Errno::INTR) => {}
                other => break other.at("write", path)? as u64,
            }
        };
        if written < total {
            // A short write is how a device says that it is nearly full; the rest tells the real reason.
            write_rest(file, path, chunk, position, written)?;
        }
        position += total;
    }
    Ok(())
}

fn write_rest(file: &File, path: &Path, data: &[Bytes], offset: u64, written: u64) -> Result<()> {
    let mut skip = written;
    let mut position = offset;
    for bytes in data {
        let length = bytes.len() as u64;
        if skip >= length {
            skip -= length;
        } else {
            // `skip` is less than the length of one buffer.
            let from = usize::try_from(skip).unwrap_or(bytes.len());
            file.write_all_at(&bytes[from..], position + skip).at("write", path)?;
            skip = 0;
        }
        position += length;
    }
    Ok(())
}

/// Reserves space behind the end of the file. What cannot be reserved is found out by the write itself.
pub(crate) fn reserve(file: &File, offset: u64, length: u64) {
    let _ = rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, offset, length);
}

/// Gives back what was reserved behind `length`, by whichever request it was, and fixes the size.
pub(crate) fn trim(file: &File, path: &Path, length: u64) -> Result<()> {
    /// What a file system may take beyond the bytes without there being a reservation.
    const SLACK: u64 = 1 << 20;
    let metadata = file.metadata().at("stat", path)?;
    if metadata.len() == length && metadata.blocks() * 512 <= length + SLACK {
        return Ok(());
    }
    rustix::fs::ftruncate(file, length).at("trim", path)
}

pub(crate) fn make_read_only(file: &File, path: &Path) -> Result<()> {
    file.set_permissions(fs::Permissions::from_mode(0o444)).at("change mode of", path)
}

pub(crate) fn make_writable(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).at("change mode of", path)
}

/// Makes a folder unless it is there.
pub(crate) fn ensure_folder(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::io("make folder", path, error)),
    }
}

/// Removes a file or an empty folder; that it is gone already is fine.
pub(crate) fn remove(path: &Path, what: Entry) -> Result<()> {
    let flags = match what {
        Entry::File => AtFlags::empty(),
        Entry::Folder => AtFlags::REMOVEDIR,
    };
    match rustix::fs::unlinkat(rustix::fs::CWD, path, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error).at("remove", path),
    }
}

/// What [`remove`] removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    File,
    Folder,
}
