//! What can be typed.

mod approve;
mod asking;
mod login;
mod registries;
mod testdata;
mod transfer;
mod verify;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::{
    approve::{Approve, ApproveAdd, ApproveKeygen, ApproveList, ApproveRemove, ApproveSign, Approving},
    asking::{Completions, Delete, Inspect, ListReferrers, Repositories, Resolve, ShowManifest, Tags},
    login::{Htpasswd, Login, Logout},
    registries::RegistryOptions,
    testdata::{Testdata, TestdataCommand, TestdataInit, TestdataRun},
    transfer::{Copy, ProgressMode, Pull, Push, Selection},
    verify::{Depth, Kind, Patience, Select, Verify},
};
use crate::output::Format;

/// Container images where they have to be, by digest.
#[derive(Debug, Parser)]
#[command(name = "pier", version, max_term_width = 100, propagate_version = true, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The folder that holds images [default: $XDG_DATA_HOME/pier or ~/.local/share/pier]
    #[arg(long, value_name = "DIR", env = "PIER_DATA", global = true)]
    pub(crate) data: Option<PathBuf>,
    /// A configuration file
    #[arg(long, value_name = "FILE", env = "PIER_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Write data as JSON
    #[arg(long, global = true)]
    json: bool,
    /// What to log: error, warn, info, debug, trace, or a filter such as `info,pier_registry=debug`
    #[arg(long, value_name = "LEVEL", env = "PIER_LOG", global = true)]
    pub(crate) log: Option<String>,
    /// How to log
    #[arg(long, value_name = "FORMAT", env = "PIER_LOG_FORMAT", global = true)]
    pub(crate) log_format: Option<LogFormat>,
}

impl Global {
    pub(crate) fn output_format(&self) -> Format {
        if self.json { Format::Json } else { Format::Text }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a registry
    Serve(Serve),
    /// Fetch images from registries into the store
    Pull(Pull),
    /// Send an image to a registry
    Push(Push),
    /// Copy an image from one place to another
    Copy(Copy),
    /// Print what names stand for: repository@digest
    Resolve(Resolve),
    /// Show the digests of an image from its index down to its layers
    Inspect(Inspect),
    /// Check that what a name stands for is what somebody approved
    Verify(Box<Verify>),
    /// Change and sign lists of approved digests
    Approve(Approve),
    /// Print a manifest, byte for byte
    Manifest(ShowManifest),
    /// List the tags of a repository at its registry
    Tags(Tags),
    /// List the repositories of a registry
    Catalog(Repositories),
    /// List what refers to an image: signatures, SBOMs, attestations
    Referrers(ListReferrers),
    /// Remove a tag or a manifest from a registry
    Delete(Delete),
    /// List the images in the store
    Images(Images),
    /// Show where a tag of the store has pointed
    History(History),
    /// Remove images from the store
    Rm(Rm),
    /// Free the space of content that no image names any more
    Prune(Prune),
    /// Check that everything in the store is what its digest says
    Fsck(Fsck),
    /// Check credentials for a registry and keep them where Docker and Podman find them
    Login(Login),
    /// Forget the credentials for a registry
    Logout(Logout),
    /// Real images in a folder, and a registry for tests over it
    Testdata(Testdata),
    /// Print a line for the file of users of `pier serve`
    Htpasswd(Htpasswd),
    /// Print a script that completes commands in a shell
    Completions(Completions),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The address to listen on; port 0 takes any that is free [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDR", env = "PIER_LISTEN", value_parser = crate::config::address)]
    pub(crate) listen: Option<SocketAddr>,
    /// Listen beyond this machine without TLS
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// Let everybody who can connect push and delete
    #[arg(long)]
    pub(crate) allow_anonymous: bool,
    /// Speak TLS with this certificate: PEM, with those that lead from it to an authority behind it
    #[arg(long, value_name = "FILE", env = "PIER_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate: PEM
    #[arg(long, value_name = "FILE", env = "PIER_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Let in those who are listed in this file, as `pier htpasswd` makes it
    #[arg(long, value_name = "FILE", env = "PIER_HTPASSWD")]
    pub(crate) htpasswd: Option<PathBuf>,
    /// With --htpasswd: let everybody else pull
    #[arg(long)]
    pub(crate) anonymous_pull: bool,
    /// How long requests may take to finish after a signal to stop [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) drain_timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Show whole digests
    #[arg(long)]
    pub(crate) digests: bool,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// A name with a tag, as `pier images` prints it; one that was removed has a history too
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Names as `pier images` prints them: repository:tag or repository@digest
    #[arg(required = true, value_name = "REF")]
    pub(crate) references: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Also remove what was written recently and has no name yet; breaks pushes that are under way
    #[arg(long)]
    pub(crate) ignore_leases: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Check sizes only and hash nothing
    #[arg(long)]
    pub(crate) quick: bool,
    /// Forget corrupt content, so that it can be pushed or pulled again, and remove blobs that nothing knows of
    #[arg(long)]
    pub(crate) repair: bool,
}
