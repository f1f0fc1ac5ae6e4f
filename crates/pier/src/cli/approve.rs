//! What can be typed to change lists of approved digests.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand};
use pier_oci::{Digest, Platform};

use super::{transfer::platform, verify::Kind};

#[derive(Debug, Args)]
pub(crate) struct Approve {
    #[command(subcommand)]
    pub(crate) what: Approving,
}

/// What is done to a list.
#[derive(Debug, Subcommand)]
pub(crate) enum Approving {
    /// Put a digest in front, as the newest; a file that is not there is made
    Add(ApproveAdd),
    /// Take a digest away
    Remove(ApproveRemove),
    /// Show what is approved, its version and its digest
    List(ApproveList),
    /// Sign the list, which each change undoes
    Sign(ApproveSign),
    /// Make a key to sign with, and one to check signatures with beside it, in FILE.pub
    Keygen(ApproveKeygen),
}

#[derive(Debug, Args)]
pub(crate) struct ApproveAdd {
    /// The list
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The digest of an index, a manifest or a config
    #[arg(value_name = "DIGEST", value_parser = pier_content::approved::bare)]
    pub(crate) digest: Digest,
    /// What the digest has to be of
    #[arg(long, value_name = "KIND", default_value = "any")]
    pub(crate) kind: Kind,
    /// Only for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(crate) platform: Option<Platform>,
    /// Only from then on, as 2026-11-21T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = pier_content::approved::time)]
    pub(crate) not_before: Option<SystemTime>,
    /// Only until then
    #[arg(long, value_name = "TIME", value_parser = pier_content::approved::time)]
    pub(crate) not_after: Option<SystemTime>,
    /// What was approved before with the same --platform counts for so long beside it and no longer, as `7d`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) grace: Option<Duration>,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Make a file that has `approved_hashes` and nothing else, for launchers that read only that
    #[arg(long, conflicts_with_all = ["kind", "platform", "not_before", "not_after", "grace", "note"])]
    pub(crate) bare: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveRemove {
    /// The list
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The digest
    #[arg(value_name = "DIGEST", value_parser = pier_content::approved::bare)]
    pub(crate) digest: Digest,
    /// Also the last one, after which the list approves nothing
    #[arg(long)]
    pub(crate) allow_empty: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveList {
    /// The list
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Check that the list is signed by this public key, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Write the canonical form and nothing else: what is signed, and what its digest is of
    #[arg(long, conflicts_with = "json")]
    pub(crate) canonical: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveSign {
    /// The list
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The Ed25519 private key, in PEM as `pier approve keygen` and `openssl genpkey` write it
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Believe the list only until then, as 2026-11-21T09:00:00Z: whoever keeps the next one back cannot have this one count for ever
    #[arg(long, value_name = "TIME", value_parser = pier_content::approved::time)]
    pub(crate) expires: Option<SystemTime>,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveKeygen {
    /// Where the private key goes; its owner alone can read it
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}
