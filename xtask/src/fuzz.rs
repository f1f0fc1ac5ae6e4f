//! Runs the fuzz targets: their seeds and what earlier runs found first, then new input for some seconds each.
//!
//! They are a workspace of their own in `fuzz/`, built by cargo-fuzz without a sanitizer, which stable Rust has none of:
//! what is looked for is a broken promise, and every target states its own.

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::cargo::{cargo, check, root};

/// Bytes of one input. Larger ones find little that smaller ones do not, and cost time.
const MAX_BYTES: u32 = 16 << 10;

/// MiB that one target may take, and the seconds for one input: beyond either, something grows with what a stranger sends.
const MAX_MEMORY: u32 = 1024;
const MAX_SECONDS: u32 = 10;

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
    check(cargo().args(["fuzz", "--version"]))
        .context("cargo-fuzz is needed; `cargo install cargo-fuzz --locked` brings it")?;
    check(cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    check(cargo().args(["fuzz", "build", "--sanitizer", "none"])).context("the fuzz targets do not build")?;
    let known = targets()?;
    let chosen = if options.targets.is_empty() { &known } else { &options.targets };
    for target in chosen {
        ensure!(known.contains(target), "there is no fuzz target `{target}`, only {}", known.join(", "));
        fuzz(target, options.seconds)?;
    }
    Ok(())
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

fn fuzz(target: &str, seconds: u32) -> anyhow::Result<()> {
    let corpus = format!("fuzz/corpus/{target}");
    std::fs::create_dir_all(root().join(&corpus)).with_context(|| format!("cannot make `{corpus}`"))?;
    let mut command = cargo();
    command.args([
        "fuzz",
        "run",
        "--sanitizer",
        "none",
        target,
        &corpus,
        &format!("fuzz/seeds/{target}"),
        "--",
    ]);
    command.args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={MAX_BYTES}"),
        format!("-rss_limit_mb={MAX_MEMORY}"),
        format!("-timeout={MAX_SECONDS}"),
        "-verbosity=0".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    check(&mut command).with_context(|| {
        format!("the target `{target}` found something; the input is in fuzz/artifacts/{target}")
    })
}
