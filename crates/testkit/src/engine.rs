//! Real engines and registries, started by a test for itself alone.
//!
//! Each runs from its Debian package, or as `go install` makes it, on a bare machine: no systemd, no daemon that was there before, nothing left behind. All state is in a
//! temporary folder, every address is a socket in that folder or a port that the system chose, and dropping the value ends the process and
//! takes its mounts away. So any number of them run side by side, and none meets the Docker of whoever works on the machine.
//!
//! A machine may lack a peer, or the rights to run it. That is [`Error::Missing`], and [`or_skip`](crate::skip::or_skip) turns it into a skip that
//! nobody overlooks.

mod command;
mod conformance;
mod containerd;
mod daemon;
mod docker_registry;
mod dockerd;
mod go_tool;
mod nginx;
mod podman;
mod skopeo;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

pub use conformance::{ConformanceReport, ConformanceSuite};
pub use containerd::Containerd;
pub use docker_registry::DockerRegistry;
pub use dockerd::Dockerd;
pub use go_tool::{Crane, Oras, Regctl};
pub use nginx::{Nginx, Sendfile};
pub use podman::Podman;
pub use skopeo::Skopeo;

use crate::skip::Unmet;

/// What a peer could not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine cannot run this peer at all: a reason to skip, not to fail.
    #[error("`{program}` cannot run here: {reason}")]
    Missing {
        /// The program that was asked for.
        program: &'static str,
        /// What is missing, and where it would come from.
        reason: String,
    },
    /// The peer was started and did not become ready.
    #[error("`{program}` did not become ready: {reason}\n{log}")]
    NotReady {
        /// The program that was started.
        program: &'static str,
        /// Whether it ended or was too slow.
        reason: String,
        /// The end of what it said.
        log: String,
    },
    /// A command ran and said no.
    #[error("`{}` ended with {status}\n{stdout}{stderr}", command.display())]
    Failed {
        /// The whole command line.
        command: OsString,
        /// How it ended.
        status: ExitStatus,
        /// All of its standard output.
        stdout: String,
        /// All of its standard error.
        stderr: String,
    },
    /// A command was still running when its time was up, and was killed.
    #[error("`{}` was still running after {limit:?}", command.display())]
    TimedOut {
        /// The whole command line.
        command: OsString,
        /// The time it had.
        limit: Duration,
    },
    /// The machine failed, not the peer.
    #[error("cannot {operation}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Unmet for Error {
    fn is_unmet(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

/// The program's path: as Debian installs it, else from `PATH`.
///
/// The system's folders come first, so that a client and its daemon are of one version even where a newer client shadows one of them; and
/// `sbin` is searched though it may not be in the `PATH` of whoever runs the tests.
fn find(program: &'static str, package: &'static str) -> Result<PathBuf, Error> {
    let reason = || format!("it is not installed (Debian package `{package}`)");
    find_in(program, ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from), reason)
}

/// The program's path: from these folders, else from `PATH`.
fn find_in(
    program: &'static str,
    folders: impl IntoIterator<Item = PathBuf>,
    reason: impl FnOnce() -> String,
) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Error::Missing { program, reason: reason() })
}

/// A busybox that needs no libraries, the whole content of an image that runs.
pub fn static_busybox() -> Result<PathBuf, Error> {
    find("busybox", "busybox-static")
}

/// Engines mount and unshare; nothing less than root can.
fn require_root(program: &'static str) -> Result<(), Error> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::Missing { program, reason: "it needs root".to_owned() })
}

fn temporary_folder() -> Result<tempfile::TempDir, Error> {
    // A short name: a Unix socket's path has at most 107 bytes, and the shims add their own folders below this one.
    tempfile::Builder::new()
        .prefix("pier-")
        .tempdir()
        .map_err(|source| Error::Io { operation: "make a temporary folder", source })
}
