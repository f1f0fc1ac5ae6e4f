//! Pier's own tools, in Rust like the rest, so that a clone and a toolchain are all that a developer needs.
//!
//! `cargo xtask test` is what CI runs; `tidy` is the part of it that reads the sources; `bench` compares with other registries,
//! and `fuzz` runs the fuzz targets.

#![expect(clippy::print_stderr, reason = "a tool talks to whoever runs it")]

mod bench;
mod cargo;
mod fuzz;
mod generate;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Pier's own tools.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Everything that CI asks: formatting, lints, rules, documentation, tests.
    Test(test::Options),
    /// The rules of the house: who may depend on whom, what may stand in a source file, whether links lead somewhere.
    Tidy,
    /// Write the reference documentation that comes from the code.
    Generate,
    /// Broken input for everything that reads what strangers send, for some seconds each.
    Fuzz(fuzz::Options),
    /// The same work through Pier and through its peers, in turn, in one run.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().tool {
        Tool::Test(options) => test::run(&options),
        Tool::Tidy => tidy::run(),
        Tool::Generate => generate::run(),
        Tool::Fuzz(options) => fuzz::run(&options),
        Tool::Bench(options) => bench::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
