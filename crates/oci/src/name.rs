//! Registries, repositories and tags.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

use crate::{Digest, excerpt::excerpt};

/// Characters of a repository's name at most; the specification counts the registry's host in.
const MAX_NAME: usize = 255;

/// Characters of a tag at most.
const MAX_TAG: usize = 128;

/// Digits of a digest in the tag of its referrers at most, which leaves sha512's half of theirs.
const REFERRERS_DIGITS: usize = 64;

/// Where Docker Hub's images are said to be.
const DOCKER_HUB: &str = "docker.io";

/// The one host that needs neither a dot nor a port to be told from a name on Docker Hub.
pub(crate) const LOCALHOST: &str = "localhost";

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is nothing.
    #[error("a {what} is missing")]
    Empty {
        /// Which name.
        what: &'static str,
    },
    /// Too long.
    #[error("a {what} has at most {limit} characters, this one has {found}")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// Characters that it may have.
        limit: usize,
        /// Characters that it has.
        found: usize,
    },
    /// A character or an order of characters that the specification does not allow.
    #[error("`{text}` is not a {what}: {reason}")]
    Malformed {
        /// Which name.
        what: &'static str,
        /// The text, shortened.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl NameError {
    /// Advice for a person.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Malformed { reason: UPPER_CASE, .. } => Some("write it in lower case"),
            Self::Malformed { what: "registry", .. } => {
                Some("a registry is a host, and a port if need be: `host:5000`")
            }
            _ => None,
        }
    }
}

const UPPER_CASE: &str = "it has upper-case letters";
const ONE_WORD: &str = "one word is not enough: it has no dot and no port";

fn malformed(what: &'static str, text: &str, reason: &'static str) -> NameError {
    NameError::Malformed { what, text: excerpt(text), reason }
}

/// A registry: a host with a port, if one was given. Docker Hub is `docker.io` under all of its names.
///
/// It has one spelling: host in lower case, port without leading zeros, an IPv6 address in its short form (RFC 5952).
/// So equal text is the same registry, which credentials and the names in a store go by. A port that its scheme
/// implies stays: the scheme is not known here.
///
/// A host of one word needs a port, unless it is `localhost`: `host/app` is a name on Docker Hub, so a reference
/// could not say it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registry(Arc<str>);

impl Registry {
    /// Docker Hub.
    pub fn docker_hub() -> Self {
        Self(DOCKER_HUB.into())
    }

    /// Whether this is Docker Hub, whose official images have no namespace of their own.
    pub fn is_docker_hub(&self) -> bool {
        &*self.0 == DOCKER_HUB
    }

    /// As it is written in a reference.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without the port; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let host = self.split().0;
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port, if one was given.
    pub fn port(&self) -> Option<u16> {
        self.split().1.and_then(|port| port.parse().ok())
    }

    /// Whether it can only be on this machine: `localhost`, or a loopback address, also one of IPv4 written as IPv6.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == LOCALHOST
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }

    fn split(&self) -> (&str, Option<&str>) {
        split_port(&self.0)
    }
}

/// The host, and what is behind the colon that is not part of an IPv6 address.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

impl FromStr for Registry {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "registry";
        let wrong = |reason| Err(malformed(WHAT, text, reason));
        if text.is_empty() {
            return Err(NameError::Empty { what: WHAT });
        }
        let (host, port) = split_port(text);
        let port = match port.map(port_number) {
            None => None,
            Some(Some(port)) => Some(port),
            Some(None) => return wrong("its port is not a number from 1 to 65535"),
        };
        let host = if let Some(address) = host.strip_prefix('[') {
            let address = address.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
            let Some(address) = address else {
                return wrong("what is in brackets is not an IPv6 address");
            };
            format!("[{address}]")
        } else if host.len() > MAX_NAME {
            return Err(NameError::TooLong { what: WHAT, limit: MAX_NAME, found: host.len() });
        } else if !host.split('.').all(is_host_label) {
            return wrong("its host has empty parts or characters other than letters, digits and `-`");
        } else {
            host.to_ascii_lowercase()
        };
        match (&*host, port) {
            ("index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com", None) => {
                Ok(Self::docker_hub())
            }
            (_, Some(port)) => Ok(Self(format!("{host}:{port}").into())),
            (word, None) if word != LOCALHOST && !word.contains(['.', '[']) => wrong(ONE_WORD),
            (_, None) => Ok(Self(host.into())),
        }
    }
}

