//! What can be typed to ask registries, and to change what they show.

#![expect(
    rustdoc::broken_intra_doc_links,
    reason = "these comments are shown as help, where brackets hold what may be left out"
)]

use std::{path::PathBuf, time::Duration};

use clap::{Args, value_parser};
use clap_complete::Shell;
use pier_oci::Platform;

use super::{registries::RegistryOptions, transfer::platform};

#[derive(Debug, Args)]
pub(crate) struct Resolve {
    /// Images; `-` stands for those on standard input, one a line
    #[arg(value_name = "REF", required_unless_present = "file")]
    pub(crate) references: Vec<String>,
    /// A file with images, one a line; what begins with `#` is a comment
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Resolve to the image for this platform, where a name stands for several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(crate) platform: Option<Platform>,
    /// Take answers from the cache that are at most this old; without this, registries are always asked
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) max_age: Option<Duration>,
    /// Ask registries whatever the cache has, and put their answers into it
    #[arg(long)]
    pub(crate) refresh: bool,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// An image of a registry, or store:NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF]
    #[arg(value_name = "REF")]
    pub(crate) image: String,
    /// Which image of an index [default: the one for this machine, if there is one]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ShowManifest {
    /// An image of a registry, or store:NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF]
    #[arg(value_name = "REF")]
    pub(crate) image: String,
    /// The manifest of the image for this platform, in place of the index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Tags {
    /// A repository, without tag and digest
    #[arg(value_name = "REPO")]
    pub(crate) repository: String,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Repositories {
    /// A registry: a host, and a port if need be
    #[arg(value_name = "HOST")]
    pub(crate) registry: String,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ListReferrers {
    /// What they refer to
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// Only those of this type
    #[arg(long, value_name = "TYPE")]
    pub(crate) artifact_type: Option<String>,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// A tag, or a manifest by its digest: repository:tag or repository@digest
    #[arg(value_name = "REF")]
    pub(crate) reference: String,
    /// Also remove the other tags that name the same manifest
    #[arg(long)]
    pub(crate) with_tags: bool,
    /// Only say what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_parser = value_parser!(Shell))]
    pub(crate) shell: Shell,
}
