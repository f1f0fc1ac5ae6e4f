//! skopeo: copies and inspects without a daemon, so it is also an independent judge of digests.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::command::{LIMIT, run};
use super::{Error, find};

/// The `skopeo` command.
#[derive(Debug)]
pub struct Skopeo {
    program: PathBuf,
}

impl Skopeo {
    /// Finds it; there is nothing to start.
    pub fn find() -> Result<Self, Error> {
        Ok(Self { program: find("skopeo", "skopeo")? })
    }

    /// Runs `skopeo ARGUMENTS`. A status other than 0 is an error.
    ///
    /// Signature policy is not what our tests are about, so the machine's own does not take part. A registry on loopback without TLS
    /// still has to be allowed by the caller: `--src-tls-verify=false`, `--dest-tls-verify=false` or `--tls-verify=false`.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output, Error> {
        run(Command::new(&self.program).arg("--insecure-policy").args(arguments), LIMIT)
    }
}
