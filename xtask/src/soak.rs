//! `cargo xtask soak`: every answer of real servers, under load and `kill -9`, held against a sequential model.
//!
//! Two `pier serve` on one store collect every second with leases of seconds. Workers, each a process of its own, push, pull, delete,
//! mount, move tags and cancel uploads in the same repositories, and write down when each request began and ended and what it
//! was answered. Servers are killed at random and started again. In the end [`checker`] looks for an order of all
//! requests that explains all answers, key by key, and what is left on the disk is exactly what something names.

#[cfg(feature = "soak")]
mod checker;
#[cfg(feature = "soak")]
mod client;
#[cfg(feature = "soak")]
mod content;
#[cfg(feature = "soak")]
mod dice;
#[cfg(feature = "soak")]
mod end;
#[cfg(feature = "soak")]
mod history;
#[cfg(feature = "soak")]
mod model;
#[cfg(feature = "soak")]
mod registry;
#[cfg(feature = "soak")]
mod servers;
#[cfg(feature = "soak")]
mod supervisor;
#[cfg(feature = "soak")]
mod uploads;
#[cfg(feature = "soak")]
mod worker;

use std::path::PathBuf;

use clap::Args;

/// Requests under way have a bit each when the history is judged.
const MAX_WORKERS: i64 = 60;

/// Options of `cargo xtask soak`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long the workers work.
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    minutes: f64,
    /// Repeats the choices of a run that failed, though not its timing; else another one each time.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Processes that push and pull.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=MAX_WORKERS))]
    workers: u32,
    /// A `pier` that is built already; else a debug build of this workspace.
    #[arg(long, value_name = "FILE")]
    pier: Option<PathBuf>,
}

/// Options of a worker, which the soak starts itself.
#[derive(Debug, Args)]
pub(crate) struct WorkerOptions {
    #[arg(long)]
    folder: PathBuf,
    #[arg(long)]
    number: u32,
    #[arg(long)]
    seed: u64,
    /// On the monotonic clock, in nanoseconds.
    #[arg(long)]
    until: u64,
}

#[cfg(feature = "soak")]
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    supervisor::run(options)
}

#[cfg(feature = "soak")]
pub(crate) fn work(options: &WorkerOptions) -> anyhow::Result<()> {
    worker::run(options)
}

/// Hands over to a build of this tool that has what it takes to start servers.
#[cfg(not(feature = "soak"))]
pub(crate) fn run(_: &Options) -> anyhow::Result<()> {
    use crate::cargo::check;
    let tool = build()?.join("xtask");
    check(std::process::Command::new(tool).args(std::env::args_os().skip(1)))
}

/// Builds the workspace for debugging and gives the folder of the programs.
///
/// All of it with all features, as the tests are built: features are unified over what is built together, so that `pier` alone would have
/// every dependency compiled once more. That costs minutes, and CI does both.
fn build() -> anyhow::Result<PathBuf> {
    use crate::cargo::{cargo, check};
    use anyhow::Context as _;
    // Asked first: the build may put another program in this one's place.
    let this = std::env::current_exe().context("cannot find this program")?;
    check(cargo().args(["build", "--quiet", "--workspace", "--all-targets", "--all-features"]))?;
    Ok(this.parent().context("this program is in no folder")?.to_owned())
}

/// Only that build starts workers.
#[cfg(not(feature = "soak"))]
pub(crate) fn work(_: &WorkerOptions) -> anyhow::Result<()> {
    anyhow::bail!("a worker is started by `cargo xtask soak`")
}
