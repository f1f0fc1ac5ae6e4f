//! Where a folder is filled before anybody can take it for whole.
//!
//! ```text
//! DIR/.pier-init/lock            held by whoever fills DIR
//!               /storage/docker  becomes DIR/docker, by one rename, when all is there and durable
//! ```
//!
//! The folder of the user is never replaced, so that it may be a mount point, and the working folder of a shell. Who is
//! killed leaves `.pier-init`, which the next one clears away.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use pier_layout::DistributionFolder;

use crate::failure::{Failure, Status};

const STAGING: &str = ".pier-init";
const LOCK: &str = "lock";
const STORAGE: &str = "storage";

/// The folder in `STORAGE` that is all of it.
const CONTENT: &str = "docker";

/// A folder in the making. Dropped, it leaves nothing.
#[derive(Debug)]
pub(super) struct Staging {
    destination: PathBuf,
    scratch: PathBuf,
    _lock: File,
}

impl Staging {
    /// Begins to fill a folder, which is made when it is not there.
    ///
    /// # Errors
    /// When something is in it, or somebody else fills it.
    pub(super) fn begin(destination: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(destination)
            .with_context(|| format!("cannot make `{}`", destination.display()))?;
        refuse_other(destination)?;
        let staging = destination.join(STAGING);
        let shown = staging.display().to_string();
        let failed = |error: io::Error| {
            Failure::from(anyhow::Error::new(error).context(format!("cannot use `{shown}`")))
        };
        fs::create_dir_all(&staging).map_err(failed)?;
        let lock = File::create(staging.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let error =
                    anyhow!("`{}` is being filled by another `pier testdata init`", destination.display());
                return Err(Failure::new(Status::Unfinished, error));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let begun = Self { destination: destination.to_owned(), scratch: staging, _lock: lock };
        // The one who had the lock before may have come to its end.
        refuse_other(destination)?;
        match fs::remove_dir_all(begun.storage()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(begun),
        }
    }

    /// The storage folder to fill.
    pub(super) async fn folder(&self) -> Result<DistributionFolder, Failure> {
        Ok(DistributionFolder::create(self.storage()).await?)
    }

    /// Gives the content its place.
    pub(super) fn publish(self) -> Result<(), Failure> {
        let place = self.destination.join(CONTENT);
        let failed = |error: io::Error| {
            Failure::from(anyhow::Error::new(error).context(format!("cannot fill `{}`", place.display())))
        };
        // Never over what is there: it would fail on a folder with something in it.
        fs::rename(self.storage().join(CONTENT), &place).map_err(failed)?;
        File::open(&self.destination).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    fn storage(&self) -> PathBuf {
        self.scratch.join(STORAGE)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.scratch) {
            tracing::debug!(%error, path = %self.scratch.display(), "stays behind");
        }
    }
}

fn refuse_other(destination: &Path) -> Result<(), Failure> {
    let entries =
        fs::read_dir(destination).with_context(|| format!("cannot read `{}`", destination.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read `{}`", destination.display()))?;
        if entry.file_name() != STAGING {
            let error = anyhow!("destination directory {} is not empty", destination.display());
            return Err(Failure::new(Status::Usage, error)
                .with_hint("name another with --storage-dir, or remove what is in it"));
        }
    }
    Ok(())
}
