//! The URL at which a registry's content is asked for in its stead.

use std::{fmt, str::FromStr};

use pier_content::{Error, Result, Subject};
use pier_oci::{Registry, RepositoryName};
use url::Url;

/// Where every path of the distribution API begins.
const API: &str = "/v2";

/// A place that speaks the distribution API: a scheme, a host, and what stands before a repository's name in its paths.
///
/// A path in the URL is put before the repository's name, as registries with many upstreams have it: at `https://harbor.example/hub`,
/// `library/alpine` is `hub/library/alpine`. A path with `/v2` in it is taken as the beginning of the API's paths, for those
/// that have it elsewhere: `https://nexus.example/repository/hub/v2`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EndpointUrl {
    /// Scheme, host and port.
    base: Url,
    /// In place of `/v2`; starts with a slash and does not end in one.
    api: String,
    registry: Registry,
}

/// What the path of an end-point's URL means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathIs {
    /// What stands before repositories' names, unless it has `/v2` in it.
    Prefix,
    /// The beginning of the API's paths, whatever it looks like.
    Api,
    /// What stands before `/v2`, unless it ends in that.
    Root,
}

impl EndpointUrl {
    pub(crate) fn parse(text: &str, path: PathIs) -> Result<Self> {
        let wrong = |reason: &str| Error::Invalid {
            subject: Subject::Setting(without_credentials(text)),
            reason: reason.to_owned(),
        };
        let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let mut base =
            Url::parse(&whole).map_err(|_| wrong("it is not a URL such as `https://host:5000`"))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("a registry is asked over `https` or `http`"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("credentials do not belong into a URL; log in to this host instead"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("the URL of a registry has neither `?` nor `#`"));
        }
        let registry = registry(&base).ok_or_else(|| wrong("its host cannot be a registry"))?;
        let path_text = base.path().trim_end_matches('/').to_owned();
        if path_text.split('/').skip(1).any(str::is_empty) {
            return Err(wrong("its path has an empty part"));
        }
        let has_api = path_text.split('/').any(|part| part == "v2");
        let api = match path {
            PathIs::Api => path_text,
            PathIs::Prefix if has_api => path_text,
            PathIs::Prefix => format!("{API}{path_text}"),
            PathIs::Root if path_text.ends_with(API) => path_text,
            PathIs::Root => format!("{path_text}{API}"),
        };
        base.set_path("/");
        let url = Self { base, api, registry };
        if url.prefix().is_some_and(|prefix| prefix.parse::<RepositoryName>().is_err()) {
            return Err(wrong("its path cannot stand before a repository's name"));
        }
        Ok(url)
    }

    /// The registry whose credentials and settings hold there.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Its scheme, host and port, as a URL.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// Whether this is where a registry is anyway.
    pub(crate) fn is(&self, registry: &Registry) -> bool {
        let same_host =
            self.base.host_str().is_some_and(|host| host.trim_matches(['[', ']']) == registry.host());
        let same_port = self.base.port() == registry.port()
            || registry.port().is_some() && registry.port() == self.base.port_or_known_default();
        self.is_plain() && (self.registry == *registry || same_host && same_port)
    }

    fn is_plain(&self) -> bool {
        self.api == API
    }

    /// A path of the API, as it is there.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{}", self.api, path.strip_prefix(API).unwrap_or(path))
    }

    /// What stands before repositories' names there.
    fn prefix(&self) -> Option<&str> {
        let (_, prefix) = self.api.split_once("/v2/")?;
        Some(prefix)
    }

    /// What a repository is called there.
    pub(crate) fn name_there(&self, name: &RepositoryName) -> Result<RepositoryName> {
        let Some(prefix) = self.prefix() else { return Ok(name.clone()) };
        format!("{prefix}/{name}").parse().map_err(|error| Error::Invalid {
            subject: Subject::Setting(self.to_string()),
            reason: format!("a repository has no name there: {error}"),
        })
    }
}

/// The registry at a URL. A host of one word needs a port to be one.
fn registry(base: &Url) -> Option<Registry> {
    let host = base.host_str()?;
    let named = match base.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    // In plain HTTP a missing port is another than in HTTPS, which is what a registry's name without one stands for.
    let port = base.port_or_known_default()?;
    if base.scheme() == "https"
        && let Ok(registry) = named.parse()
    {
        return Some(registry);
    }
    format!("{host}:{port}").parse().ok()
}

