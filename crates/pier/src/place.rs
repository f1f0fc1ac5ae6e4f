//! Where images are, as it is typed.
//!
//! | text | is |
//! |---|---|
//! | `alpine:3.22`, `host:5000/app@sha256:…` | an image of a registry |
//! | `store:NAME` | an image of the local store |
//! | `oci:DIR[:TAG][@DIGEST]` | an image of a folder in the OCI image layout |
//! | `oci-archive:FILE[:TAG][@DIGEST]` | the same in a tar |
//! | `docker-archive:FILE[:REF][@DIGEST]` | an image of an archive as `docker save` writes it |
//!
//! A file called `-` is standard input or standard output. The first colon ends a path, since a reference behind it may
//! have colons of its own. A word in front of a colon decides, so an image of Docker Hub that is called `store` is
//! written `docker.io/library/store:1`.

mod held;
mod reading;
mod sites;
mod writing;

use std::{fmt, path::PathBuf};

use anyhow::anyhow;
use pier_oci::{Digest, Reference};

pub(crate) use self::{
    reading::{Origin, Reading},
    sites::Sites,
    writing::{Capacity, Writing},
};
use crate::{
    failure::{Failure, Status},
    stored_name::StoredName,
};

/// Where an image is or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A registry.
    Registry(Reference),
    /// The local store.
    Store(StoredName),
    /// A folder in the OCI image layout.
    Layout(PathBuf, Inside),
    /// Such a folder in a tar.
    OciArchive(Archive, Inside),
    /// An archive for `docker load`.
    DockerArchive(Archive, Inside),
}

/// A file, or the standard stream of its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Archive {
    /// A file.
    File(PathBuf),
    /// Standard input to read from, standard output to write to.
    Standard,
}

/// Which image of a folder or an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inside {
    /// Its name there.
    pub(crate) name: Option<String>,
    /// Its digest, which decides when it is given.
    pub(crate) digest: Option<Digest>,
}

impl Place {
    /// # Errors
    /// When the text names no place.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let Some((kind, rest)) = kind(text) else { return Ok(Self::Registry(text.parse()?)) };
        match kind {
            "store" => Ok(Self::Store(StoredName::parse(rest)?)),
            "oci" => {
                let (path, inside) = inside(text, rest)?;
                Ok(Self::Layout(path.into(), inside))
            }
            "oci-archive" => inside(text, rest).map(|(path, inside)| Self::OciArchive(archive(path), inside)),
            "docker-archive" => {
                inside(text, rest).map(|(path, inside)| Self::DockerArchive(archive(path), inside))
            }
            "docker-daemon" => {
                Err(Failure::new(Status::Usage, anyhow!("`{text}`: Pier cannot talk to a Docker daemon yet"))
                    .with_hint(
                        "go through an archive: `docker save`, `docker load` and `docker-archive:FILE`",
                    ))
            }
            _ => Err(Failure::new(Status::Usage, anyhow!("`{text}` is no place")).with_hint(
                "an image of a registry is written without a word in front: `host/repository:tag`",
            )),
        }
    }

    /// As [`parse`](Self::parse), and a bare reference is an image of the store.
    pub(crate) fn parse_or_stored(text: &str) -> Result<Self, Failure> {
        if kind(text).is_some() { Self::parse(text) } else { Ok(Self::Store(StoredName::parse(text)?)) }
    }
}

impl Place {
    /// Whether it is a standard stream.
    pub(crate) fn is_standard(&self) -> bool {
        matches!(self, Self::OciArchive(Archive::Standard, _) | Self::DockerArchive(Archive::Standard, _))
    }
}

/// The word in front of the first colon, when it is one that decides, and what is behind it.
fn kind(text: &str) -> Option<(&str, &str)> {
    const KINDS: [&str; 5] = ["store", "oci", "oci-archive", "docker-archive", "docker-daemon"];
    // What skopeo has in front of a registry's image.
    let foreign = text.starts_with("docker://");
    text.split_once(':').filter(|(kind, _)| foreign || KINDS.contains(kind))
}

