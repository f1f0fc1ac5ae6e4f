//! The servers: started on one store, killed, started again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use pier_testkit::process::PierProcess;

use super::client::announce;

/// How long a server may take to end in good order.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// One of the servers, through its lives.
#[derive(Debug)]
pub(super) struct Server {
    process: PierProcess,
    start: Start,
    life: u64,
}

/// How to start it.
#[derive(Clone, Debug)]
struct Start {
    pier: PathBuf,
    data: PathBuf,
    configuration: PathBuf,
    /// Where clients find its address.
    notice: PathBuf,
}

impl Start {
    fn run(&self, life: u64) -> anyhow::Result<PierProcess> {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--log", "warn"].map(Into::into);
        let more =
            ["--data".as_ref(), self.data.as_os_str(), "--config".as_ref(), self.configuration.as_os_str()];
        let arguments: Vec<std::ffi::OsString> = arguments.into_iter().chain(more.map(Into::into)).collect();
        let process = PierProcess::start(&self.pier, arguments, []).context("a server does not start")?;
        announce(&self.notice, life, process.address()).context("cannot write a notice")?;
        Ok(process)
    }
}

impl Server {
    pub(super) fn start(pier: &Path, folder: &Path, number: usize) -> anyhow::Result<Self> {
        let start = Start {
            pier: pier.to_owned(),
            data: folder.join("data"),
            configuration: folder.join("pier.toml"),
            notice: folder.join(format!("server-{number}")),
        };
        Ok(Self { process: start.run(0)?, start, life: 0 })
    }

    /// `kill -9`, and a new life. It must not have ended by itself, nor have logged a failure.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.process.kill9()?;
        ensure!(status.signal() == Some(9), "a server ended by itself, {status}:\n{}", self.process.stderr());
        self.has_not_failed()?;
        self.life += 1;
        self.process = self.start.run(self.life)?;
        Ok(())
    }

    /// SIGTERM, and an end in good order.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let status = self.process.terminate(STOP_LIMIT)?;
        ensure!(status.success(), "a server ended with {status}:\n{}", self.process.stderr());
        self.has_not_failed()
    }

    fn has_not_failed(&self) -> anyhow::Result<()> {
        let log = self.process.stderr();
        let failed = ["ERROR", "panicked", "cannot collect"].iter().any(|word| log.contains(word));
        ensure!(!failed, "a server's log:\n{log}");
        Ok(())
    }
}
