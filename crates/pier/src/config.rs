//! Flags over environment over `pier.toml` over defaults.
//!
//! clap has merged flags and environment already; what neither says comes from the file, and the rest is default.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use pier_content::ImmutableTag;
use pier_store::StoreOptions;
use serde::{Deserialize, Deserializer, de};

use crate::{
    cli::{Global, LogFormat},
    failure::{Failure, Status},
    registries::{ClientSection, Registries},
};

/// Everything that can be configured, with its defaults.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) serve: ServeSection,
    pub(crate) store: StoreSection,
    pub(crate) log: LogSection,
    pub(crate) client: ClientSection,
    pub(crate) registries: Registries,
}

/// `pier.toml`. Unknown keys are refused, so that a typing error is not a silent default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    data: Option<PathBuf>,
    serve: ServeSection,
    store: StoreSection,
    log: LogSection,
    client: ClientSection,
    registries: Registries,
}

/// `[serve]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ServeSection {
    /// Where to listen.
    #[serde(deserialize_with = "listening")]
    pub(crate) listen: SocketAddr,
    /// Whether to listen beyond this machine without TLS.
    pub(crate) plain_http: bool,
    /// Whether everybody may do everything.
    pub(crate) allow_anonymous: bool,
    /// The certificate that is shown, and those that lead from it to an authority.
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key.
    pub(crate) tls_key: Option<PathBuf>,
    /// Who may log in.
    pub(crate) htpasswd: Option<PathBuf>,
    /// Whether pulling needs no login.
    pub(crate) anonymous_pull: bool,
    /// Whether all that a manifest names has to be there.
    pub(crate) manifests: Manifests,
    /// Tags that never move once they are there.
    #[serde(deserialize_with = "immutable_tags")]
    pub(crate) immutable_tags: Vec<ImmutableTag>,
    /// Connections at once.
    pub(crate) max_connections: NonZeroUsize,
    /// Connections at once of one host.
    pub(crate) max_connections_per_address: Option<NonZeroUsize>,
    /// Uploads that are worked on at once.
    pub(crate) max_uploads: NonZeroUsize,
    /// Bytes of the largest blob that is taken.
    pub(crate) max_blob_bytes: Option<u64>,
    /// How long a client may take for a handshake of TLS, and for the head of a request.
    #[serde(deserialize_with = "some_duration")]
    pub(crate) head_timeout: Duration,
    /// How long a connection may wait for its next request.
    #[serde(deserialize_with = "some_duration")]
    pub(crate) keep_alive: Duration,
    /// How long a client may send nothing in the middle of a request, or take nothing of an answer.
    #[serde(deserialize_with = "some_duration")]
    pub(crate) idle_timeout: Duration,
    /// How long requests may take to finish after a signal to stop.
    #[serde(deserialize_with = "duration")]
    pub(crate) drain_timeout: Duration,
}

/// What is asked of a manifest that is pushed.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Manifests {
    /// All that it names is in the repository already.
    Complete,
    /// Some may be left out, such as platforms of an index.
    Sparse,
}

/// `[store]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct StoreSection {
    /// How long content that was just written is kept before something has to name it.
    #[serde(deserialize_with = "duration")]
    pub(crate) lease: Duration,
    /// How long an unfinished pull is kept.
    #[serde(deserialize_with = "duration")]
    pub(crate) part_expiry: Duration,
    /// How long an unfinished push is kept.
    #[serde(deserialize_with = "duration")]
    pub(crate) upload_expiry: Duration,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSection {
    /// What to log.
    pub(crate) level: String,
    /// How to log.
    pub(crate) format: LogFormat,
}

impl Default for ServeSection {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)),
            plain_http: false,
            allow_anonymous: false,
            tls_cert: None,
            tls_key: None,
            htpasswd: None,
            anonymous_pull: false,
            manifests: Manifests::Complete,
            immutable_tags: Vec::new(),
            max_connections: const { NonZeroUsize::new(4096).unwrap() },
            max_connections_per_address: None,
            max_uploads: const { NonZeroUsize::new(256).unwrap() },
            max_blob_bytes: None,
            head_timeout: Duration::from_secs(30),
            // Longer than the pools of clients keep one (90 seconds in Go), so that it is the client who closes, and no request meets a
            // connection that is just being closed.
            keep_alive: Duration::from_mins(2),
            idle_timeout: Duration::from_mins(1),
            drain_timeout: Duration::from_mins(5),
        }
    }
}

