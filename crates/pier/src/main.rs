//! `pier`: container images where they have to be, by digest.
//!
//! | module | is about |
//! |---|---|
//! | [`approvals`] | lists of approved digests on disk |
//! | [`cli`] | what can be typed |
//! | [`config`] | flags over environment over `pier.toml` over defaults |
//! | [`commands`] | a file for each verb; thin, the work is in the libraries |
//! | [`place`], [`stored_name`] | where images are, as it is typed |
//! | [`progress`] | what is moving, on standard error |
//! | [`prompt`] | what a person types: passwords |
//! | [`registries`] | the way to registries: settings, credentials, mirrors |
//! | [`serve`] | sockets, connections, shutdown |
//! | [`signals`] | SIGINT and SIGTERM |
//! | [`output`], [`failure`], [`logging`] | stdout is data, stderr is talk; exit statuses; hints |
//! | `reference` | a test: the reference documentation says what the code does |
//!
//! This is the only crate that prints, reads the environment or ends the process.

mod approvals;
mod cli;
mod commands;
mod config;
mod failure;
mod logging;
mod output;
mod place;
mod progress;
mod prompt;
#[cfg(test)]
mod reference;
mod registries;
mod serve;
mod signals;
mod stored_name;

use std::process::ExitCode;

use clap::Parser as _;
use tokio::runtime::Builder;

use crate::{
    cli::{Cli, Command},
    config::Config,
    failure::Failure,
    output::Output,
};

/// Keeps the buffers of bodies instead of giving each back to the kernel: a push takes a fifth less CPU than with glibc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    let output = Output::new(cli.global.output_format());
    match run(cli, &output) {
        Ok(status) => status.into(),
        Err(failure) => output.failure(&failure),
    }
}

fn run(cli: Cli, output: &Output) -> Result<failure::Status, Failure> {
    let config = Config::load(&cli.global)?;
    logging::start(&config.log)?;
    // A server has use for every processor. What a command moves is hashed and written by blocking threads; to hand sockets from thread
    // to thread besides costs a small pull a sixth of its time.
    let mut runtime = match cli.command {
        Command::Serve(_) | Command::Testdata(_) => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|error| Failure::from(anyhow::Error::new(error).context("cannot start the runtime")))?;
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Serve(options) => commands::serve::run(&options, &config).await,
            Command::Pull(options) => commands::pull::run(&options, &config, output).await,
            Command::Push(options) => commands::push::run(&options, &config, output).await,
            Command::Copy(options) => commands::copy::run(&options, &config, output).await,
            Command::Resolve(options) => commands::resolve::run(&options, &config, output).await,
            Command::Inspect(options) => commands::inspect::run(&options, &config, output).await,
            Command::Manifest(options) => commands::manifest::run(&options, &config, output).await,
            Command::Verify(options) => commands::verify::run(&options, &config, output).await,
            Command::Approve(options) => commands::approve::run(&options, output),
            Command::Tags(options) => commands::tags::run(&options, &config, output).await,
            Command::Catalog(options) => commands::catalog::run(&options, &config, output).await,
            Command::Referrers(options) => commands::referrers::run(&options, &config, output).await,
            Command::Delete(options) => commands::delete::run(&options, &config, output).await,
            Command::History(options) => commands::history::run(&options, &config, output).await,
            Command::Images(options) => commands::images::run(&options, &config, output).await,
            Command::Rm(options) => commands::rm::run(&options, &config, output).await,
            Command::Prune(options) => commands::prune::run(&options, &config, output).await,
            Command::Fsck(options) => commands::fsck::run(&options, &config, output).await,
            Command::Login(options) => commands::login::run(&options, &config, output).await,
            Command::Logout(options) => commands::logout::run(&options, &config, output).await,
            Command::Testdata(options) => commands::testdata::run(&options, &config, output).await,
            Command::Htpasswd(options) => commands::htpasswd::run(&options),
            Command::Completions(options) => commands::completions::run(&options),
        }
    });
    // A read of a device that hangs must not keep the process from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    outcome
}
