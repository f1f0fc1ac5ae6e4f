//! Options of the commands that move images.

#![expect(
    rustdoc::broken_intra_doc_links,
    reason = "these comments are shown as help, where brackets hold what may be left out"
)]

use clap::{Args, ValueEnum};
use pier_oci::Platform;

use super::RegistryOptions;

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Images of registries
    #[arg(required = true, value_name = "REF")]
    pub(crate) references: Vec<String>,
    /// Only for this platform, such as linux/arm64; may be repeated [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(crate) platform: Vec<Platform>,
    /// For every platform that there is
    #[arg(long, conflicts_with = "platform")]
    pub(crate) all_platforms: bool,
    #[command(flatten)]
    pub(crate) progress: ProgressOptions,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// An image of the store, as `pier images` prints it, or another place as `pier copy` takes it
    #[arg(value_name = "SRC")]
    pub(crate) source: String,
    /// What it is to be called, with its registry
    #[arg(value_name = "REF")]
    pub(crate) destination: String,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) progress: ProgressOptions,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// A registry's image, or store:NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF]; a FILE may be `-`
    #[arg(value_name = "SRC")]
    pub(crate) source: String,
    /// The same; what has no tag is `latest` at a registry and in the store, and has no name elsewhere
    #[arg(value_name = "DST")]
    pub(crate) destination: String,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) progress: ProgressOptions,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

/// What of an image is copied.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Only for this platform, such as linux/arm64; may be repeated [default: all, and this machine's into a docker-archive]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(crate) platform: Vec<Platform>,
    /// For every platform that there is
    #[arg(long, conflicts_with = "platform")]
    pub(crate) all_platforms: bool,
    /// With signatures, SBOMs and whatever else refers to the image
    #[arg(long)]
    pub(crate) referrers: bool,
}

/// How it is told what happens.
#[derive(Debug, Args)]
pub(crate) struct ProgressOptions {
    /// How progress is shown on standard error
    #[arg(long, value_name = "HOW", env = "PIER_PROGRESS", default_value = "auto")]
    pub(crate) progress: ProgressMode,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// Bars on a terminal, lines else.
    Auto,
    /// A line for each blob that is done.
    Plain,
    /// A JSON object for each event.
    Json,
    /// Not at all.
    None,
}

pub(super) fn platform(text: &str) -> Result<Platform, String> {
    text.parse::<Platform>().map_err(|error| format!("{error}; {}", error.hint()))
}
