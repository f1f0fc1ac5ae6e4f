//! Which registries a setting is for.

use std::{fmt, str::FromStr};

use pier_content::{Error, Result, Subject};
use pier_oci::Registry;

/// One registry, or a family of them: `ghcr.io`, `registry.corp.example:5000`, `*.corp.example`, `*`.
///
/// `*.corp.example` are all hosts below `corp.example`, whatever their port; `*.corp.example:5000` those with this port. `*` is every
/// registry. Of several that cover a registry the most telling counts first: its own name, then the longest domain, with a port before
/// without.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Registry(Registry),
    /// Starts with a dot.
    Below {
        domain: String,
        port: Option<u16>,
    },
    All,
}

impl HostPattern {
    /// Every registry.
    pub fn all() -> Self {
        Self(Kind::All)
    }

    /// How much it says about a registry; `None` when it does not cover it.
    pub(super) fn weight(&self, registry: &Registry) -> Option<usize> {
        match &self.0 {
            Kind::All => Some(0),
            Kind::Registry(own) => (own == registry).then_some(usize::MAX),
            Kind::Below { domain, port } => {
                let covers = registry.host().ends_with(domain.as_str())
                    && port.is_none_or(|port| registry.port() == Some(port));
                covers.then(|| 2 * domain.len() + usize::from(port.is_some()))
            }
        }
    }
}

impl From<Registry> for HostPattern {
    fn from(registry: Registry) -> Self {
        Self(Kind::Registry(registry))
    }
}

impl FromStr for HostPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason: String| Error::Invalid { subject: Subject::Setting(text.to_owned()), reason };
        if text == "*" {
            return Ok(Self::all());
        }
        let Some(below) = text.strip_prefix("*.") else {
            let registry = text.parse().map_err(|error| wrong(format!("it names no registry: {error}")))?;
            return Ok(Self(Kind::Registry(registry)));
        };
        // A registry of this name has to be possible; a port makes sure of that for a domain of one word.
        let (domain, port) = match below.rsplit_once(':') {
            Some((domain, _)) => (domain, below.parse::<Registry>().ok().map(|registry| registry.port())),
            None => (below, format!("{below}:1").parse::<Registry>().ok().map(|_| None)),
        };
        match port {
            Some(port) if !domain.contains(['*', '[']) => {
                Ok(Self(Kind::Below { domain: format!(".{}", domain.to_ascii_lowercase()), port }))
            }
            _ => Err(wrong("behind `*.` has to stand a domain, and a port if need be".to_owned())),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::All => f.write_str("*"),
            Kind::Registry(registry) => write!(f, "{registry}"),
            Kind::Below { domain, port: None } => write!(f, "*{domain}"),
            Kind::Below { domain, port: Some(port) } => write!(f, "*{domain}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_says() {
        for (pattern, registry, covered) in [
            ("*", "docker.io", true),
            ("ghcr.io", "ghcr.io", true),
            ("ghcr.io", "ghcr.io:5000", false),
            ("registry-1.docker.io", "docker.io", true),
            ("*.corp.example", "a.corp.example", true),
            ("*.corp.example", "a.b.corp.example:5000", true),
            ("*.corp.example", "corp.example", false),
            ("*.corp.example", "acorp.example", false),
            ("*.CORP.example:5000", "a.corp.example:5000", true),
            ("*.corp.example:5000", "a.corp.example", false),
            ("*.internal", "a.internal", true),
            ("[::1]:5000", "[::1]:5000", true),
        ] {
            let weight = pattern.parse::<HostPattern>().unwrap().weight(&registry.parse().unwrap());
            assert_eq!(weight.is_some(), covered, "{pattern} and {registry}");
        }
    }

    #[test]
    fn the_most_telling_weighs_most() {
        let registry: Registry = "a.b.corp.example:5000".parse().unwrap();
        let weights: Vec<_> = [
            "*",
            "*.example",
            "*.corp.example",
            "*.corp.example:5000",
            "*.b.corp.example",
            registry.as_str(),
        ]
        .into_iter()
        .map(|pattern| pattern.parse::<HostPattern>().unwrap().weight(&registry))
        .collect();
        assert!(weights.is_sorted_by(|one, next| one < next), "{weights:?}");
    }

    #[test]
    fn s23_what_is_no_pattern_is_an_error() {
        for text in ["", "*.", "*.*.corp.example", "a.*.example", "*corp.example", "word", "*.[::1]", "*.a:x"]
        {
            text.parse::<HostPattern>().unwrap_err();
        }
    }

    #[test]
    fn a_pattern_is_shown_as_it_was_written() {
        for text in ["*", "ghcr.io", "*.corp.example", "*.corp.example:5000"] {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
        }
    }
}
