//! What can be typed to have an image verified.

#![expect(
    rustdoc::broken_intra_doc_links,
    reason = "these comments are shown as help, where brackets hold what may be left out"
)]

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, ValueEnum};
use pier_oci::{Digest, Platform, Tag};

use super::{
    registries::RegistryOptions,
    transfer::{ProgressOptions, platform},
};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["approve", "approved", "find_config"]))]
pub(crate) struct Verify {
    /// An image of a registry, or store:NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF]
    #[arg(value_name = "REF")]
    pub(crate) image: String,
    /// The digest of the index, the manifest or the config that is approved; may be repeated
    #[arg(long, value_name = "DIGEST")]
    pub(crate) approve: Vec<Digest>,
    /// A file with the digests that are approved, as `pier approve` writes it
    #[arg(long, value_name = "FILE", conflicts_with = "approve")]
    pub(crate) approved: Option<PathBuf>,
    /// Which of the digests in --approved count
    #[arg(long, value_name = "WHICH", default_value = "newest", conflicts_with_all = ["approve", "find_config"])]
    pub(crate) select: Select,
    /// Take this digest in place of the newest; it has to be in --approved
    #[arg(long, value_name = "DIGEST", conflicts_with_all = ["approve", "find_config", "select"], value_parser = pier_content::approved::bare)]
    pub(crate) r#override: Option<Digest>,
    /// Take this digest when there is no file --approved, and only then; --override does not count then
    #[arg(long, value_name = "DIGEST", conflicts_with_all = ["approve", "find_config"], value_parser = pier_content::approved::bare)]
    pub(crate) default: Option<Digest>,
    /// Believe --approved only if it is signed by this public key, in PEM, and not older than what was accepted before
    #[arg(long, value_name = "FILE", conflicts_with_all = ["approve", "find_config", "default"])]
    pub(crate) key: Option<PathBuf>,
    /// Believe --approved only from this version on
    #[arg(long, value_name = "N", requires = "key", conflicts_with_all = ["approve", "find_config"])]
    pub(crate) min_version: Option<u64>,
    /// What a digest of --approve has to be of
    #[arg(long, value_name = "KIND", default_value = "any", conflicts_with = "approved")]
    pub(crate) kind: Kind,
    /// Which image of an index; one that stands alone has to be for it, too [default: the one for this machine]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = platform)]
    pub(crate) platform: Option<Platform>,
    /// How far down the bytes are hashed [default: config, and layers with --offline or --pull]; layers of an image whose config alone is approved are unpacked, too
    #[arg(long, value_name = "DEPTH")]
    pub(crate) depth: Option<Depth>,
    /// Look at the store only, at what is on its disk
    #[arg(long)]
    pub(crate) offline: bool,
    /// Bring what was verified into the store, by its digest, and verify it there
    #[arg(long, conflicts_with = "offline")]
    pub(crate) pull: bool,
    /// Look through --tags for the image that has this config, and take that; as --approve with --kind config and --tags
    #[arg(long, value_name = "DIGEST", conflicts_with_all = ["approve", "approved", "kind"])]
    pub(crate) find_config: Option<Digest>,
    /// Look through these tags, in this order, for what is approved, and take the first that is [default: the one of REF]
    #[arg(long, value_name = "TAG,…", value_delimiter = ',')]
    pub(crate) tags: Vec<Tag>,
    #[command(flatten)]
    pub(crate) patience: Patience,
    #[command(flatten)]
    pub(crate) progress: ProgressOptions,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

/// How long an answer is insisted on.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options for registries that do not answer")]
pub(crate) struct Patience {
    /// How often a registry is asked before it counts as not reachable [default: attempts of pier.toml]
    #[arg(long, value_name = "N")]
    pub(crate) attempts: Option<NonZeroU32>,
    /// The wait after the first attempt, in seconds or as `500ms`; grows by half each time, up to a minute
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub(crate) interval: Option<Duration>,
    /// How long a registry has for each answer, in seconds or as `2m`; layers only have to keep coming
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
}

/// Which digests of a list count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Select {
    /// The newest that is in force
    Newest,
    /// Any that is in force
    Any,
}

/// What a digest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Any of these
    Any,
    /// The list of images by platform
    Index,
    /// The list of config and layers of one image
    Manifest,
    /// How the image is started; what Docker's own image store calls the image ID
    Config,
}

/// How far down the bytes are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Depth {
    /// Index, manifest and config
    Config,
    /// And the layers
    Layers,
    /// And what they unpack to
    DiffIds,
}

/// A number of seconds, or a duration as people write it.
fn seconds(text: &str) -> Result<Duration, String> {
    let duration = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?,
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string())?,
    };
    if duration.is_zero() {
        Err("a duration longer than `0s` is needed here".to_owned())
    } else {
        Ok(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_units() {
        assert_eq!(seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("2m"), Ok(Duration::from_mins(2)));
        for text in ["0", "-1", "NaN", "1e30", "soon", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
