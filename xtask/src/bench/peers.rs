//! Peers that no distribution packages, built with Go once and kept.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::cargo::check;

/// The module, and the version that the numbers are about.
const DISTRIBUTION: &str = "github.com/distribution/distribution/v3/cmd/registry";
const DISTRIBUTION_VERSION: &str = "v3.1.2";

/// The registry of distribution 3, or nothing and a word why: a machine may have no Go, or no way to the module.
pub(super) fn distribution() -> Option<PathBuf> {
    build_distribution()
        .inspect_err(|error| {
            eprintln!("SKIPPED: distribution {DISTRIBUTION_VERSION} takes no part: {error:#}");
        })
        .ok()
}

fn build_distribution() -> anyhow::Result<PathBuf> {
    let tool = std::env::current_exe().context("cannot find this program")?;
    // Beside this tool, in Cargo's folder: `cargo clean` takes it away.
    let folder = tool.with_file_name(format!("distribution-{DISTRIBUTION_VERSION}"));
    let program = folder.join("registry");
    if !program.is_file() {
        eprintln!("building distribution {DISTRIBUTION_VERSION}; it takes minutes, once");
        let module = format!("{DISTRIBUTION}@{DISTRIBUTION_VERSION}");
        // Away from any other module's settings.
        check(Command::new("go").current_dir("/").args(["install", &module]).env("GOBIN", &folder))?;
    }
    Ok(program)
}
