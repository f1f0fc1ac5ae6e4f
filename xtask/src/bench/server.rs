//! The servers that are compared, each started afresh on a port of its own.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail, ensure};
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
    running: Running,
}

/// Programs that had to be built.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) pier: PathBuf,
    pub(super) distribution: PathBuf,
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
enum Running {
    Pier(Pier),
    DockerRegistry(DockerRegistry),
    Nginx(#[expect(dead_code, reason = "held for what its Drop does")] Nginx),
}

impl Server {
    /// `folder` is where this server may keep its data; `files` is what a file server serves.
    pub(super) fn start(
        contestant: Contestant,
        programs: &Programs,
        folder: &Path,
        files: &Path,
    ) -> anyhow::Result<Self> {
        match contestant {
            Contestant::Pier => Ok(Self::pier(Pier::start(&programs.pier, &folder.join("pier"))?)),
            Contestant::DockerRegistry => {
                Ok(Self::docker_registry("docker-registry", DockerRegistry::start()?))
            }
            Contestant::Distribution => {
                let running = DockerRegistry::start_program(&programs.distribution)?;
                Ok(Self::docker_registry("distribution 3", running))
            }
            Contestant::Nginx => Self::nginx("nginx", files, Sendfile::Off),
            Contestant::NginxSendfile => Self::nginx("nginx-sendfile", files, Sendfile::On),
        }
    }

    /// One more process over what this one holds.
    pub(super) fn start_beside(&self) -> anyhow::Result<Self> {
        match &self.running {
            Running::Pier(pier) => Ok(Self::pier(Pier::start(&pier.program, &pier.data)?)),
            Running::DockerRegistry(registry) => {
                Ok(Self::docker_registry(self.name, registry.start_beside()?))
            }
            Running::Nginx(_) => bail!("a file server holds nothing of its own"),
        }
    }

    /// Where Pier keeps its blobs, as an OCI layout does. Nothing for the others.
    pub(super) fn blobs(&self) -> Option<PathBuf> {
        match &self.running {
            Running::Pier(pier) => Some(pier.data.join("blobs")),
            _ => None,
        }
    }

    fn pier(running: Pier) -> Self {
        let (address, pid) = (running.address, running.child.id());
        Self::new("pier", address, pid, Role::Registry, Running::Pier(running))
    }

    fn docker_registry(name: &'static str, running: DockerRegistry) -> Self {
        let (address, pid) = (running.address(), running.pid());
        Self::new(name, address, pid, Role::Registry, Running::DockerRegistry(running))
    }

    fn nginx(name: &'static str, files: &Path, sendfile: Sendfile) -> anyhow::Result<Self> {
        let running = Nginx::start(files, sendfile)?;
        let (address, pid) = (running.address(), running.pid());
        Ok(Self::new(name, address, pid, Role::Files, Running::Nginx(running)))
    }

    fn new(name: &'static str, address: SocketAddr, pid: u32, role: Role, running: Running) -> Self {
        Self { name, address, tree: Tree { root: pid }, role, running }
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
    program: PathBuf,
    data: PathBuf,
}

impl Pier {
    /// Its log goes to a file beside its data, as that of the others does.
    fn start(program: &Path, data: &Path) -> anyhow::Result<Self> {
        let log = data.with_extension("log");
        let said = OpenOptions::new().create(true).append(true).open(&log);
        let said = said.with_context(|| format!("cannot write `{}`", log.display()))?;
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
        let (program, data) = (program.to_owned(), data.to_owned());
        let pier = address.map(|address| Self { child, address, program, data });
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
