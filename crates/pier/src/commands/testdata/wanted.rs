//! Which images are to be fetched, and what they are to be called: from the command line and from a file.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, anyhow};
use pier_oci::{Platform, RepositoryName, Tag};
use serde::Deserialize;

use crate::{
    cli::TestdataInit,
    failure::{Failure, Status},
    place::Place,
};

/// Bytes that a list may have.
const MAX_LIST_BYTES: u64 = 1 << 20;

/// An image to fetch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// As it was typed.
    pub(super) source: String,
    pub(super) place: Place,
    pub(super) repository: RepositoryName,
    pub(super) tag: Tag,
    pub(super) choice: Choice,
}

/// What of an index is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Everything, as it is.
    All,
    /// The images for these platforms, in an index of their own.
    Some(Vec<Platform>),
    /// The image for this platform, without an index.
    Single(Platform),
}

/// A list of images, as TOML.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    image: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    source: String,
    name: Option<String>,
    #[serde(default)]
    platforms: Vec<String>,
    single_platform: Option<String>,
}

impl Wanted {
    /// Everything that is asked for.
    ///
    /// # Errors
    /// When a text is no image or name, and when two images would have the same name.
    pub(super) fn all(options: &TestdataInit) -> Result<Vec<Self>, Failure> {
        let mut all = Vec::new();
        let choice = match (&options.single_platform, &*options.platform) {
            (Some(platform), _) => Choice::Single(platform.clone()),
            (None, []) => Choice::All,
            (None, platforms) => Choice::Some(platforms.to_vec()),
        };
        for text in &options.images {
            let (source, name) = split(text);
            all.push(Self::parse(source, name, choice.clone())?);
        }
        if let Some(path) = &options.file {
            let within = |failure: Failure| failure.within(&format!("`{}`", path.display()));
            for entry in read(path)? {
                let choice = entry.choice(&choice).map_err(within)?;
                all.push(Self::parse(&entry.source, entry.name.as_deref(), choice).map_err(within)?);
            }
        }
        let mut names = BTreeSet::new();
        for Self { repository, tag, .. } in &all {
            if !names.insert((repository, tag)) {
                return Err(usage(anyhow!("two images are to be called `{repository}:{tag}`"))
                    .with_hint("say what each is to be called, with `=NAME:TAG` behind it"));
            }
        }
        Ok(all)
    }

    fn parse(source: &str, name: Option<&str>, choice: Choice) -> Result<Self, Failure> {
        let place = Place::parse(source)?;
        let (repository, tag) = match name {
            Some(name) => named(name)?,
            None => (None, None),
        };
        let (by_itself, its_tag) = match &place {
            Place::Registry(reference) => {
                let name = &reference.repository.name;
                // What people call it, and what go with it in references to this registry.
                let short = match name.as_str().strip_prefix("library/") {
                    Some(short) if reference.repository.registry.is_docker_hub() => short.parse().ok(),
                    _ => None,
                };
                (Some(short.unwrap_or_else(|| name.clone())), reference.tag.clone())
            }
            _ => (None, None),
        };
        let nameless = || {
            usage(anyhow!("`{source}` has no name of its own"))
                .with_hint("say what it is to be called, with `=NAME:TAG` behind it")
        };
        let repository = repository.or(by_itself).ok_or_else(nameless)?;
        let tag = tag.or(its_tag).unwrap_or_else(Tag::latest);
        Ok(Self { source: source.to_owned(), place, repository, tag, choice })
    }
}

impl Entry {
    fn choice(&self, otherwise: &Choice) -> Result<Choice, Failure> {
        let platform =
            |text: &String| text.parse::<Platform>().map_err(|error| usage(anyhow::Error::new(error)));
        match (&self.single_platform, &*self.platforms) {
            (Some(_), [_, ..]) => {
                Err(usage(anyhow!("`{}` has both `platforms` and `single-platform`", self.source)))
            }
            (Some(single), []) => platform(single).map(Choice::Single),
            (None, []) => Ok(otherwise.clone()),
            (None, platforms) => platforms.iter().map(platform).collect::<Result<_, _>>().map(Choice::Some),
        }
    }
}

fn read(path: &Path) -> Result<Vec<Entry>, Failure> {
    let failed = |error: anyhow::Error| usage(error.context(format!("cannot read `{}`", path.display())));
    let size = fs::metadata(path).map_err(|error| failed(error.into()))?.len();
    if size > MAX_LIST_BYTES {
        return Err(failed(anyhow!("it has {size} bytes, more than a list of images")));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(error.into()))?;
    let file: File = toml::from_str(&text).map_err(|error| failed(error.into()))?;
    Ok(file.image)
}

/// What is behind the last `=`, if that can be a name. No reference has one, but a path may.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once('=') {
        Some((source, name)) if named(name).is_ok() => (source, Some(name)),
        _ => (text, None),
    }
}

/// `NAME[:TAG]`; the tag may be left to the source.
fn named(name: &str) -> Result<(Option<RepositoryName>, Option<Tag>), Failure> {
    let parse = || -> Result<_, pier_oci::NameError> {
        match name.rsplit_once(':') {
            Some((repository, tag)) => Ok((Some(repository.parse()?), Some(tag.parse()?))),
            None => Ok((Some(name.parse()?), None)),
        }
    };
    parse().with_context(|| format!("`{name}` is not what an image can be called here")).map_err(usage)
}

fn usage(error: anyhow::Error) -> Failure {
    Failure::new(Status::Usage, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        let (source, name) = split(text);
        let wanted = Wanted::parse(source, name, Choice::All).map_err(|failure| failure.message())?;
        Ok(format!("{}:{}", wanted.repository, wanted.tag))
    }

    #[test]
    fn images_are_called_what_people_call_them() {
        for (text, name) in [
            ("alpine", "alpine:latest"),
            ("alpine:3.22", "alpine:3.22"),
            ("docker.io/library/alpine:3.22", "alpine:3.22"),
            ("docker.io/bitnami/redis", "bitnami/redis:latest"),
            ("ghcr.io/library/app:1", "library/app:1"),
            ("host:5000/app:1", "app:1"),
            ("alpine:3.22=base", "base:3.22"),
            ("alpine:3.22=team/base:v1", "team/base:v1"),
            ("oci:images:1=app:1", "app:1"),
            ("oci:a=b=app", "app:latest"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(name), "{text}");
        }
        for (text, why) in [
            ("oci:images:1", "`oci:images:1` has no name of its own"),
            ("oci:a=B", "`oci:a=B` has no name of its own"),
        ] {
            assert_eq!(parse(text), Err(why.to_owned()), "{text}");
        }
        // A port and a digest are no tags.
        let digest = Digest::sha256(b"");
        assert_eq!(parse(&format!("localhost:5000/app@{digest}")).as_deref(), Ok("app:latest"));
        assert_eq!(parse(&format!("localhost:5000/app:v1@{digest}")).as_deref(), Ok("app:v1"));
    }

    use pier_oci::Digest;
}