/// The path, and what is behind it.
fn inside<'a>(text: &str, rest: &'a str) -> Result<(&'a str, Inside), Failure> {
    let (rest, digest) = match rest.rsplit_once('@') {
        Some((before, digest)) => match digest.parse() {
            Ok(digest) => (before, Some(digest)),
            Err(_) => (rest, None),
        },
        None => (rest, None),
    };
    let (path, name) = match rest.split_once(':') {
        Some((path, name)) => (path, Some(name)),
        None => (rest, None),
    };
    if path.is_empty() || name == Some("") {
        let missing = if path.is_empty() { "a path" } else { "a name" };
        return Err(Failure::new(Status::Usage, anyhow!("`{text}` lacks {missing} behind the colon")));
    }
    Ok((path, Inside { name: name.map(str::to_owned), digest }))
}

fn archive(path: &str) -> Archive {
    if path == "-" { Archive::Standard } else { Archive::File(path.into()) }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Store(name) => write!(f, "store:{name}"),
            Self::Layout(path, inside) => write!(f, "oci:{}{inside}", path.display()),
            Self::OciArchive(archive, inside) => write!(f, "oci-archive:{archive}{inside}"),
            Self::DockerArchive(archive, inside) => write!(f, "docker-archive:{archive}{inside}"),
        }
    }
}

impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Standard => f.write_str("-"),
        }
    }
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, ":{name}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn named(name: &str) -> Inside {
        Inside { name: Some(name.to_owned()), digest: None }
    }

    #[test]
    fn a_bare_reference_is_a_registrys() {
        for text in ["alpine", "alpine:3.22", "localhost:5000/oci", "docker.io/library/store:1", "oci"] {
            assert_eq!(Place::parse(text).unwrap(), Place::Registry(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn folders_and_archives_have_a_path_and_perhaps_a_name_and_a_digest() {
        let digest = Inside { name: None, digest: Some(DIGEST.parse().unwrap()) };
        let both = Inside { name: Some("1".to_owned()), ..digest.clone() };
        let file = |path: &str| Archive::File(path.into());
        for (text, place) in [
            ("oci:a/b".to_owned(), Place::Layout("a/b".into(), Inside::default())),
            ("oci:a/b:1".to_owned(), Place::Layout("a/b".into(), named("1"))),
            (format!("oci:a@{DIGEST}"), Place::Layout("a".into(), digest.clone())),
            (format!("oci:a:1@{DIGEST}"), Place::Layout("a".into(), both)),
            ("oci:a@b".to_owned(), Place::Layout("a@b".into(), Inside::default())),
            ("oci-archive:-".to_owned(), Place::OciArchive(Archive::Standard, Inside::default())),
            ("oci-archive:./-:x".to_owned(), Place::OciArchive(file("./-"), named("x"))),
            (
                "docker-archive:/t/a.tar:host:5000/app:1".to_owned(),
                Place::DockerArchive(file("/t/a.tar"), named("host:5000/app:1")),
            ),
        ] {
            assert_eq!(Place::parse(&text).unwrap(), place, "{text}");
            assert_eq!(place.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for (text, message) in [
            ("oci:", "`oci:` lacks a path behind the colon"),
            ("oci:a:", "`oci:a:` lacks a name behind the colon"),
            ("docker-daemon:alpine", "`docker-daemon:alpine`: Pier cannot talk to a Docker daemon yet"),
            ("docker://alpine", "`docker://alpine` is no place"),
        ] {
            let failure = Place::parse(text).unwrap_err();
            assert_eq!((failure.message().as_str(), failure.status), (message, Status::Usage));
        }
    }

    #[test]
    fn where_the_store_is_meant_a_bare_name_is_the_stores() {
        for text in ["alpine", "team/app:1", "127.0.0.1_5000/app:1"] {
            let expected = Place::Store(StoredName::parse(text).unwrap());
            assert_eq!(Place::parse_or_stored(text).unwrap(), expected);
        }
        assert_eq!(Place::parse_or_stored("oci:a").unwrap(), Place::Layout("a".into(), Inside::default()));
        assert_eq!(Place::parse_or_stored("docker-daemon:a").unwrap_err().status, Status::Usage);
    }
}
