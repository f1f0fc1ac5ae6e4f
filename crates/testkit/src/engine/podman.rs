//! Podman: no daemon, so a folder of its own is all it takes.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::command::{LIMIT, run};
use super::{Error, find, require_root, temporary_folder};

/// The `podman` command with storage of its own. Needs root.
#[derive(Debug)]
pub struct Podman {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Podman {
    /// Finds it; there is nothing to start.
    pub fn find() -> Result<Self, Error> {
        let program = find("podman", "podman")?;
        require_root("podman")?;
        Ok(Self { program, folder: temporary_folder()? })
    }

    /// Runs `podman ARGUMENTS` on its own storage. A status other than 0 is an error.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output, Error> {
        let folder = |name| self.folder.path().join(name);
        let mut command = Command::new(&self.program);
        command
            .arg("--root")
            .arg(folder("storage"))
            .arg("--runroot")
            .arg(folder("run"))
            .arg("--tmpdir")
            .arg(folder("tmp"))
            // Copies every layer, but mounts nothing, so it works on any file system and leaves nothing behind.
            .args(["--storage-driver", "vfs", "--events-backend", "none"])
            .args(arguments)
            .env_remove("CONTAINER_HOST")
            .env_remove("CONTAINERS_STORAGE_CONF");
        run(&mut command, LIMIT)
    }
}