/// A text that is no URL may still hold a password.
fn without_credentials(text: &str) -> String {
    text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, host)| format!("…@{host}"))
}

impl FromStr for EndpointUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text, PathIs::Prefix)
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.base.as_str().trim_end_matches('/');
        if self.is_plain() { f.write_str(base) } else { write!(f, "{base}{}", self.api) }
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, path: PathIs, blob: &str, registry: &str) {
        let url = EndpointUrl::parse(text, path).unwrap();
        let there = format!("{}{}", url.base().as_str().trim_end_matches('/'), url.path("/v2/a/blobs/x"));
        assert_eq!((there.as_str(), url.registry().as_str()), (blob, registry), "{text}");
    }

    #[test]
    fn a_path_stands_before_the_repositorys_name() {
        let prefix = PathIs::Prefix;
        check("https://m.io", prefix, "https://m.io/v2/a/blobs/x", "m.io");
        check("m.io:5000/", prefix, "https://m.io:5000/v2/a/blobs/x", "m.io:5000");
        check("https://m.io/hub/", prefix, "https://m.io/v2/hub/a/blobs/x", "m.io");
        check("https://m.io/v2/hub", prefix, "https://m.io/v2/hub/a/blobs/x", "m.io");
        check("https://m.io/repository/hub/v2", prefix, "https://m.io/repository/hub/v2/a/blobs/x", "m.io");
        check("http://[::1]:5000", prefix, "http://[::1]:5000/v2/a/blobs/x", "[::1]:5000");
        check("http://m.io", prefix, "http://m.io/v2/a/blobs/x", "m.io:80");
        check("https://cache", prefix, "https://cache/v2/a/blobs/x", "cache:443");
        check(
            "https://registry-1.docker.io",
            prefix,
            "https://registry-1.docker.io/v2/a/blobs/x",
            "docker.io",
        );
    }

    #[test]
    fn a_path_of_containerd_stands_before_the_api_or_is_the_api() {
        check("https://m.io/us", PathIs::Root, "https://m.io/us/v2/a/blobs/x", "m.io");
        check("https://m.io/v2", PathIs::Root, "https://m.io/v2/a/blobs/x", "m.io");
        check("https://m.io/v2/hub", PathIs::Root, "https://m.io/v2/hub/v2/a/blobs/x", "m.io");
        check("https://m.io/v2/hub", PathIs::Api, "https://m.io/v2/hub/a/blobs/x", "m.io");
        check("https://m.io", PathIs::Api, "https://m.io/a/blobs/x", "m.io");
    }

    #[test]
    fn a_repository_is_called_what_credentials_are_asked_for() {
        let there = |text: &str, path| {
            let url = EndpointUrl::parse(text, path).unwrap();
            url.name_there(&"library/alpine".parse().unwrap()).unwrap().to_string()
        };
        assert_eq!(there("m.io", PathIs::Prefix), "library/alpine");
        assert_eq!(there("m.io/hub", PathIs::Prefix), "hub/library/alpine");
        assert_eq!(there("m.io/v2/hub", PathIs::Api), "hub/library/alpine");
        assert_eq!(there("m.io/us", PathIs::Root), "library/alpine");
    }

    #[test]
    fn s23_what_is_no_end_point_is_an_error_without_passwords() {
        for (text, said) in [
            ("", "`` : it is not a URL such as `https://host:5000`"),
            ("ftp://m.io", "`ftp://m.io`: a registry is asked over `https` or `http`"),
            (
                "https://u:hunter2@m.io",
                "`…@m.io`: credentials do not belong into a URL; log in to this host instead",
            ),
            ("https://m.io?x=1", "`https://m.io?x=1`: the URL of a registry has neither `?` nor `#`"),
            ("https://m.io/a//b", "`https://m.io/a//b`: its path has an empty part"),
            ("https://m.io/UPPER", "`https://m.io/UPPER`: its path cannot stand before a repository's name"),
            ("https://m_o", "`https://m_o`: its host cannot be a registry"),
        ] {
            let error = text.parse::<EndpointUrl>().unwrap_err().to_string();
            assert_eq!(error, said.replace("`` :", "``:"));
        }
    }
}
