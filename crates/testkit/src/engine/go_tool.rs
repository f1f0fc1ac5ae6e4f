//! crane, regctl and oras: clients in Go that no distribution packages, and three opinions about what a registry says.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::command::{LIMIT, run};
use super::{Error, find_in, temporary_folder};

/// A command with a configuration of its own: whoever works on the machine is not logged in, and nobody becomes so.
#[derive(Debug)]
struct GoTool {
    program: PathBuf,
    config: tempfile::TempDir,
    /// Certificate authorities in the place of the machine's own.
    authorities: Option<PathBuf>,
}

impl GoTool {
    fn find(program: &'static str, package: &'static str) -> Result<Self, Error> {
        let reason = || format!("it is not installed (`go install {package}@latest`)");
        let program = find_in(program, go_folders(), reason)?;
        Ok(Self { program, config: temporary_folder()?, authorities: None })
    }

    fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output, Error> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("DOCKER_CONFIG", self.config.path())
            .env("REGCTL_CONFIG", self.config.path().join("regctl.json"))
            .env_remove("DOCKER_AUTH_CONFIG")
            .env_remove("REGISTRY_AUTH_FILE");
        if let Some(authorities) = &self.authorities {
            command.env("SSL_CERT_FILE", authorities);
        }
        run(&mut command, LIMIT)
    }
}

/// Where `go install` puts commands.
pub(super) fn go_folders() -> Vec<PathBuf> {
    let folder = |name: &str, below: &str| Some(PathBuf::from(std::env::var_os(name)?).join(below));
    [folder("GOBIN", ""), folder("GOPATH", "bin"), folder("HOME", "go/bin")].into_iter().flatten().collect()
}

/// The `crane` command of go-containerregistry. Takes registries on loopback for plain HTTP by itself.
#[derive(Debug)]
pub struct Crane(GoTool);

/// The `regctl` command of regclient.
#[derive(Debug)]
pub struct Regctl(GoTool);

/// The `oras` command.
#[derive(Debug)]
pub struct Oras(GoTool);

impl Crane {
    /// Finds it; there is nothing to start.
    pub fn find() -> Result<Self, Error> {
        GoTool::find("crane", "github.com/google/go-containerregistry/cmd/crane").map(Self)
    }

    /// Trusts the authorities of this file (PEM) in the place of the machine's: it has no option of its own for them.
    #[must_use]
    pub fn trusting(self, authorities: &Path) -> Self {
        Self(GoTool { authorities: Some(authorities.to_owned()), ..self.0 })
    }

    /// Runs `crane ARGUMENTS`. A status other than 0 is an error.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output, Error> {
        self.0.run(arguments)
    }

    /// The folder of its `config.json`, which is Docker's. Empty at first.
    pub fn config(&self) -> &Path {
        self.0.config.path()
    }
}

impl Regctl {
    /// Finds it; there is nothing to start.
    pub fn find() -> Result<Self, Error> {
        GoTool::find("regctl", "github.com/regclient/regclient/cmd/regctl").map(Self)
    }

    /// Runs `regctl ARGUMENTS`. A status other than 0 is an error.
    ///
    /// A registry without TLS has to be allowed by the caller: `--host reg=ADDRESS,tls=disabled`.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output, Error> {
        self.0.run(arguments)
    }

    /// The folder of its configuration and of Docker's `config.json`, which it reads too. Empty at first.
    pub fn config(&self) -> &Path {
        self.0.config.path()
    }
}

impl Oras {
    /// Finds it; there is nothing to start.
    pub fn find() -> Result<Self, Error> {
        GoTool::find("oras", "oras.land/oras/cmd/oras").map(Self)
    }

    /// Runs `oras ARGUMENTS`. A status other than 0 is an error.
    ///
    /// A registry without TLS has to be allowed by the caller: `--plain-http`, or `--from-plain-http` and `--to-plain-http`.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output, Error> {
        self.0.run(arguments)
    }

    /// The folder of its `config.json`, which is Docker's. Empty at first.
    pub fn config(&self) -> &Path {
        self.0.config.path()
    }
}
