//! What people type to name an image.

use std::{fmt, str::FromStr};

use crate::{
    Digest, DigestError, NameError, Registry, Repository, RepositoryName, Selector, Tag, excerpt::excerpt,
    name::LOCALHOST,
};

/// The namespace of Docker Hub's official images. It exists there and nowhere else.
const OFFICIAL: &str = "library/";

/// A name for an image: `alpine`, `host:5000/team/app:1.2`, `ghcr.io/o/app@sha256:…`, or with both.
///
/// Without a registry it is Docker Hub's; without tag and digest it is `latest`. With both, the digest decides and
/// the tag is for people. Written out, it is always whole: `docker.io/library/alpine:latest`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The repository.
    pub repository: Repository,
    /// The tag, if one was given or meant.
    pub tag: Option<Tag>,
    /// The digest, if one was given. What it names never changes.
    pub digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// There is nothing.
    #[error("an image reference is missing")]
    Empty,
    /// It begins like a URL.
    #[error("`{found}` is a URL and not an image reference")]
    Url {
        /// The text, shortened.
        found: String,
    },
    /// The registry, the repository or the tag is wrong.
    #[error("`{reference}` is not an image reference: {source}")]
    Name {
        /// The text, shortened.
        reference: String,
        /// What is wrong.
        source: NameError,
    },
    /// What is behind the `@` is wrong.
    #[error("`{reference}` is not an image reference: {source}")]
    Digest {
        /// The text, shortened.
        reference: String,
        /// What is wrong.
        source: DigestError,
    },
}

impl ReferenceError {
    /// Advice for a person.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Empty => Some("name an image, for example `alpine:3.22` or `ghcr.io/owner/app@sha256:…`"),
            Self::Url { .. } => Some("leave out the scheme: `host/repository:tag`"),
            Self::Name { source, .. } => source.hint(),
            Self::Digest { source, .. } => Some(source.hint()),
        }
    }
}

impl Reference {
    /// What names the manifest: the digest when there is one, else the tag.
    pub fn selector(&self) -> Selector {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Selector::Digest(*digest),
            (None, Some(tag)) => Selector::Tag(tag.clone()),
            (None, None) => Selector::Tag(Tag::latest()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.contains("://") {
            return Err(ReferenceError::Url { found: excerpt(text) });
        }
        let in_name = |source| ReferenceError::Name { reference: excerpt(text), source };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|source| ReferenceError::Digest { reference: excerpt(text), source })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (registry, rest) = match rest.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first.parse().map_err(in_name)?, rest),
            _ => (Registry::docker_hub(), rest),
        };
        // The registry and its port are gone, so a colon can only be in front of a tag.
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag.parse().map_err(in_name)?)),
            None => (rest, None),
        };
        let name: RepositoryName = if registry.is_docker_hub() && !name.contains('/') && !name.is_empty() {
            format!("{OFFICIAL}{name}").parse()
        } else {
            name.parse()
        }
        .map_err(in_name)?;
        let tag = tag.or_else(|| digest.is_none().then(Tag::latest));
        Ok(Self { repository: Repository { registry, name }, tag, digest })
    }
}

/// Whether what is in front of the first slash is a registry and not a part of a name on Docker Hub: it has a dot, a
/// port or a bracket, or is `localhost`.
///
/// Docker also takes a word with an upper-case letter for a registry, since no name may have one. Here that is a
/// mistyped name: hosts are compared in lower case, so `Foo/bar` would print as `foo/bar` and be another image.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':', '[']) || first.eq_ignore_ascii_case(LOCALHOST)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({self})")
    }
}

#[cfg(test)]
mod tests;
