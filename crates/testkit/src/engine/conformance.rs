//! The conformance suite of the distribution specification.

use std::path::PathBuf;
use std::process::Command;

use super::command::{LIMIT, run};
use super::go_tool::go_folders;
use super::{Error, find_in, temporary_folder};

/// The command `oci-conformance`: the program of the module `github.com/opencontainers/distribution-spec/conformance`, under a name
/// that says whose conformance it is about.
#[derive(Debug)]
pub struct ConformanceSuite {
    program: PathBuf,
}

/// What the suite found of a registry that failed no check.
#[derive(Clone, Debug)]
pub struct ConformanceReport {
    /// Checks that were made.
    pub checks: u32,
    /// Checks that were skipped or disabled.
    pub left_out: u32,
    /// All that it said.
    pub said: String,
}

impl ConformanceSuite {
    /// Finds it; there is nothing to start.
    pub fn find() -> Result<Self, Error> {
        let reason = || {
            "it is not installed (build `github.com/opencontainers/distribution-spec/conformance` as `oci-conformance`)"
                .to_owned()
        };
        find_in("oci-conformance", go_folders(), reason).map(|program| Self { program })
    }

    /// Runs the suite with these settings, which are environment variables of its own. A check that fails is an error.
    pub fn run(&self, settings: &[(&str, &str)]) -> Result<ConformanceReport, Error> {
        let results = temporary_folder()?;
        let mut command = Command::new(&self.program);
        command
            .current_dir(results.path())
            .env("OCI_RESULTS_DIR", results.path())
            .envs(settings.iter().copied());
        let output = run(&mut command, LIMIT)?;
        let junit = std::fs::read_to_string(results.path().join("junit.xml"))
            .map_err(|source| Error::Io { operation: "read the suite's results", source })?;
        let count = |name: &str| attribute(&junit, name).unwrap_or(0);
        Ok(ConformanceReport {
            checks: count("tests"),
            left_out: count("skipped") + count("disabled"),
            said: String::from_utf8_lossy(&output.stdout).into_owned(),
        })
    }
}

/// A number of the first element, which sums all others up. One that is zero is not written.
fn attribute(junit: &str, name: &str) -> Option<u32> {
    let element = junit.split_once("<testsuites")?.1.split_once('>')?.0;
    let value = element.split_once(&format!(" {name}=\""))?.1;
    value.split_once('"')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_whole() {
        let junit =
            "<testsuites time=\"1.2\" tests=\"908\" disabled=\"2\">\n<testsuite tests=\"1\" skipped=\"7\">";
        assert_eq!(attribute(junit, "tests"), Some(908));
        assert_eq!(attribute(junit, "disabled"), Some(2));
        assert_eq!(attribute(junit, "skipped"), None);
    }
}
