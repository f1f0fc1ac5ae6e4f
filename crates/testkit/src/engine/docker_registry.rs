//! Debian's `docker-registry`: distribution 2.8, the registry that most of the world runs, as an independent judge.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemon::{Daemon, Folder};
use super::{Error, find};

/// A registry on a random loopback port, with files below a temporary folder and deletion allowed.
#[derive(Debug)]
pub struct DockerRegistry {
    daemon: Daemon,
    address: SocketAddr,
    program: PathBuf,
    storage: PathBuf,
}

impl DockerRegistry {
    /// Starts an empty registry; it answers when this returns.
    pub fn start() -> Result<Self, Error> {
        Self::start_program(&find("docker-registry", "docker-registry")?)
    }

    /// The same with another build of it, such as the `registry` command of distribution 3.
    pub fn start_program(program: &Path) -> Result<Self, Error> {
        let folder = Folder::new()?;
        let storage = folder.path().join("data");
        Self::start_in(program.to_owned(), folder, storage)
    }

    /// Starts a registry over a folder that is there, and stays.
    pub fn start_over(storage: &Path) -> Result<Self, Error> {
        Self::start_in(find("docker-registry", "docker-registry")?, Folder::new()?, storage.to_owned())
    }

    /// Starts one more process over the files of this one.
    pub fn start_beside(&self) -> Result<Self, Error> {
        Self::start_in(self.program.clone(), Folder::new()?, self.storage.clone())
    }

    fn start_in(program: PathBuf, folder: Folder, storage: PathBuf) -> Result<Self, Error> {
        let config = folder.write("config.yml", &config(&storage.display().to_string()))?;
        let mut command = Command::new(&program);
        // Distribution 3 would look for somebody to send traces to.
        command.arg("serve").arg(config).env("OTEL_TRACES_EXPORTER", "none");
        let mut daemon = Daemon::spawn("docker-registry", &mut command, folder)?;
        let log = daemon.log_path();
        // It binds port 0 and logs which one it got, so no two of them ever race for a port.
        let address = daemon.ready(|| listening_on(&std::fs::read_to_string(&log).ok()?))?;
        Ok(Self { daemon, address, program, storage })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// The folder that distribution calls `rootdirectory`.
    pub fn storage(&self) -> PathBuf {
        self.storage.clone()
    }
}

/// The access log would be a good part of what it costs to answer, and Pier does not write one either unless asked.
fn config(root: &str) -> String {
    format!(
        "version: 0.1\n\
         log:\n  level: info\n  accesslog:\n    disabled: true\n\
         storage:\n  filesystem:\n    rootdirectory: {root}\n  delete:\n    enabled: true\n\
         http:\n  addr: 127.0.0.1:0\n"
    )
}

fn listening_on(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("msg=\"listening on ")?;
    rest.split_once('"')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_port_from_the_log() {
        let line = "time=\"2026-01-01T00:00:00Z\" level=info msg=\"listening on 127.0.0.1:41817\" go.version=go1.19.8\n";
        assert_eq!(listening_on(line), Some(SocketAddr::from(([127, 0, 0, 1], 41817))));
        assert_eq!(listening_on("level=info msg=\"using inmemory blob descriptor cache\"\n"), None);
        assert_eq!(listening_on("level=info msg=\"listening on 127.0.0.1:41"), None);
    }
}
