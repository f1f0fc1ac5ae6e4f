//! Docker: the daemon and its client, as Debian's `docker.io` installs them, without systemd.

use std::ffi::OsStr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::command::{LIMIT, run};
use super::daemon::{Daemon, Folder};
use super::{Containerd, Error, find, require_root};

/// A Docker daemon with its own data, socket and containerd. Needs root.
///
/// It touches neither bridges nor packet filters, so containers have to be run, and images built, with `--network host` or `none`.
/// Registries on loopback may be plain HTTP, as in any Docker.
#[derive(Debug)]
pub struct Dockerd {
    // In the order in which they have to end.
    containers: Containers,
    daemon: Daemon,
    containerd: Containerd,
}

/// The client, and the containers that a failed test left running.
#[derive(Debug)]
struct Containers {
    docker: PathBuf,
    socket: PathBuf,
    configuration: PathBuf,
}

impl Dockerd {
    /// Starts an empty Docker; it answers when this returns.
    pub fn start() -> Result<Self, Error> {
        let program = find("dockerd", "docker.io")?;
        let docker = find("docker", "docker.io")?;
        require_root("dockerd")?;
        // Left alone it would join the machine's own containerd if there is one, and mix its containers with that one's.
        let containerd = Containerd::start()?;
        let folder = Folder::new()?;
        let path = folder.path();
        let containers =
            Containers { docker, socket: path.join("docker.sock"), configuration: path.join("client") };
        let mut command = Command::new(program);
        command
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            // Its default is more than a machine in a container may grant.
            .args(["--default-ulimit", "nofile=1024:1024"])
            .arg("--host")
            .arg(format!("unix://{}", containers.socket.display()))
            .arg("--containerd")
            .arg(containerd.socket())
            .arg("--data-root")
            .arg(path.join("data"))
            .arg("--exec-root")
            .arg(path.join("exec"))
            .arg("--pidfile")
            .arg(path.join("pid"));
        let mut daemon = Daemon::spawn("dockerd", &mut command, folder)?;
        // It makes its socket last, when everything behind it is there.
        daemon.ready(|| UnixStream::connect(&containers.socket).ok())?;
        run(containers.command().arg("version"), LIMIT)?;
        Ok(Self { containers, daemon, containerd })
    }

    /// Runs `docker ARGUMENTS` against this daemon. A status other than 0 is an error.
    ///
    /// `docker build` is the classic builder: BuildKit's needs a plug-in that Debian does not package.
    pub fn docker<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output, Error> {
        run(self.containers.command().args(arguments), LIMIT)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> &Path {
        &self.containers.socket
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// The containerd below it.
    pub fn containerd(&self) -> &Containerd {
        &self.containerd
    }
}

impl Containers {
    /// No setting of whoever runs the tests reaches this client.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.docker);
        command
            .env_remove("DOCKER_CONTEXT")
            .env_remove("DOCKER_TLS_VERIFY")
            .env_remove("DOCKER_DEFAULT_PLATFORM")
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .env("DOCKER_CONFIG", &self.configuration)
            .env("DOCKER_BUILDKIT", "0");
        command
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        // After a test that ended well there is none; after one that did not, its failure is what should be reported.
        let Ok(left) = run(self.command().args(["ps", "--all", "--quiet"]), LIMIT) else {
            return;
        };
        for container in String::from_utf8_lossy(&left.stdout).lines() {
            let _ = run(self.command().args(["rm", "--force", container]), LIMIT);
        }
    }
}
