//! Credentials from the places that Docker and Podman use.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use pier_content::{Error, Result};
use pier_oci::{Registry, Repository, RepositoryName};
use tokio::task::spawn_blocking;

use super::{
    CredentialSource, Extent, Found, Locations,
    auth_file::AuthFile,
    document::Flaw,
    helper::{self, Helpers},
    locations::INLINE,
    replace::{malformed, read},
};

/// The credentials in [`Locations`]. Files are read and helpers are run each time that it is asked, so what another
/// program stores counts at once.
#[derive(Clone, Debug)]
pub struct CredentialFiles {
    pub(super) locations: Locations,
    pub(super) helpers: Helpers,
}

/// A document, by where it is.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    Inline(&'a str),
    /// Named on purpose.
    Named(&'a Path),
    /// Where a file is if there is one.
    Usual(&'a Path),
}

impl CredentialFiles {
    /// Makes no access yet.
    pub fn new(locations: Locations) -> Self {
        let helpers = Helpers::new(locations.search_path.clone());
        Self { locations, helpers }
    }

    /// All places, the one that counts most first.
    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let Locations { inline, registry_auth_file, podman, docker, .. } = &self.locations;
        let inline = inline.iter().map(|document| Place::Inline(document.expose()));
        let named = registry_auth_file.iter().map(|path| Place::Named(path));
        let usual = podman.iter().chain(docker).map(|path| Place::Usual(path));
        inline.chain(named).chain(usual)
    }

    async fn look(&self, registry: &Registry, name: Option<&RepositoryName>) -> Result<Found> {
        let mut extent = Extent::Registry;
        for place in self.places() {
            let Some(file) = place.load().await? else { continue };
            if file.tells_repositories_apart(registry) {
                extent = Extent::Repository;
            }
            for asked in file.helpers(registry) {
                for server in asked.names {
                    if let Some(credential) = self.helpers.get(asked.helper, server).await? {
                        let place = helper::place(asked.helper);
                        return Ok(Found { credential: Some(credential), place, extent });
                    }
                }
            }
            let credential = file.credential(registry, name).map_err(|flaw| place.flawed(flaw))?;
            if credential.is_some() {
                return Ok(Found { credential, place: place.name(), extent });
            }
        }
        Ok(Found { extent, ..Found::nothing() })
    }
}

impl Place<'_> {
    async fn load(self) -> Result<Option<AuthFile>> {
        let text = match self {
            Self::Inline(document) => Some(document.to_owned()),
            Self::Named(path) | Self::Usual(path) => load_text(path.to_owned()).await?,
        };
        match (text, self) {
            (Some(text), _) => AuthFile::parse(&text).map(Some).map_err(|flaw| self.flawed(flaw)),
            (None, Self::Named(path)) => {
                Err(malformed(path, "`REGISTRY_AUTH_FILE` names it, and it is not there".to_owned()))
            }
            (None, _) => Ok(None),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Inline(_) => format!("`{INLINE}`"),
            Self::Named(path) | Self::Usual(path) => format!("`{}`", path.display()),
        }
    }

    fn flawed(self, Flaw(reason): Flaw) -> Error {
        Error::Credentials { place: self.name(), reason }
    }
}

async fn load_text(path: PathBuf) -> Result<Option<String>> {
    off_the_reactor(move || read(&path)).await
}

/// Runs what blocks where it may.
pub(super) async fn off_the_reactor<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime shuts down.
        Err(error) => Err(Error::Unavailable {
            origin: "this process".to_owned(),
            operation: "read credentials",
            retry_after: None,
            source: Some(error.into()),
        }),
    }
}

#[async_trait]
impl CredentialSource for CredentialFiles {
    async fn find(&self, repository: &Repository) -> Result<Found> {
        self.look(&repository.registry, Some(&repository.name)).await
    }

    async fn find_registry(&self, registry: &Registry) -> Result<Found> {
        self.look(registry, None).await
    }
}

#[cfg(test)]
pub(super) mod tests;
