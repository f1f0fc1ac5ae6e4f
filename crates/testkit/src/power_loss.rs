//! A disk that forgets what was not synced, to try a program's durability without pulling a plug.
//!
//! It is a FUSE file system in memory with the strictest reading of POSIX: a file's bytes and size are durable after `fsync` or `fdatasync`
//! of that file, an entry of a folder (create, link, rename, unlink, mkdir, rmdir) after `fsync` of that folder, and nothing else is.
//! Real disks keep more than they promise, so [`PowerLossDisk::durable_copy_with`] keeps some of the rest too, chosen by a seed.
//!
//! Run a scenario once and ask for [`operations`](PowerLossDisk::operations); then once more for each step, on a fresh disk with
//! [`cut_after`](PowerLossDisk::cut_after), and look at what the [`durable_copy`](PowerLossDisk::durable_copy) holds.
//!
//! Pages of a shared mapping reach the disk when the kernel writes them back (`msync`, unmapping, closing); they are not counted as steps.

mod content;
mod copy;
mod kernel;
mod model;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use fuser::{BackgroundSession, Config, MountOption};

use self::kernel::{Kernel, Power, State, lock};
use self::model::{Body, Inode, Model};

/// A mounted disk; unmounted when dropped.
#[derive(Debug)]
pub struct PowerLossDisk {
    // Dropped first: the folder can go only when nothing is mounted on it.
    session: Option<BackgroundSession>,
    state: Arc<Mutex<State>>,
    folder: tempfile::TempDir,
}

impl PowerLossDisk {
    /// Mounts an empty disk on a new temporary folder.
    ///
    /// Fails with a message that says why when there is no `/dev/fuse` or mounting is not permitted.
    pub fn mount() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let owner = folder.path().metadata()?;
        let now = SystemTime::now();
        let root = Inode {
            body: Body::Folder(BTreeMap::new()),
            mode: 0o755,
            uid: owner.uid(),
            gid: owner.gid(),
            accessed: now,
            modified: now,
            changed: now,
        };
        Self::mount_model(Model::new(root), folder)
    }

    fn mount_model(model: Model, folder: tempfile::TempDir) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::new(model)));
        let mut options = Config::default();
        options.mount_options =
            vec![MountOption::FSName("power-loss".to_owned()), MountOption::DefaultPermissions];
        let session =
            fuser::spawn_mount(Kernel(Arc::clone(&state)), folder.path(), &options).map_err(|error| {
                let reason = if Path::new("/dev/fuse").exists() {
                    "mounting FUSE is refused"
                } else {
                    "there is no `/dev/fuse`"
                };
                io::Error::new(error.kind(), format!("cannot mount a power-loss disk, {reason}: {error}"))
            })?;
        Ok(Self { session: Some(session), state, folder })
    }

    /// The mount point.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// How many operations that change or sync something were carried out or refused for their own reasons so far.
    pub fn operations(&self) -> u64 {
        lock(&self.state).operations
    }

    /// Cuts the power after `steps` operations, counted from mounting: the next one that would change or sync something fails with `EIO`,
    /// and from then on everything does.
    pub fn cut_after(&self, steps: u64) {
        lock(&self.state).cut_after = Some(steps);
    }

    /// Cuts the power at once.
    pub fn cut(&self) {
        lock(&self.state).power = Power::Off;
    }

    /// Limits the disk to this many bytes in pages of 4 KiB; a write that needs more fails with `ENOSPC`.
    pub fn set_capacity(&self, bytes: u64) {
        lock(&self.state).capacity = bytes;
    }

    /// Writes the tree that a power loss now would leave into `target`, a folder on another disk.
    pub fn durable_copy(&self, target: &Path) -> io::Result<()> {
        let left = lock(&self.state).model.after_loss();
        copy::write_tree(&left, target)
    }

    /// As [`durable_copy`](Self::durable_copy), but some of what was not synced survives too: of each folder the first few changes since its
    /// last sync, of each file some of the pages and perhaps the size. The same seed gives the same choice.
    pub fn durable_copy_with(&self, target: &Path, seed: u64) -> io::Result<()> {
        let left = lock(&self.state).model.after_partial_loss(seed);
        copy::write_tree(&left, target)
    }

    /// Loses what was not synced and mounts what is left, on another mount point, with power and a count from zero.
    ///
    /// Files that are still open on the old mount point fail with `EIO` from here on.
    pub fn restart(mut self) -> io::Result<Self> {
        let left = {
            let mut state = lock(&self.state);
            state.power = Power::Off;
            state.model.after_loss()
        };
        drop(self.session.take());
        Self::mount_model(left, tempfile::tempdir()?)
    }

    /// Where a file of the disk is, given its path from the root.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path().join(path)
    }
}
