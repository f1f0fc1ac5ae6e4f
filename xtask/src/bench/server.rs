//! The servers that are compared, each started afresh on a port of its own.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use pier_testkit::engine::{DockerRegistry, Nginx, Sendfile};
use rustix::process::{Pid, Signal, kill_process};

use super::Contestant;
use super::cost::Tree;
use crate::cargo::{cargo, check};

/// A server that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pub(super) tree: Tree,
    pub(super) role: Role,
    /// Ends the process when it goes.
    _running: Running,
}

/// What can be asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything.
    Registry,
    /// Only files, by name.
    Files,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for what their Drop does")]
enum Running {
    Pier(Pier),
    DockerRegistry(DockerRegistry),
    Nginx(Nginx),
}

impl Server {
    /// `folder` is where this server may keep its data; `files` is what a file server serves.
    pub(super) fn start(
        contestant: Contestant,
        pier: &Path,
        folder: &Path,
        files: &Path,
    ) -> anyhow::Result<Self> {
        match contestant {
            Contestant::Pier => {
                let running = Pier::start(pier, &folder.join("pier"))?;
                let (address, pid) = (running.address, running.child.id());
                Ok(Self::new("pier", address, pid, Role::Registry, Running::Pier(running)))
            }
            Contestant::DockerRegistry => {
                let running = DockerRegistry::start()?;
                let (address, pid) = (running.address(), running.pid());
                Ok(Self::new(
                    "docker-registry",
                    address,
                    pid,
                    Role::Registry,
                    Running::DockerRegistry(running),
                ))
            }
            Contestant::Nginx => Self::nginx("nginx", files, Sendfile::Off),
            Contestant::NginxSendfile => Self::nginx("nginx-sendfile", files, Sendfile::On),
        }
    }

    fn nginx(name: &'static str, files: &Path, sendfile: Sendfile) -> anyhow::Result<Self> {
        let running = Nginx::start(files, sendfile)?;
        let (address, pid) = (running.address(), running.pid());
        Ok(Self::new(name, address, pid, Role::Files, Running::Nginx(running)))
    }

    fn new(name: &'static str, address: SocketAddr, pid: u32, role: Role, running: Running) -> Self {
        Self { name, address, tree: Tree { root: pid }, role, _running: running }
    }
}

/// Builds the program that is compared, as it is shipped.
pub(super) fn build_pier() -> anyhow::Result<PathBuf> {
    check(cargo().args(["build", "--quiet", "--release", "--package", "pier"]))?;
    // This tool was built into the same folder.
    let folder = std::env::current_exe().context("cannot find this program")?;
    Ok(folder.with_file_name("pier"))
}

#[derive(Debug)]
struct Pier {
    child: Child,
    address: SocketAddr,
}

impl Pier {
    /// Its log goes to a file beside its data, as that of the others does.
    fn start(program: &Path, data: &Path) -> anyhow::Result<Self> {
        let log = data.with_extension("log");
        let said = File::create(&log).with_context(|| format!("cannot write `{}`", log.display()))?;
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .with_context(|| format!("cannot run `{}`", program.display()))?;
        // It says where it listens when it does, and closes its output if it never will.
        let mut line = String::new();
        let stdout = child.stdout.take().context("pier has no standard output")?;
        BufReader::new(stdout).read_line(&mut line).context("cannot read what pier says")?;
        let address =
            line.trim().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        let pier = address.map(|address| Self { child, address });
        ensure!(
            pier.is_some(),
            "pier did not say where it listens but `{}`: {}",
            line.trim(),
            fs::read_to_string(&log).unwrap_or_default()
        );
        pier.context("just checked")
    }
}

impl Drop for Pier {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
