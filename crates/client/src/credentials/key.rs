//! The names under which credential files know registries.
//!
//! Three generations of tools wrote them: `https://index.docker.io/v1/` from when a registry was a URL, `ghcr.io` from when it was a host,
//! and Podman's `quay.io/team/app`, which goes down to a repository. A key with a scheme is of the first kind and its path says
//! nothing; without one, a path is a namespace, save the `v1/` and `v2/` that some tools left behind.

use pier_oci::{Registry, RepositoryName};

/// Docker Hub's name in Docker's own file and to Docker's helpers.
pub(super) const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What a key means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The registry.
    pub(super) registry: Registry,
    /// The repository, or the namespace of repositories, that it is for; all of them without one.
    pub(super) scope: Option<String>,
}

impl Key {
    /// What a text means; nothing when no registry could have that name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (host, scope) = match without_scheme(text) {
            Some(rest) => (rest.split(['/', '?', '#']).next()?, None),
            None => match text.split_once('/') {
                None | Some((_, "" | "v1/" | "v2/")) => (text.split('/').next()?, None),
                Some((host, scope)) => (host, Some(scope.trim_end_matches('/'))),
            },
        };
        let registry = host.parse().ok()?;
        Some(Self { registry, scope: scope.map(str::to_owned).filter(|scope| !scope.is_empty()) })
    }

    /// How closely the key fits a repository, or the registry as a whole; nothing when it is for something else.
    pub(super) fn fit(&self, registry: &Registry, name: Option<&RepositoryName>) -> Option<usize> {
        if self.registry != *registry {
            return None;
        }
        let Some(scope) = &self.scope else { return Some(0) };
        let rest = name?.as_str().strip_prefix(scope.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(scope.len())
    }
}

/// The name by which Docker knows a registry, in its file and to its helpers.
pub(super) fn docker_name(registry: &Registry) -> &str {
    if registry.is_docker_hub() { DOCKER_HUB } else { registry.as_str() }
}

fn without_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    (scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_of_all_generations_are_understood() {
        for (text, registry, scope) in [
            ("https://index.docker.io/v1/", "docker.io", None),
            ("https://index.docker.io/v1", "docker.io", None),
            ("http://index.docker.io", "docker.io", None),
            ("index.docker.io", "docker.io", None),
            ("index.docker.io/v1/", "docker.io", None),
            ("docker.io", "docker.io", None),
            ("Docker.IO", "docker.io", None),
            ("registry-1.docker.io", "docker.io", None),
            ("https://registry-1.docker.io/v2/", "docker.io", None),
            ("docker.io/library", "docker.io", Some("library")),
            ("ghcr.io", "ghcr.io", None),
            ("GHCR.io/", "ghcr.io", None),
            ("HTTPS://ghcr.io/v1/", "ghcr.io", None),
            ("https://ghcr.io/team/app", "ghcr.io", None),
            ("https://ghcr.io?x=y", "ghcr.io", None),
            ("ghcr.io/v2/", "ghcr.io", None),
            ("ghcr.io/v2", "ghcr.io", Some("v2")),
            ("quay.io/team/app", "quay.io", Some("team/app")),
            ("quay.io/team/", "quay.io", Some("team")),
            ("localhost:5000", "localhost:5000", None),
            ("https://host:5000/v2/", "host:5000", None),
            ("http://127.0.0.1:05000", "127.0.0.1:5000", None),
            ("[::1]:5000", "[::1]:5000", None),
            ("https://[0:0:0:0:0:0:0:1]:5000/v2/", "[::1]:5000", None),
            ("[2001:DB8::1]/team", "[2001:db8::1]", Some("team")),
            (" ghcr.io ", "ghcr.io", None),
        ] {
            let registry = registry.parse().unwrap();
            assert_eq!(Key::parse(text), Some(Key { registry, scope: scope.map(str::to_owned) }), "{text}");
        }
    }

    #[test]
    fn keys_that_name_no_registry_are_none() {
        for text in [
            "",
            "/",
            "oneword",
            "https://",
            "https:///v1/",
            "ftp://host.io",
            "https://user:pw@host.io/",
            "user@host.io",
            "host.io:x",
            "[::1",
            "host..io",
            "ho st.io",
        ] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_scope_covers_whole_components_only() {
        let fit = |key: &str, name: Option<&str>| {
            let name = name.map(|name| name.parse().unwrap());
            Key::parse(key).unwrap().fit(&"quay.io".parse().unwrap(), name.as_ref())
        };
        for (key, name, expected) in [
            ("quay.io", Some("team/app"), Some(0)),
            ("quay.io", None, Some(0)),
            ("quay.io/team", Some("team/app"), Some(4)),
            ("quay.io/team/app", Some("team/app"), Some(8)),
            ("quay.io/team/app", Some("team/app/sub"), Some(8)),
            ("quay.io/tea", Some("team/app"), None),
            ("quay.io/team/app", Some("team/application"), None),
            ("quay.io/team/app", Some("team"), None),
            ("quay.io/team", None, None),
            ("ghcr.io", Some("team/app"), None),
            ("quay.io:443", Some("team/app"), None),
        ] {
            assert_eq!(fit(key, name), expected, "{key} {name:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_key_or_none(text in prop_oneof![".*", "(https?://|[a-z.]{1,3}|[/:@?\\[\\]]|[0-9]){0,8}"]) {
            if let Some(key) = Key::parse(&text) {
                // What it means can be written as a key that means the same.
                let written = match &key.scope {
                    Some(scope) => format!("{}/{scope}", key.registry),
                    None => key.registry.to_string(),
                };
                prop_assert_eq!(Key::parse(&written), Some(key));
            }
        }

        #[test]
        fn every_spelling_of_a_host_is_the_same_key(
            host in "[a-z]{1,5}\\.[a-z]{2,3}(:[1-9][0-9]{1,3})?",
            scheme in prop_oneof![Just(""), Just("http://"), Just("https://"), Just("HTTPS://")],
            end in prop_oneof![Just(""), Just("/"), Just("/v1/"), Just("/v2/")],
        ) {
            let plain = Key { registry: host.parse().unwrap(), scope: None };
            let spelling = format!("{scheme}{}{end}", host.to_uppercase());
            prop_assert_eq!(Key::parse(&spelling), Some(plain));
        }
    }
}
