//! `cargo xtask bench`: what the same work costs in Pier and in its peers.
//!
//! The numbers are only worth something as ratios within one run: machines differ by 1.7 times from one day to the next. So everything
//! that is compared takes turns, round by round, under one load generator, and medians are compared. No test looks at them.

#[cfg(feature = "bench")]
mod client;
#[cfg(feature = "bench")]
mod content;
#[cfg(feature = "bench")]
mod cost;
#[cfg(feature = "bench")]
mod floor;
#[cfg(feature = "bench")]
mod group_commit;
#[cfg(feature = "bench")]
mod load;
#[cfg(feature = "bench")]
mod memory;
#[cfg(feature = "bench")]
mod peers;
#[cfg(feature = "bench")]
mod placement;
#[cfg(feature = "bench")]
mod plenty;
#[cfg(feature = "bench")]
mod registry;
#[cfg(feature = "bench")]
mod report;
#[cfg(feature = "bench")]
mod server;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Options of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// A release `pier serve` beside docker-registry, distribution 3 and nginx: blobs out and in, manifests out and in, lists, start-up.
    Registry(RegistryOptions),
    /// A release `pier` beside skopeo, crane, regctl and oras: pull, push, copy between registries, resolve.
    Client(ClientOptions),
}

#[derive(Debug, Args)]
struct RegistryOptions {
    /// Small sizes and one round: does it work at all?
    #[arg(long)]
    quick: bool,
    /// Medians, samples and ratios as JSON instead of Markdown.
    #[arg(long)]
    json: bool,
    /// Rounds in which every server gets its turn [default: 5, or 1 with --quick].
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// What is measured [default: everything].
    #[arg(long, value_delimiter = ',', value_name = "ROW")]
    only: Vec<Row>,
    /// Which servers take part. What `distribution` (version 3) needs is built with Go, and left out with a word where that fails.
    #[arg(long, value_delimiter = ',', value_name = "NAME", default_values = ["pier", "docker-registry", "distribution", "nginx", "nginx-sendfile"])]
    servers: Vec<Contestant>,
    /// A `pier` that is built already; else a release build of this workspace.
    #[arg(long, value_name = "FILE")]
    pier: Option<PathBuf>,
    /// Where the servers keep their data: a folder on the disk that is to be measured [default: the temporary folder].
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ClientOptions {
    /// Small sizes and one round: does it work at all?
    #[arg(long)]
    quick: bool,
    /// Medians, samples and ratios as JSON instead of Markdown.
    #[arg(long)]
    json: bool,
    /// Rounds in which every client gets its turn [default: 3, or 1 with --quick].
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// What is measured.
    #[arg(long, value_delimiter = ',', value_name = "WORK", default_values = ["pull", "push", "copy", "resolve", "verify", "test-registry", "ranges"])]
    works: Vec<Work>,
    /// The registry that all of them talk to.
    #[arg(long, value_name = "NAME", default_value = "pier")]
    registry: Contestant,
    /// A `pier` that is built already; else a release build of this workspace.
    #[arg(long, value_name = "FILE")]
    pier: Option<PathBuf>,
    /// Where images and the registries' data go: a folder on the disk that is to be measured [default: the temporary folder].
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Work {
    Pull,
    Push,
    Copy,
    Resolve,
    /// What a tag stands for, held against an approved digest, beside hashing its layer.
    Verify,
    /// Starts of the registry that tests in Rust have in their own process.
    TestRegistry,
    /// A large layer over slow and fast lines; once, not in each round.
    Ranges,
}

/// A row of the registry's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Row {
    /// GET of a large blob.
    Blob,
    /// GET of a blob of 1 MiB on 64 connections.
    SmallBlobs,
    /// GET of a manifest by tag.
    Manifest,
    /// The same by a client that has it already.
    NotModified,
    /// PUT of a manifest, beside SQLite alone.
    PutManifest,
    /// One page of the tags of a repository that has 100,000.
    Tags,
    /// One page of the catalog of 10,000 repositories.
    Catalog,
    /// From the command to the first answer, with all of these stored.
    StartUp,
    /// Push of a large blob.
    Push,
}

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Contestant {
    Pier,
    DockerRegistry,
    /// The `registry` command of distribution 3.
    Distribution,
    Nginx,
    NginxSendfile,
}

/// Does the work when this is the build that can.
#[cfg(feature = "bench")]
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match &options.subject {
        Subject::Registry(options) => registry::run(options),
        Subject::Client(options) => client::run(options),
    }
}

/// Hands over to a release build of this tool with what measuring needs, so that the generator and the baseline are not slow themselves.
#[cfg(not(feature = "bench"))]
pub(crate) fn run(_: &Options) -> anyhow::Result<()> {
    use crate::cargo::{cargo, check};
    let arguments = std::env::args_os().skip(1);
    check(
        cargo()
            .args(["run", "--quiet", "--release", "--package", "xtask", "--features", "bench", "--"])
            .args(arguments),
    )
}
