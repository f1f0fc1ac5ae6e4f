//! Options of every command that talks to registries.

use std::path::PathBuf;

use clap::Args;

/// How registries are reached and who we are there. What is said here holds for every registry that the command names, and for none of
/// their mirrors.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options for registries")]
pub(crate) struct RegistryOptions {
    /// Speak plain HTTP; on this machine that is tried anyway
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// Trust the certificate authorities in this PEM file, too; may be repeated
    #[arg(long, value_name = "FILE", env = "PIER_CA")]
    pub(crate) ca: Vec<PathBuf>,
    /// Say with this PEM certificate who you are
    #[arg(long, value_name = "FILE")]
    pub(crate) client_cert: Option<PathBuf>,
    /// The private key of --client-cert, when it is not in the same file
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
    /// Do not check certificates: anybody in between can read along and change what is not asked for by digest
    #[arg(long)]
    pub(crate) tls_skip_verify: bool,
    /// Take credentials from this file and from nowhere else [default: REGISTRY_AUTH_FILE, Podman's and Docker's files]
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
    /// Settings and mirrors in containerd's or Docker's form, such as /etc/containerd/certs.d
    #[arg(long, value_name = "DIR", env = "PIER_HOSTS_DIR")]
    pub(crate) hosts_dir: Option<PathBuf>,
}