impl Default for StoreSection {
    fn default() -> Self {
        let StoreOptions { lease, part_expiry, upload_expiry, .. } = StoreOptions::default();
        Self { lease, part_expiry, upload_expiry }
    }
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Config {
    /// Reads the file, if one is named, and puts what was typed over it.
    pub(crate) fn load(global: &Global) -> Result<Self, Failure> {
        let file = match &global.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        let data = match global.data.clone().or(file.data) {
            Some(data) => data,
            None => default_data(env::var_os("XDG_DATA_HOME"), env::var_os("HOME")).ok_or_else(no_home)?,
        };
        let mut log = file.log;
        if let Some(level) = &global.log {
            log.level.clone_from(level);
        }
        log.format = global.log_format.unwrap_or(log.format);
        let File { serve, store, client, registries, .. } = file;
        Ok(Self { data, serve, store, log, client, registries })
    }
}

impl StoreSection {
    /// For [`pier_store::Store::open`].
    pub(crate) fn options(&self) -> StoreOptions {
        StoreOptions {
            lease: self.lease,
            part_expiry: self.part_expiry,
            upload_expiry: self.upload_expiry,
            ..StoreOptions::default()
        }
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, Failure> {
        let usage = |error: anyhow::Error, hint| Failure::new(Status::Usage, error).with_hint(hint);
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration `{}`", path.display()))
            .map_err(|error| usage(error, "name an existing file with --config, or leave it out"))?;
        Self::parse(&text)
            .with_context(|| format!("`{}` is not a configuration of Pier", path.display()))
            .map_err(|error| usage(error, "docs/reference/config.md lists every key"))
    }

    /// The error is one line; what the parser prints is a drawing.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let said = error.message().trim_end().replace('\n', ", ");
            match error.span() {
                Some(span) => {
                    let line = 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count();
                    anyhow!("line {line}: {said}")
                }
                None => anyhow!("{said}"),
            }
        })
    }
}

/// The XDG base directory specification's data folder.
fn default_data(data_home: Option<std::ffi::OsString>, home: Option<std::ffi::OsString>) -> Option<PathBuf> {
    // A relative path there is to be ignored, says the specification.
    let absolute =
        |value: Option<std::ffi::OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(data_home)
        .or_else(|| absolute(home).map(|home| home.join(".local/share")))
        .map(|base| base.join("pier"))
}

fn no_home() -> Failure {
    Failure::new(Status::Usage, anyhow!("no data folder is named, and neither XDG_DATA_HOME nor HOME is set"))
        .with_hint("name one with --data or PIER_DATA")
}

/// An IP address and a port. Names are not looked up: which of its addresses was meant would be a guess.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an IP address with a port such as `127.0.0.1:5000` or `[::1]:5000`")
    })
}

fn listening<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    address(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn immutable_tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ImmutableTag>, D::Error> {
    let patterns = Vec::<String>::deserialize(deserializer)?;
    patterns.iter().map(|pattern| pattern.parse().map_err(de::Error::custom)).collect()
}

/// As [`some_duration`], for a key without a default.
pub(crate) fn some_duration_if_any<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    some_duration(deserializer).map(Some)
}

/// As [`duration`], and longer than nothing.
pub(crate) fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match duration(deserializer)? {
        Duration::ZERO => Err(de::Error::custom("a duration longer than `0s` is needed here")),
        duration => Ok(duration),
    }
}

/// `90s`, `5m`, `24h`, `7days`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        de::Error::custom(format!("`{text}` is not a duration such as `90s` or `24h`: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_all_defaults() {
        let file = File::parse("").unwrap();
        assert_eq!(file.serve.listen, "127.0.0.1:5000".parse().unwrap());
        assert_eq!(file.store.lease, Duration::from_hours(24));
        assert_eq!(file.log.format, LogFormat::Text);
    }

    #[test]
    fn the_file_says_durations_and_addresses() {
        let file = File::parse(
            "data = '/d'\n[serve]\nlisten = '[::1]:80'\nidle-timeout = '90s'\n[store]\nlease = '2h'\n[log]\nformat = 'json'\n",
        )
        .unwrap();
        assert_eq!(file.data, Some("/d".into()));
        assert_eq!(file.serve.listen, "[::1]:80".parse().unwrap());
        assert_eq!(file.serve.idle_timeout, Duration::from_secs(90));
        assert_eq!(file.store.lease, Duration::from_hours(2));
        assert_eq!(file.log.format, LogFormat::Json);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, expected) in [
            (
                "lisen = 1",
                "line 1: unknown field `lisen`, expected one of `data`, `serve`, `store`, `log`, `client`, `registries`",
            ),
            ("\n[serve]\nlisten = 'here'", "line 3: `here` is not an IP address with a port such as"),
            ("[serve]\nmax-connections = 0", "line 2: invalid value: integer `0`, expected a nonzero"),
            ("[serve]\nidle-timeout = '0s'", "line 2: a duration longer than `0s` is needed here"),
            ("[store]\nlease = '1 lightyear'", "line 2: `1 lightyear` is not a duration"),
            ("[serve]\nimmutable-tags = ['v 1']", "line 2: `v 1` is no pattern of tags, such as"),
            ("[store]\nlease = 5", "line 2: invalid type: integer `5`, expected a string"),
            ("[store", "line 1: "),
        ] {
            let said = File::parse(text).unwrap_err().to_string();
            assert!(said.starts_with(expected), "{text}: {said}");
            assert!(!said.contains('\n'), "{text}: {said}");
        }
    }

    #[test]
    fn the_data_folder_follows_xdg() {
        let path = |data: Option<&str>, home: Option<&str>| {
            default_data(data.map(Into::into), home.map(Into::into)).map(|path| path.display().to_string())
        };
        assert_eq!(path(Some("/x"), Some("/h")).as_deref(), Some("/x/pier"));
        assert_eq!(path(Some("x"), Some("/h")).as_deref(), Some("/h/.local/share/pier"));
        assert_eq!(path(None, Some("/h")).as_deref(), Some("/h/.local/share/pier"));
        assert_eq!(path(None, None), None);
    }
}