/// The number of a port: digits only, since parsing a number would also take a sign.
fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A repository's name within a registry: the specification's `<name>`, such as `library/alpine`.
///
/// Parts of lower-case letters and digits, with `.`, `_`, `__` or a run of `-` between them, separated by `/`;
/// so it is never a path that leads elsewhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Arc<str>);

impl RepositoryName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "repository name";
        let wrong = |reason| Err(malformed(WHAT, text, reason));
        if text.is_empty() {
            return Err(NameError::Empty { what: WHAT });
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong { what: WHAT, limit: MAX_NAME, found: text.len() });
        }
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return wrong(UPPER_CASE);
        }
        if !text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/')) {
            return wrong("it has characters other than `a`-`z`, `0`-`9`, `.`, `_`, `-` and `/`");
        }
        if !text.split('/').all(is_component) {
            return wrong("between letters and digits there may be one `.`, `_`, `__`, or a run of `-`");
        }
        Ok(Self(text.into()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, for text that has none but the allowed characters.
fn is_component(text: &str) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_well = bytes.first().is_some_and(is_plain) && bytes.last().is_some_and(is_plain);
    ends_well
        && bytes.split(is_plain).all(|separator| match separator {
            [] | b"." | b"_" | b"__" => true,
            other => other.iter().all(|byte| *byte == b'-'),
        })
}

/// A repository of a registry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    /// Where.
    pub registry: Registry,
    /// Which there.
    pub name: RepositoryName,
}

impl Repository {
    /// The name under which a store keeps what came from this repository: `docker.io/library/alpine`, and a port
    /// behind `_`: `host_5000/app`.
    ///
    /// Different repositories have different local names, since a host's name has no `_`. An IPv6 address is
    /// written out in full with `-` between its groups and `ip6__` in front: `ip6__0-0-0-0-0-0-0-1_5000/app`.
    ///
    /// # Errors
    /// [`NameError::TooLong`] when host and name together are longer than a name may be.
    pub fn local_name(&self) -> Result<RepositoryName, NameError> {
        let host = self.registry.host();
        let host = match host.parse::<Ipv6Addr>() {
            Ok(address) => {
                let groups: Vec<String> =
                    address.segments().iter().map(|group| format!("{group:x}")).collect();
                format!("ip6__{}", groups.join("-"))
            }
            Err(_) => host.to_owned(),
        };
        match self.registry.port() {
            Some(port) => format!("{host}_{port}/{}", self.name),
            None => format!("{host}/{}", self.name),
        }
        .parse()
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({self})")
    }
}

/// A tag: a name within a repository that may be moved.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

impl Tag {
    /// `latest`, what is meant when neither a tag nor a digest is given.
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// The tag under which clients list what refers to a manifest where the registry does not (distribution specification,
    /// "Referrers Tag Schema"): algorithm and digits with a dash between them, at most 64 digits.
    pub fn of_referrers(subject: &Digest) -> Self {
        let digits = subject.hex();
        let digits = digits.get(..REFERRERS_DIGITS).unwrap_or(&digits);
        Self(format!("{}-{digits}", subject.algorithm()).into())
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "tag";
        if text.is_empty() {
            return Err(NameError::Empty { what: WHAT });
        }
        if text.len() > MAX_TAG {
            return Err(NameError::TooLong { what: WHAT, limit: MAX_TAG, found: text.len() });
        }
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut bytes = text.bytes();
        if !bytes.next().is_some_and(is_word) {
            return Err(malformed(
                WHAT,
                text,
                "it begins with something other than a letter, a digit or `_`",
            ));
        }
        if !bytes.all(|byte| is_word(byte) || byte == b'.' || byte == b'-') {
            return Err(malformed(
                WHAT,
                text,
                "it has characters other than letters, digits, `_`, `.` and `-`",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// What names a manifest within a repository.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Selector {
    /// By a name that may be moved.
    Tag(Tag),
    /// By what its bytes hash to.
    Digest(Digest),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

macro_rules! text_type {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}
text_type!(Registry RepositoryName Tag);

#[cfg(test)]
mod tests;
