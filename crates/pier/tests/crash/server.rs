//! The binary: serving, and its verbs beside that.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use pier_testkit::process::PierProcess;

use crate::client::Client;

const BINARY: &str = env!("CARGO_BIN_EXE_pier");

/// A server on a data folder, on a port of its own.
#[derive(Debug)]
pub(crate) struct Server(pub(crate) PierProcess);

impl Server {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    pub(crate) fn start_with(data: &Path, more: &[&str]) -> Self {
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--data"];
        arguments.push(data.to_str().unwrap());
        arguments.extend(more);
        Self(PierProcess::start(Path::new(BINARY), arguments, []).unwrap())
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.0.address())
    }

    /// Fails when the server has logged a failure of its own.
    pub(crate) fn has_not_failed(&self) {
        let log = self.0.stderr();
        assert!(!log.contains("ERROR") && !log.contains("panicked"), "the server's log:\n{log}");
    }
}

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).arg("--data").arg(data).env("PIER_LOG", "warn").stdin(Stdio::null());
    command
}

/// A verb that runs beside the server.
pub(crate) fn spawn(data: &Path, arguments: &[&str]) -> Child {
    command(data, arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A verb's output; the verb has to succeed.
pub(crate) fn run(data: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(data, arguments).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "pier {arguments:?}: {status}\n{stdout}{stderr}");
    stdout
}

/// That everything is what its digest says, and, once all that nothing names is collected, no file lies around.
pub(crate) fn all_is_well(data: &Path) {
    run(data, &["fsck"]);
    run(data, &["prune", "--ignore-leases"]);
    let report: serde_json::Value = serde_json::from_str(&run(data, &["fsck", "--json"])).unwrap();
    assert_eq!(report["findings"], serde_json::json!([]));
    let files: usize = ["sha256", "sha512"]
        .iter()
        .map(|algorithm| fs::read_dir(data.join("blobs").join(algorithm)).unwrap().count())
        .sum();
    assert_eq!(report["blobs"], files, "rows and files");
    assert_eq!(fs::read_dir(data.join("trash")).unwrap().count(), 0, "files in the trash");
}
