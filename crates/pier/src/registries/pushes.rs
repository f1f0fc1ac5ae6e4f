//! Pushes that were not finished, remembered from one command to the next.
//!
//! ```text
//! <data>/pushes/<hash of the repository and the digest>     the URL at which the upload goes on
//! ```
//!
//! Whoever has such a URL may write to the upload, so only the owner can read them. An upload belongs to one process at a time, which holds
//! a lock on its file for as long as it lives: two pushes of one image at once do not write into one another's upload, and `kill -9`
//! leaves it to the next. A registry gives an upload up after a while, and an address that is a day old is worth nothing. Nothing of this
//! has to survive anything: what is lost costs bytes.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use pier_client::UploadSessions;
use pier_oci::{Digest, Repository};

/// How long an upload is remembered.
const EXPIRY: Duration = Duration::from_hours(24);

/// Bytes of a URL that is remembered.
const URL_BYTES: u64 = 16 << 10;

/// A folder with a file for each unfinished upload. It is made by the first of them.
#[derive(Debug)]
pub(super) struct PushesOnDisk {
    folder: PathBuf,
    /// Those that are this process's, locked.
    held: Mutex<HashMap<PathBuf, File>>,
}

impl PushesOnDisk {
    /// In the folder that holds everything.
    pub(super) fn below(data: &Path) -> Self {
        Self { folder: data.join("pushes"), held: Mutex::default() }
    }

    fn path(&self, repository: &Repository, digest: &Digest) -> PathBuf {
        let key = format!("{}/{}@{digest}", repository.registry, repository.name);
        self.folder.join(Digest::sha256(key.as_bytes()).hex())
    }

    fn held(&self) -> MutexGuard<'_, HashMap<PathBuf, File>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an earlier process left. `None` when it is still at work.
    fn take(&self, path: &Path) -> io::Result<Option<String>> {
        let mut held = self.held();
        let mut file = match held.remove(path) {
            Some(file) => file,
            None => {
                let file = File::options().read(true).write(true).open(path)?;
                if file.try_lock().is_err() {
                    return Ok(None);
                }
                file
            }
        };
        let metadata = file.metadata()?;
        if expired(&metadata, SystemTime::now()) || metadata.len() > URL_BYTES {
            return Ok(None);
        }
        let mut location = String::new();
        file.rewind()?;
        file.read_to_string(&mut location)?;
        held.insert(path.to_owned(), file);
        Ok(Some(location).filter(|location| !location.is_empty()))
    }

    /// Writes where an upload goes on, unless another process is at work on one of the same blob. A kill in the middle leaves half a URL, at
    /// which no registry has anything.
    fn write(&self, path: &Path, location: &str) -> io::Result<()> {
        let mut held = self.held();
        if !held.contains_key(path) {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
            if file.try_lock().is_err() {
                return Ok(());
            }
            held.insert(path.to_owned(), file);
        }
        let Some(file) = held.get_mut(path) else { return Ok(()) };
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(location.as_bytes())
    }

    /// Removes what nobody will ask for any more.
    fn sweep(&self, now: SystemTime) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if expired(&entry.metadata()?, now) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn expired(metadata: &fs::Metadata, now: SystemTime) -> bool {
    // A file from the future is as good as new: it becomes old in time.
    metadata.modified().is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > EXPIRY))
}

impl UploadSessions for PushesOnDisk {
    fn find(&self, repository: &Repository, digest: &Digest) -> Option<String> {
        self.take(&self.path(repository, digest)).ok().flatten()
    }

    fn keep(&self, repository: &Repository, digest: &Digest, location: &str) {
        let path = self.path(repository, digest);
        let is_new = !path.exists();
        if location.len() as u64 > URL_BYTES {
            return self.forget(repository, digest);
        }
        if let Err(error) = self.write(&path, location) {
            tracing::debug!(error = &error as &dyn std::error::Error, "an unfinished push is not remembered");
        } else if is_new && let Err(error) = self.sweep(SystemTime::now()) {
            tracing::debug!(error = &error as &dyn std::error::Error, "old pushes are not forgotten");
        }
    }

