//! Changing a file that other programs read and change too.
//!
//! Readers see the old file or the new one, never a half. The folder is locked meanwhile, which leaves no lock file behind; tools that do not
//! lock, as Docker does not, can still lose a change that they make in the same instant, but never a whole file.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use pier_content::{Error, Result};

/// Bytes of a credential file that are read.
const LIMIT: u64 = 4 << 20;

/// Symbolic links that are followed in a row, as many as the kernel does.
const LINKS: usize = 40;

/// How long another login is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before the lock is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// A file's text; nothing when there is no file.
pub(super) fn read(path: &Path) -> Result<Option<String>> {
    let unreadable = |error| Error::io("read the credentials in", path, error);
    let file = match File::open(path) {
        Ok(file) => file,
        // A folder of the path may be a file, too, as where `HOME` is `/dev/null`.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LIMIT {
        return Err(malformed(path, format!("it has more than {LIMIT} bytes")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(malformed(path, "it is not UTF-8".to_owned())),
    }
}

/// The error for a file whose content is wrong.
pub(super) fn malformed(path: &Path, reason: String) -> Error {
    Error::Credentials { place: format!("`{}`", path.display()), reason }
}

/// Changes a file: `edit` gets its text, and gives the new one or nothing when it is to stay as it is. Folders that are
/// missing are made; the file is for its owner alone; a symbolic link stays and what it leads to is changed.
pub(super) fn replace<T>(
    path: &Path,
    edit: impl FnOnce(Option<&str>) -> Result<(Option<String>, T)>,
) -> Result<T> {
    let target = follow(path)?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| Error::io("make the folder", folder, error))?;
    let lock = lock(folder)?;
    let (new, result) = edit(read(&target)?.as_deref())?;
    if let Some(text) = new {
        write(&target, folder, &text)
            .map_err(|error| Error::io("write the credentials to", &target, error))?;
        lock.sync_all().map_err(|error| Error::io("sync the folder", folder, error))?;
    }
    Ok(result)
}

/// Where a chain of symbolic links ends, even if nothing is there yet.
fn follow(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(link) => {
                path.pop();
                path.push(link);
            }
            // Not a link, or not there.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(Error::io("read the link", path, error)),
        }
    }
    let error = io::Error::other("too many symbolic links");
    Err(Error::io("read the link", path, error))
}

/// Locks a folder; the lock goes with the file that is returned.
fn lock(folder: &Path) -> Result<File> {
    let file = File::open(folder).map_err(|error| Error::io("open the folder", folder, error))?;
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if since.elapsed() < PATIENCE => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                let reason = format!("another login holds it, waited {} s", PATIENCE.as_secs());
                return Err(malformed(folder, reason));
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock the folder", folder, error)),
        }
    }
}

/// Writes beside the file and renames. The name is always the same, under the lock, so that a crash leaves at most one file behind and the
/// next change takes it away.
fn write(target: &Path, folder: &Path, text: &str) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().ok_or(ErrorKind::InvalidInput)?);
    name.push(".pier");
    let temporary = folder.join(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        // Under `sudo` the file stays its owner's, who could not read it any more otherwise.
        if let Ok(old) = target.metadata()
            && old.uid() != file.metadata()?.uid()
        {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, target)
    })();
    if written.is_err() {
        // It holds secrets. The error that is returned says more than one of this.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests;
