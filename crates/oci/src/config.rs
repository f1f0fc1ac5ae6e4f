//! What an image's config says: where it runs, how it is started, and what its layers unpack to.
//!
//! Only what somebody here reads. A config is never written again, so what is not read is not lost either.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    Digest, Platform,
    descriptor::{empty_is_none, null_is_empty},
    excerpt::message_excerpt,
    json,
};

/// Bytes that a config may have. Real ones have a few KiB; build histories make some of them larger.
pub const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// The config of an image (image specification, "OCI Image Configuration").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    /// What it was built for, as its author wrote it.
    pub platform: Platform,
    /// When it was made, as its author wrote it.
    pub created: Option<String>,
    /// How it is started.
    pub run: RunConfig,
    /// What each layer hashes to when it is uncompressed, the lowest first.
    pub diff_ids: Vec<Digest>,
}

/// How a container of an image is started, unless its user says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// The program and its first arguments.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub entrypoint: Vec<String>,
    /// Arguments behind them, or the program.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub cmd: Vec<String>,
    /// The environment, as `NAME=value`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    /// The user, and perhaps the group behind a colon.
    #[serde(default, deserialize_with = "empty_is_none")]
    pub user: Option<String>,
    /// The folder that it starts in.
    #[serde(default, deserialize_with = "empty_is_none")]
    pub working_dir: Option<String>,
    /// Anything.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Why bytes are not the config of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the config of an image: {reason}")]
pub struct ConfigError {
    /// What is wrong, and where.
    pub reason: String,
}

#[derive(Deserialize)]
struct Document {
    os: String,
    architecture: String,
    #[serde(default, deserialize_with = "empty_is_none")]
    variant: Option<String>,
    #[serde(default, rename = "os.version", deserialize_with = "empty_is_none")]
    os_version: Option<String>,
    #[serde(default, rename = "os.features", deserialize_with = "null_is_empty")]
    os_features: Vec<String>,
    #[serde(default, deserialize_with = "empty_is_none")]
    created: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    config: RunConfig,
    #[serde(default, deserialize_with = "null_is_empty")]
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "null_is_empty")]
    diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Reads a config.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let Document { os, architecture, variant, os_version, os_features, created, config, rootfs } =
            json::from_slice(bytes)
                .map_err(|error| ConfigError { reason: message_excerpt(&error.to_string()) })?;
        Ok(Self {
            platform: Platform { os, architecture, variant, os_version, os_features },
            created,
            run: config,
            diff_ids: rootfs.diff_ids,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_config_says_where_and_how_it_runs() {
        let config = json!({
            "os": "linux", "architecture": "arm64", "variant": "v8", "created": "2026-01-02T03:04:05Z",
            "author": "somebody",
            "config": {
                "Entrypoint": ["/bin/app"], "Cmd": null, "Env": ["A=1"], "User": "", "WorkingDir": "/srv",
                "Labels": { "a": "1", "A": "2" }, "ExposedPorts": { "80/tcp": {} },
            },
            "rootfs": { "type": "layers", "diff_ids": [EMPTY] },
            "history": [{ "created_by": "make" }],
        });
        assert_eq!(
            ImageConfig::parse(config.to_string().as_bytes()).unwrap(),
            ImageConfig {
                platform: Platform {
                    variant: Some("v8".to_owned()),
                    ..Platform::new("linux", "arm64", None)
                },
                created: Some("2026-01-02T03:04:05Z".to_owned()),
                run: RunConfig {
                    entrypoint: vec!["/bin/app".to_owned()],
                    env: vec!["A=1".to_owned()],
                    working_dir: Some("/srv".to_owned()),
                    labels: [("A", "2"), ("a", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
                    ..RunConfig::default()
                },
                diff_ids: vec![EMPTY.parse().unwrap()],
            }
        );
    }

    #[test]
    fn what_may_be_left_out_may_be_left_out() {
        let config = ImageConfig::parse(br#"{"os":"linux","architecture":"amd64","config":null}"#).unwrap();
        assert_eq!(config.platform, Platform::new("linux", "amd64", None));
        assert_eq!((config.run, config.diff_ids), (RunConfig::default(), Vec::new()));
    }

    #[track_caller]
    fn check(config: &str, expected: &str) {
        let error = ImageConfig::parse(config.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("not the config of an image: "), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn s6_what_two_readers_would_read_differently_is_refused() {
        check("", "EOF");
        check("{}", "missing field `os`");
        check(r#"{"os":"linux","OS":"linux","architecture":"amd64"}"#, "OS");
        check(r#"{"os":"linux","os":"windows","architecture":"amd64"}"#, "os");
        check(r#"{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["sha256:12"]}}"#, "64");
    }
}
