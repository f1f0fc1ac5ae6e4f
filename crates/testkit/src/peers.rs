//! The other programs that tests meet, and how a test says that it cannot run without one.
//!
//! A skipped test looks like a passed one, so a skip is always printed, and is refused where `PIER_TEST_REQUIRE_PEERS=1`: there it fails.

use std::path::PathBuf;

/// A program that Pier is tried against.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Peer {
    /// Copies images between registries and files.
    Skopeo,
    /// Docker's client; its daemon is [`Peer::Dockerd`].
    Docker,
    /// Docker's daemon.
    Dockerd,
    /// containerd's daemon.
    Containerd,
    /// containerd's own client.
    Ctr,
    /// Podman.
    Podman,
    /// The reference registry, as Debian packages it.
    DockerRegistry,
    /// nginx, for serving plain files.
    Nginx,
    /// go-containerregistry's tool.
    Crane,
    /// regclient's tool.
    Regctl,
    /// The tool for artifacts.
    Oras,
}

impl Peer {
    /// The name of its executable.
    pub fn executable(self) -> &'static str {
        match self {
            Self::Skopeo => "skopeo",
            Self::Docker => "docker",
            Self::Dockerd => "dockerd",
            Self::Containerd => "containerd",
            Self::Ctr => "ctr",
            Self::Podman => "podman",
            Self::DockerRegistry => "docker-registry",
            Self::Nginx => "nginx",
            Self::Crane => "crane",
            Self::Regctl => "regctl",
            Self::Oras => "oras",
        }
    }

    /// Where it is: on `PATH`, or in the folders of daemons that a user's `PATH` may lack.
    pub fn find(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let daemons = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
        find_in(std::env::split_paths(&path).chain(daemons), self.executable())
    }
}

fn find_in(mut folders: impl Iterator<Item = PathBuf>, executable: &str) -> Option<PathBuf> {
    use rustix::fs::{Access, access};
    folders.find_map(|folder| {
        let path = folder.join(executable);
        (path.is_file() && access(&path, Access::EXEC_OK).is_ok()).then_some(path)
    })
}

/// What becomes of a test whose needs are not met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Skips {
    /// It is skipped, and says so.
    Allowed,
    /// It fails.
    Refused,
}

impl Skips {
    /// Refused where `PIER_TEST_REQUIRE_PEERS` is `1`.
    pub fn from_environment() -> Self {
        Self::from_value(std::env::var("PIER_TEST_REQUIRE_PEERS").ok().as_deref())
    }

    /// What a value of the variable means.
    pub fn from_value(value: Option<&str>) -> Self {
        if value == Some("1") { Self::Refused } else { Self::Allowed }
    }
}

/// Says on stderr that the running test is skipped for want of `need`.
///
/// # Panics
/// When skips are refused.
#[expect(clippy::print_stderr, reason = "a skip that nobody sees is a test that nobody ran")]
#[expect(clippy::panic, reason = "a refused skip is a failed test")]
pub fn skip(skips: Skips, need: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    match skips {
        Skips::Allowed => eprintln!("SKIPPED: {test}: needs {need}"),
        Skips::Refused => panic!("{test} needs {need}, and PIER_TEST_REQUIRE_PEERS=1 refuses to skip"),
    }
}

/// The path of a [`Peer`]'s executable, or returns from the test after saying that it is skipped.
#[macro_export]
macro_rules! require_peer {
    ($peer:expr) => {{
        let peer: $crate::peers::Peer = $peer;
        match peer.find() {
            Some(path) => path,
            None => {
                $crate::peers::skip($crate::peers::Skips::from_environment(), peer.executable());
                return;
            }
        }
    }};
}

/// The value of an `Ok`, or returns from the test after saying that it is skipped and why: for mounts, FUSE, privileges.
#[macro_export]
macro_rules! require {
    ($result:expr, $need:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => {
                $crate::peers::skip($crate::peers::Skips::from_environment(), &format!("{}: {error}", $need));
                return;
            }
        }
    };
}
