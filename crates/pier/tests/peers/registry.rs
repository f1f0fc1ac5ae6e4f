//! The registry that the peers talk to. Everything else here knows only its address.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A `pier serve`, or a `pier testdata run`, that runs until it is dropped.
pub(crate) struct Registry {
    address: String,
    running: Child,
    _data: TempDir,
}

impl Registry {
    /// Starts an empty one as a user would, and waits until it says where it listens.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pier"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path());
        Self::started(command, data, "listening on http://")
    }

    /// Starts one over a folder of test images with an image in it, under a name.
    #[track_caller]
    pub(crate) fn over_testdata(source: &str, name: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let pier = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_pier"));
            command.arg("testdata").args(arguments).arg("--storage-dir").arg(data.path().join("testdata"));
            command
        };
        let init = pier(&["init", &format!("{source}={name}")]).output().unwrap();
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
        let run = pier(&["run"]);
        Self::started(run, data, "Registry running at ")
    }

    #[track_caller]
    fn started(mut command: Command, data: TempDir, says: &str) -> Self {
        let mut running = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        // A server that never listens ends, which closes the pipe: this wait is as long as its start.
        let mut line = String::new();
        BufReader::new(running.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix(says).map(str::to_owned);
        let Some(address) = address else {
            // What went wrong stands on standard error, which is the test's own.
            let _ = running.kill();
            panic!("`pier` said `{line}` and ended with {:?}", running.wait());
        };
        Self { address, running, _data: data }
    }

    /// `ADDRESS/path`, as engines write references.
    pub(crate) fn reference(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Everything that these tests push is acknowledged by then; nothing is owed to the process.
        let _ = self.running.kill();
        let _ = self.running.wait();
    }
}
