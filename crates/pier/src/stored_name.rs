//! What people call an image that is in the store.
//!
//! `pier images` prints names as the store has them, such as `team/app` for what was pushed to this store and
//! `ghcr.io/o/app` for what was pulled. People also type what they pulled: `alpine` for `docker.io/library/alpine`,
//! or a port as `host:5000/app` where the store has `host_5000/app`. All of it is understood, the store's own name first.

use pier_content::{Catalog as _, Error, StoreRepository, Subject};
use pier_oci::{Digest, Reference, Registry, Repository, RepositoryName, Selector, Tag};
use pier_store::Store;

use std::{fmt, sync::Arc};

use crate::failure::Failure;

/// A name of an image in the store, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredName {
    text: String,
    /// The repositories that may be meant, the likeliest first; never empty.
    repositories: Vec<RepositoryName>,
    /// The same as a reference to a registry. It is made up when the text is none.
    reference: Reference,
}

impl StoredName {
    /// # Errors
    /// When the text can be neither a name in a store nor a reference.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let pulled: Result<Reference, _> = text.parse();
        let written = written(text);
        let reference = match (&pulled, &written) {
            (Ok(reference), _) => reference.clone(),
            // Its repository is never asked for: the store's own name is.
            (Err(_), Some((name, tag, digest))) => Reference {
                repository: Repository { registry: Registry::docker_hub(), name: name.clone() },
                tag: tag.clone(),
                digest: *digest,
            },
            (Err(error), None) => return Err(error.clone().into()),
        };
        let mut repositories: Vec<RepositoryName> = written.into_iter().map(|(name, ..)| name).collect();
        if let Ok(pulled) = &pulled {
            let local = pulled.repository.local_name()?;
            if !repositories.contains(&local) {
                repositories.push(local);
            }
        }
        Ok(Self { text: text.to_owned(), repositories, reference })
    }

    /// The repositories that may be meant, the likeliest first.
    pub(crate) fn repositories(&self) -> &[RepositoryName] {
        &self.repositories
    }

    /// What it names there.
    pub(crate) fn selector(&self) -> Selector {
        self.reference.selector()
    }

    /// To ask [`StoreRepository`] with, which looks at tag and digest alone.
    pub(crate) fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The repository that has the image.
    ///
    /// # Errors
    /// When none has it.
    pub(crate) async fn find(&self, store: &Arc<Store>) -> Result<StoreRepository, Failure> {
        for name in &self.repositories {
            match store.resolve(name, &self.selector()).await {
                Ok(_) => return Ok(repository(store, name)),
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(self.not_found())
    }

    /// The repository that is meant when it need not be there yet.
    pub(crate) fn new_repository(&self, store: &Arc<Store>) -> StoreRepository {
        repository(store, self.first())
    }

    pub(crate) fn not_found(&self) -> Failure {
        let error = Error::NotFound { subject: Subject::Manifest(self.first().clone(), self.selector()) };
        Failure::from(error).with_hint("`pier images` lists what is in the store")
    }

    fn first(&self) -> &RepositoryName {
        self.repositories.first().unwrap_or(&self.reference.repository.name)
    }
}

impl fmt::Display for StoredName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn repository(store: &Arc<Store>, name: &RepositoryName) -> StoreRepository {
    StoreRepository { blobs: store.clone(), catalog: store.clone(), name: name.clone() }
}

/// The text as a name in the store, with the tag that is given or meant.
fn written(text: &str) -> Option<(RepositoryName, Option<Tag>, Option<Digest>)> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse().ok()?)),
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse().ok()?)),
        _ => (rest, None),
    };
    let tag = tag.or_else(|| digest.is_none().then(Tag::latest));
    Some((name.parse().ok()?, tag, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn check(text: &str, repositories: &[&str], selector: &str) {
        let name = StoredName::parse(text).unwrap();
        let names: Vec<&str> = name.repositories().iter().map(RepositoryName::as_str).collect();
        assert_eq!(
            (names.as_slice(), name.selector().to_string().as_str()),
            (repositories, selector),
            "{text}"
        );
    }

    #[test]
    fn the_stores_own_name_comes_first() {
        check("alpine", &["alpine", "docker.io/library/alpine"], "latest");
        check("team/app:1", &["team/app", "docker.io/team/app"], "1");
        check("ghcr.io/o/app:1", &["ghcr.io/o/app"], "1");
        check("docker.io/library/alpine:3", &["docker.io/library/alpine"], "3");
        check(&format!("alpine:3@{DIGEST}"), &["alpine", "docker.io/library/alpine"], DIGEST);
    }

    #[test]
    fn a_port_is_understood_as_it_is_typed_and_as_it_is_printed() {
        check("host:5000/app:1", &["host_5000/app"], "1");
        check("127.0.0.1_5000/app:1", &["127.0.0.1_5000/app"], "1");
        check("127.0.0.1_5000/app", &["127.0.0.1_5000/app"], "latest");
        check("host_5000/app:1", &["host_5000/app", "docker.io/host_5000/app"], "1");
    }

    #[test]
    fn what_can_be_no_name_is_refused_with_the_references_reason() {
        let failure = StoredName::parse("Foo/bar").unwrap_err();
        assert!(failure.message().contains("upper-case"), "{}", failure.message());
    }
}
