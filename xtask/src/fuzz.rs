//! Runs the fuzz targets: their seeds and what earlier runs found first, then new input for some seconds each.
//!
//! They are a workspace of their own in `fuzz/`, built without a sanitizer, which stable Rust has none of: what is looked for is a broken
//! promise, and every target states its own. `cargo fuzz` works there too, and is not needed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::cargo::{cargo, check, root};

/// Bytes of one input. Larger ones find little that smaller ones do not, and cost time.
const MAX_BYTES: u32 = 16 << 10;

/// MiB that one target may take, and the seconds for one input: beyond either, something grows with what a stranger sends.
const MAX_MEMORY: u32 = 1024;
const MAX_SECONDS: u32 = 10;

/// What counts the ways through a program, and keeps the checks of a debug build (clang's SanitizerCoverage, which libFuzzer reads). One unit
/// for each crate, so that the counters and the table of their places stay together.
const INSTRUMENTED: [&str; 8] = [
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];

/// Options of `cargo xtask fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds for each target, after what is known has been tried again.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Which targets; all of them by default.
    targets: Vec<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    check(cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    let programs = build().context("the fuzz targets do not build")?;
    let known = targets()?;
    let chosen = if options.targets.is_empty() { &known } else { &options.targets };
    for target in chosen {
        ensure!(known.contains(target), "there is no fuzz target `{target}`, only {}", known.join(", "));
        fuzz(&programs.join(target), target, options.seconds)?;
    }
    Ok(())
}

/// Builds all targets and gives the folder of the programs. What libFuzzer has to see is seen in every crate, so flags go to all of them; for
/// a named target platform, so that they do not go to what runs during the build.
fn build() -> anyhow::Result<PathBuf> {
    let host = host()?;
    let mut command = cargo();
    command.args(["build", "--quiet", "--manifest-path", "fuzz/Cargo.toml", "--release", "--bins"]);
    command.args(["--target-dir", "fuzz/target", "--target", &host]);
    check(command.env("RUSTFLAGS", INSTRUMENTED.join(" ")))?;
    Ok(root().join("fuzz/target").join(host).join("release"))
}

/// The platform that the compiler is for.
fn host() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("-vV").current_dir(root()).output().context("cannot run rustc")?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say which platform it is for")?.to_owned())
}

/// Every target has a folder of seeds.
fn targets() -> anyhow::Result<Vec<String>> {
    let seeds = root().join("fuzz/seeds");
    let mut names = Vec::new();
    for entry in seeds.read_dir().with_context(|| format!("cannot read `{}`", seeds.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn fuzz(program: &Path, target: &str, seconds: u32) -> anyhow::Result<()> {
    let folder = |kind: &str| {
        let folder = format!("fuzz/{kind}/{target}");
        std::fs::create_dir_all(root().join(&folder)).with_context(|| format!("cannot make `{folder}`"))?;
        anyhow::Ok(folder)
    };
    let (corpus, artifacts) = (folder("corpus")?, folder("artifacts")?);
    let mut command = Command::new(program);
    command.current_dir(root()).args([corpus, format!("fuzz/seeds/{target}")]).args([
        format!("-artifact_prefix={artifacts}/"),
        format!("-max_total_time={seconds}"),
        format!("-max_len={MAX_BYTES}"),
        format!("-rss_limit_mb={MAX_MEMORY}"),
        format!("-timeout={MAX_SECONDS}"),
        "-verbosity=0".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    check(&mut command)
        .with_context(|| format!("the target `{target}` found something; the input is in {artifacts}"))
}