    fn forget(&self, repository: &Repository, digest: &Digest) {
        let path = self.path(repository, digest);
        // What is another process's stays.
        let Some(_locked) = self.held().remove(&path) else { return };
        if let Err(error) = fs::remove_file(&path) {
            tracing::debug!(error = &error as &dyn std::error::Error, "a push is not forgotten");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn repository(text: &str) -> Repository {
        let (registry, name) = text.split_once('/').unwrap();
        Repository { registry: registry.parse().unwrap(), name: name.parse().unwrap() }
    }

    fn age(path: &Path, hours: u64) {
        let then = SystemTime::now() - Duration::from_hours(hours);
        File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }

    #[test]
    fn a_push_is_remembered_by_another_command_until_it_ends() {
        let data = tempfile::tempdir().unwrap();
        let (one, other) = (PushesOnDisk::below(data.path()), PushesOnDisk::below(data.path()));
        let (repository, digest) = (repository("r.test/a"), Digest::sha256(b"x"));
        assert_eq!(one.find(&repository, &digest), None);
        assert!(!data.path().join("pushes").exists(), "a folder that nobody needs yet");
        one.keep(&repository, &digest, "https://r.test/a-longer-one");
        one.keep(&repository, &digest, "https://r.test/2");
        assert_eq!(one.find(&repository, &digest).as_deref(), Some("https://r.test/2"));
        drop(one);
        assert_eq!(other.find(&repository, &digest).as_deref(), Some("https://r.test/2"));
        assert_eq!(other.find(&repository, &Digest::sha256(b"y")), None);
        assert_eq!(other.find(&self::repository("r.test:5000/a"), &digest), None);
        other.forget(&repository, &digest);
        assert_eq!(fs::read_dir(data.path().join("pushes")).unwrap().count(), 0);
    }

    #[test]
    fn an_upload_belongs_to_one_command_at_a_time() {
        let data = tempfile::tempdir().unwrap();
        let (one, other) = (PushesOnDisk::below(data.path()), PushesOnDisk::below(data.path()));
        let (repository, digest) = (repository("r.test/a"), Digest::sha256(b"x"));
        one.keep(&repository, &digest, "https://r.test/1");
        assert_eq!(other.find(&repository, &digest), None);
        other.keep(&repository, &digest, "https://r.test/other");
        other.forget(&repository, &digest);
        drop(one);
        assert_eq!(other.find(&repository, &digest).as_deref(), Some("https://r.test/1"));
    }

    #[test]
    fn only_the_owner_can_read_where_pushes_go_on() {
        let data = tempfile::tempdir().unwrap();
        let pushes = PushesOnDisk::below(data.path());
        let (repository, digest) = (repository("r.test/a"), Digest::sha256(b"x"));
        pushes.keep(&repository, &digest, "https://r.test/1");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&pushes.folder), 0o700);
        assert_eq!(mode(&pushes.path(&repository, &digest)), 0o600);
    }

    #[test]
    fn a_day_old_push_is_forgotten() {
        let data = tempfile::tempdir().unwrap();
        let pushes = PushesOnDisk::below(data.path());
        let (old, young) = (repository("r.test/old"), repository("r.test/young"));
        let digest = Digest::sha256(b"x");
        pushes.keep(&old, &digest, "https://r.test/old");
        pushes.keep(&young, &digest, "https://r.test/young");
        age(&pushes.path(&old, &digest), 25);
        age(&pushes.path(&young, &digest), 23);
        assert_eq!(pushes.find(&old, &digest), None);
        assert_eq!(pushes.find(&young, &digest).as_deref(), Some("https://r.test/young"));
        pushes.keep(&repository("r.test/new"), &digest, "https://r.test/new");
        assert!(!pushes.path(&old, &digest).exists());
        assert!(pushes.path(&young, &digest).exists());
    }
}
