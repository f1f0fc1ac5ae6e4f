//! Running `pier` to its end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The program under test.
pub(crate) const PIER: &str = env!("CARGO_BIN_EXE_pier");

/// Environment variables that would change what is tested, if whoever runs the tests has set them.
const VARIABLES: [&str; 22] = [
    "PIER_DATA",
    "PIER_CONFIG",
    "PIER_LISTEN",
    "PIER_LOG",
    "PIER_LOG_FORMAT",
    "PIER_CA",
    "PIER_HOSTS_DIR",
    "PIER_PROGRESS",
    "XDG_DATA_HOME",
    "COLUMNS",
    "NO_COLOR",
    "DOCKER_AUTH_CONFIG",
    "REGISTRY_AUTH_FILE",
    "DOCKER_CONFIG",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

/// A data folder, and how to run commands on it.
pub(crate) struct Store {
    folder: TempDir,
}

/// How a command ended, and what it said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Store {
    /// One that exists and is empty.
    pub(crate) fn empty() -> Self {
        let store = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(store.data()).unwrap();
        store
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The file of a blob.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.data().join("blobs").join(digest.replace(':', "/"))
    }

    /// Runs `pier ARGUMENTS` on this store, with the log left out.
    #[track_caller]
    pub(crate) fn pier(&self, arguments: &[&str]) -> Said {
        let data = self.data();
        let mut said = run(command(arguments).env("PIER_DATA", &data).env("PIER_LOG", "off"));
        // What a test compares has to be the same in every run.
        for text in [&mut said.stdout, &mut said.stderr] {
            *text = text.replace(data.to_str().unwrap(), "DATA");
        }
        said
    }

    /// Runs `pier ARGUMENTS`, which has to succeed and say nothing but data. Gives the data.
    #[track_caller]
    pub(crate) fn data_of(&self, arguments: &[&str]) -> String {
        self.pier(arguments).data(0)
    }

    /// The same with `--json`.
    #[track_caller]
    pub(crate) fn json_of(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.data_of(&[arguments, &["--json"]].concat())).unwrap()
    }
}

impl Said {
    /// The data, after checking the status and that there was no talk.
    #[track_caller]
    pub(crate) fn data(self, status: i32) -> String {
        assert_eq!((self.status, self.stderr.as_str()), (status, ""), "{self:?}");
        self.stdout
    }

    /// Checks that it failed with this status and these words, and gave no data.
    #[track_caller]
    pub(crate) fn refused(&self, status: i32, stderr: &str) {
        assert_eq!((self.status, self.stdout.as_str(), self.stderr.as_str()), (status, "", stderr));
    }
}

/// `pier ARGUMENTS` in an environment that says nothing about Pier.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PIER);
    command.args(arguments).stdin(Stdio::null());
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command
}

/// Runs it to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    Said {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Writes a file beside the data folder.
pub(crate) fn write(store: &Store, name: &str, text: &str) -> PathBuf {
    let path = store.folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
