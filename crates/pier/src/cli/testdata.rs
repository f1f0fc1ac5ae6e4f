//! What can be typed about test data.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use pier_oci::Platform;

use crate::commands::testdata::Login;

use super::{
    RegistryOptions,
    transfer::{ProgressOptions, platform},
};

#[derive(Debug, Args)]
pub(crate) struct Testdata {
    /// The folder: what docker-registry calls its root directory
    #[arg(long, value_name = "DIR", env = "PIER_STORAGE_DIR", default_value = "testdata", global = true)]
    pub(crate) storage_dir: PathBuf,
    #[command(subcommand)]
    pub(crate) command: TestdataCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TestdataCommand {
    /// Fetch images into an empty folder
    Init(Box<TestdataInit>),
    /// List what is in the folder
    Catalog,
    /// Serve the folder until Ctrl-C; what is pushed is kept in memory and the folder is not changed
    Run(TestdataRun),
}

#[derive(Debug, Args)]
pub(crate) struct TestdataInit {
    /// Images as `pier copy` takes them, each perhaps with `=NAME[:TAG]` behind it: what it is to be called
    #[arg(value_name = "SRC[=NAME[:TAG]]", required_unless_present = "file")]
    pub(crate) images: Vec<String>,
    /// A TOML file with a table `[[image]]` for each: `source`, and if need be `name`, `platforms` or `single-platform`
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Only for this platform, in an index of its own; may be repeated [default: all, with the digest that the image has there]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(crate) platform: Vec<Platform>,
    /// The image for this platform alone, without an index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform, conflicts_with = "platform")]
    pub(crate) single_platform: Option<Platform>,
    /// With signatures, SBOMs and whatever else refers to the images
    #[arg(long)]
    pub(crate) referrers: bool,
    #[command(flatten)]
    pub(crate) progress: ProgressOptions,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct TestdataRun {
    /// The port of loopback to listen on; 0 takes any that is free
    #[arg(long, value_name = "PORT", default_value = "0")]
    pub(crate) port: u16,
    /// Let in only who logs in with this; without a password one is made up and said
    #[arg(long, value_name = "USER[:PASSWORD]", value_parser = Login::parse)]
    pub(crate) auth: Option<Login>,
    /// Speak TLS with a certificate of an authority made for this run; where that is, is said
    #[arg(long)]
    pub(crate) tls: bool,
}
