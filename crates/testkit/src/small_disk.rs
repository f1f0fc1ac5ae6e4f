//! A disk that is full soon: a tmpfs of a given size.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A mounted tmpfs; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts a tmpfs of `bytes`, rounded up to whole pages by the kernel. Fails with `PermissionDenied` where mounting is not permitted.
    pub fn mount(bytes: u64) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = std::ffi::CString::new(format!("size={bytes},mode=0755"))?;
        mount(
            "small-disk",
            folder.path(),
            "tmpfs",
            MountFlags::NODEV | MountFlags::NOSUID,
            options.as_c_str(),
        )?;
        Ok(Self { folder })
    }

    /// The mount point.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Bytes that can still be written.
    pub fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(self.path())?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    /// Fills the disk with a file of its own until `bytes` are left, rounded down to pages; does nothing when fewer are left already.
    pub fn fill_leaving(&self, bytes: u64) -> io::Result<()> {
        let excess = self.free()?.saturating_sub(bytes);
        if excess == 0 {
            return Ok(());
        }
        let ballast = File::options().create(true).append(true).open(self.ballast())?;
        let present = ballast.metadata()?.len();
        rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), present, excess)?;
        Ok(())
    }

    /// Gives back what [`fill_leaving`](Self::fill_leaving) took.
    pub fn free_all(&self) -> io::Result<()> {
        // Its space is given back even while somebody has it open, as every process has between its fork and its exec.
        let emptied = File::options().write(true).truncate(true).open(self.ballast());
        match emptied.and_then(|_| std::fs::remove_file(self.ballast())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn ballast(&self) -> PathBuf {
        self.path().join(".ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Detached, since a failing test may still hold files open; the kernel frees it with the last of them.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}
