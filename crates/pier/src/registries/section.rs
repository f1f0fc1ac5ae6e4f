//! `[client]` and `[registries."…"]` of `pier.toml`.

use std::{
    fmt::{self, Display},
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use pier_client::{
    EndpointUrl, HostPattern, HostSettings, Mirror, Proxies, Scheme, Timeouts, Trust, Verification,
};
use pier_content::{Error, Jitter, Result, RetryPolicy, Subject};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::certificates;
use crate::config::{some_duration, some_duration_if_any};

/// `[client]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ClientSection {
    /// A folder of containerd's or Docker's settings.
    pub(crate) hosts_dir: Option<PathBuf>,
    /// A file of credentials, as `REGISTRY_AUTH_FILE` names one.
    pub(crate) authfile: Option<PathBuf>,
    /// Attempts in a row that bring nothing.
    pub(crate) attempts: NonZeroU32,
    /// Until a connection stands.
    #[serde(deserialize_with = "some_duration")]
    pub(crate) connect_timeout: Duration,
    /// Until an answer begins.
    #[serde(deserialize_with = "some_duration")]
    pub(crate) answer_timeout: Duration,
    /// How long a body may stall.
    #[serde(deserialize_with = "some_duration")]
    pub(crate) stall_timeout: Duration,
}

/// `[registries."…"]`: what is set for registries by name or by domain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registries(pub(crate) Vec<(HostPattern, RegistrySection)>);

/// What is set for one of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RegistrySection {
    plain_http: Option<bool>,
    #[serde(deserialize_with = "one_or_many")]
    ca: Vec<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    tls_skip_verify: Option<bool>,
    #[serde(deserialize_with = "proxy")]
    proxy: Option<Proxies>,
    requests_at_once: Option<NonZeroUsize>,
    #[serde(deserialize_with = "some_duration_if_any")]
    connect_timeout: Option<Duration>,
    mirrors: Option<Vec<MirrorEntry>>,
}

/// One of `mirrors`: a URL, or a table that says more.
#[derive(Clone, Debug)]
struct MirrorEntry {
    url: EndpointUrl,
    trust: Trust,
}

impl Default for ClientSection {
    fn default() -> Self {
        let Timeouts { connect, answer, stall } = Timeouts::default();
        Self {
            hosts_dir: None,
            authfile: None,
            attempts: RetryPolicy::new(Jitter::none()).attempts,
            connect_timeout: connect,
            answer_timeout: answer,
            stall_timeout: stall,
        }
    }
}

impl RegistrySection {
    /// Reads the files that it names.
    pub(super) fn settings(&self) -> Result<HostSettings> {
        let mirrors = self.mirrors.as_ref().map(|mirrors| mirrors.iter().map(MirrorEntry::mirror).collect());
        let verification = |skip| if skip { Verification::Skipped } else { Verification::Required };
        if self.client_key.is_some() && self.client_cert.is_none() {
            let subject = Subject::Setting("client-key".to_owned());
            return Err(Error::Invalid {
                subject,
                reason: "there is no `client-cert` that it belongs to".to_owned(),
            });
        }
        Ok(HostSettings {
            scheme: self.plain_http.map(|plain| if plain { Scheme::PlainHttp } else { Scheme::Https }),
            verification: self.tls_skip_verify.map(verification),
            proxies: self.proxy.clone(),
            requests_at_once: self.requests_at_once,
            connect_timeout: self.connect_timeout,
            mirrors,
            ..certificates(&self.ca, self.client_cert.as_ref(), self.client_key.as_ref())?
        })
    }
}

impl MirrorEntry {
    fn mirror(&self) -> Mirror {
        Mirror { url: self.url.clone(), trust: self.trust, settings: HostSettings::default() }
    }
}

impl<'de> Deserialize<'de> for Registries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByName;
        impl<'de> Visitor<'de> for ByName {
            type Value = Registries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table for each registry")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Registries, A::Error> {
                let mut registries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    registries.push((parsed(&name)?, map.next_value()?));
                }
                Ok(Registries(registries))
            }
        }
        deserializer.deserialize_map(ByName)
    }
}

impl<'de> Deserialize<'de> for MirrorEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            url: String,
            #[serde(default)]
            resolve: bool,
        }
        struct UrlOrTable;
        impl<'de> Visitor<'de> for UrlOrTable {
            type Value = MirrorEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or a table with `url` and `resolve`")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<MirrorEntry, E> {
                Ok(MirrorEntry { url: parsed(url)?, trust: Trust::Content })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MirrorEntry, A::Error> {
                let Table { url, resolve } = Table::deserialize(MapAccessDeserializer::new(map))?;
                let trust = if resolve { Trust::Names } else { Trust::Content };
                Ok(MirrorEntry { url: parsed(&url)?, trust })
            }
        }
        deserializer.deserialize_any(UrlOrTable)
    }
}

/// A file, or a list of files.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    struct OneOrMany;
    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<PathBuf>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a file or a list of files")
        }

        fn visit_str<E: de::Error>(self, path: &str) -> Result<Vec<PathBuf>, E> {
            Ok(vec![path.into()])
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<PathBuf>, A::Error> {
            let mut paths = Vec::new();
            while let Some(path) = list.next_element()? {
                paths.push(path);
            }
            Ok(paths)
        }
    }
    deserializer.deserialize_any(OneOrMany)
}

/// A proxy's URL, or `none` for none at all, whatever the environment says.
fn proxy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Proxies>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let proxies = if text == "none" { Ok(Proxies::none()) } else { Proxies::always(&text) };
    proxies.map(Some).map_err(|_| {
        // The URL may hold a password, so it is not repeated.
        de::Error::custom("`proxy` is neither the URL of an HTTP proxy such as `http://host:3128` nor `none`")
    })
}

fn parsed<T: FromStr<Err: Display>, E: de::Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(E::custom)
}
