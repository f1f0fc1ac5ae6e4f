//! The registry that the peers talk to. Everything else here knows only its address.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A `pier serve` that runs until it is dropped.
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
        let mut running = Command::new(env!("CARGO_BIN_EXE_pier"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // A server that never listens ends, which closes the pipe: this wait is as long as its start.
        let mut line = String::new();
        BufReader::new(running.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://").map(str::to_owned);
        let Some(address) = address else {
            // What went wrong stands on standard error, which is the test's own.
            let _ = running.kill();
            panic!("`pier serve` said `{line}` and ended with {:?}", running.wait());
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
