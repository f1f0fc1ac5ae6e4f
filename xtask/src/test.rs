//! What CI asks of a change, in the order in which it is cheapest to be told.
//!
//! The tests come last and their own output is the last on standard output, so that whatever reads it reads cargo's words. A test that
//! cannot run says so in a line that starts with `SKIPPED:`; those are gathered and repeated at the end, or refused.

use std::io::{self, BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::cargo::{cargo, check, display};
use crate::tidy;

/// Tells the tests to fail where they would skip. The same name as in `pier_testkit::engine`, which this tool does not wait for.
const REQUIRE_PEERS: &str = "PIER_TEST_REQUIRE_PEERS";

/// How a test says that it did not run.
const SKIPPED: &str = "SKIPPED: ";

/// Options of `cargo xtask test`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Fail when a test is skipped, as with `PIER_TEST_REQUIRE_PEERS=1` in the environment.
    #[arg(long)]
    require_peers: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skips {
    Reported,
    Refused,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let asked = std::env::var_os(REQUIRE_PEERS).is_some_and(|value| value == "1");
    let skips = if options.require_peers || asked { Skips::Refused } else { Skips::Reported };
    let mut took = Vec::new();
    step(&mut took, "format", || check(cargo().args(["fmt", "--all", "--check"])))?;
    step(&mut took, "tidy", tidy::run)?;
    step(&mut took, "clippy", || {
        check(cargo().args([
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    step(&mut took, "documentation", || {
        check(
            cargo()
                .args(["doc", "--quiet", "--workspace", "--all-features", "--no-deps"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    })?;
    let skipped = step(&mut took, "tests", || tests(skips))?;
    summary(&took, &skipped);
    ensure!(
        skips == Skips::Reported || skipped.is_empty(),
        "{} test(s) skipped where no skip is allowed",
        skipped.len()
    );
    Ok(())
}

fn step<T>(
    took: &mut Vec<(&'static str, Duration)>,
    name: &'static str,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    eprintln!("==> {name}");
    let started = Instant::now();
    let done = work().with_context(|| format!("{name} failed"))?;
    took.push((name, started.elapsed()));
    Ok(done)
}

/// Unit, integration and documentation tests; examples are built with them. Gives the reasons of what was skipped.
fn tests(skips: Skips) -> anyhow::Result<Vec<String>> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    if skips == Skips::Refused {
        command.env(REQUIRE_PEERS, "1");
    }
    let line = display(&command);
    let mut child = command.stderr(Stdio::piped()).spawn().with_context(|| format!("cannot run `{line}`"))?;
    let stderr = child.stderr.take().context("cargo has no standard error")?;
    let skipped = pass_on(BufReader::new(stderr), io::stderr()).context("cannot follow the tests")?;
    let status = child.wait().context("cannot wait for cargo")?;
    ensure!(status.success(), "`{line}` failed ({status})");
    Ok(skipped)
}

/// Copies everything as it comes, and keeps what stands behind `SKIPPED:`.
fn pass_on(mut from: impl BufRead, mut to: impl Write) -> io::Result<Vec<String>> {
    let mut skipped = Vec::new();
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        // Anywhere in the line: the harness writes the start of its own line to standard output, but a test may have begun one here.
        if let Some((_, reason)) = String::from_utf8_lossy(&line).split_once(SKIPPED) {
            skipped.push(reason.trim_end().to_owned());
        }
        line.clear();
    }
    Ok(skipped)
}

fn summary(took: &[(&str, Duration)], skipped: &[String]) {
    let times: Vec<_> =
        took.iter().map(|(name, took)| format!("{name} {:.1} s", took.as_secs_f64())).collect();
    eprintln!("==> {}", times.join(", "));
    if skipped.is_empty() {
        eprintln!("==> nothing was skipped");
        return;
    }
    eprintln!("==> {} TEST(S) SKIPPED, NOT PASSED:", skipped.len());
    for reason in skipped {
        eprintln!("    {reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_everything_on_and_keeps_the_skips() {
        let said = b"   Running tests\nSKIPPED: pulls: `docker` is not installed\nodd \xff byte\n.SKIPPED: pushes: no root";
        let mut shown = Vec::new();
        let skipped = pass_on(&said[..], &mut shown).unwrap();
        assert_eq!(shown, said);
        assert_eq!(skipped, ["pulls: `docker` is not installed", "pushes: no root"]);
    }
}
