//! Logging in and out: credentials go where Docker and Podman will look for them, and what else is in their files stays as it is.

use std::path::{Path, PathBuf};

use pier_content::{Error, Result};
use pier_oci::Registry;

use super::{
    Credential, CredentialFiles, Locations,
    auth_file::{AuthFile, encode},
    document::{Flaw, Object},
    files::off_the_reactor,
    helper::{self, HelperName, TOKEN_USERNAME},
    key::docker_name,
    locations::INLINE,
    replace::{malformed, read, replace},
};

/// The members of an entry of `auths` in which credentials are.
const CREDENTIAL_MEMBERS: [&str; 5] = ["auth", "username", "password", "identitytoken", "registrytoken"];

/// Writes credentials into the places that [`CredentialFiles`] reads.
#[derive(Clone, Debug)]
pub struct CredentialStore {
    files: CredentialFiles,
}

/// Where a credential went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The file or the helper, for people.
    pub place: String,
    /// Whether it can be read there by whoever reads the file: it is in base64, which hides nothing.
    pub protection: Protection,
    /// A place that counts more and has another credential for the registry, so that this one will not be used.
    pub shadowed_by: Option<String>,
}

/// How a stored credential is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// As text, in a file for its owner alone.
    Plain,
    /// By a helper.
    Helper,
}

impl CredentialStore {
    /// Makes no access yet.
    pub fn new(locations: Locations) -> Self {
        Self { files: CredentialFiles::new(locations) }
    }

    /// Stores the credential for a registry: in the file that already has one for it, else in the one that
    /// `REGISTRY_AUTH_FILE` names, else in Docker's; there by the helper that the file has for the registry, if it has one.
    ///
    /// # Errors
    /// [`Credentials`](Error::Credentials) when the file is malformed, then it stays as it is, when the helper fails, or when
    /// no place is known.
    pub async fn store(&self, registry: &Registry, credential: &Credential) -> Result<Stored> {
        let shadowed_by = self.shadow(registry)?;
        let path = self.place_for(registry).await?;
        let helper = helper_in(&path, registry).await?;
        let (kept, place, protection) = match &helper {
            Some(helper) => {
                self.files.helpers.store(helper, docker_name(registry), credential).await?;
                (None, helper::place(helper), Protection::Helper)
            }
            None => (Some(credential.clone()), format!("`{}`", path.display()), Protection::Plain),
        };
        // Docker notes in its file what a helper keeps; Podman does not.
        let is_docker = self.files.locations.docker.as_ref() == Some(&path);
        let new_key = match (&kept, is_docker) {
            (_, true) => Some(docker_name(registry).to_owned()),
            (Some(_), false) => Some(registry.to_string()),
            (None, false) => None,
        };
        let registry = registry.clone();
        off_the_reactor(move || {
            replace(&path, |text| {
                let mut document = parse(&path, text)?;
                put(&mut document, &registry, new_key.as_deref(), kept.as_ref())
                    .map_err(|flaw| flawed(&path, flaw))?;
                Ok((Some(document.to_json()), ()))
            })
        })
        .await?;
        Ok(Stored { place, protection, shadowed_by })
    }

    /// Takes the credentials for a registry as a whole out of every file and helper, and says which had some. Those of single
    /// repositories stay, and so does what `DOCKER_AUTH_CONFIG` holds.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub async fn erase(&self, registry: &Registry) -> Result<Vec<String>> {
        let mut erased = Vec::new();
        let paths: Vec<PathBuf> = self.paths().cloned().collect();
        for path in paths {
            let Some(file) = load(&path).await? else { continue };
            for asked in file.helpers(registry) {
                for server in asked.names {
                    if self.files.helpers.get(asked.helper, server).await?.is_some() {
                        self.files.helpers.erase(asked.helper, server).await?;
                        erased.push(helper::place(asked.helper));
                    }
                }
            }
            if file.keys_of(registry).is_empty() {
                continue;
            }
            let had_one = file.credential(registry, None).map_or(true, |found| found.is_some());
            let place = format!("`{}`", path.display());
            let registry = registry.clone();
            off_the_reactor(move || {
                replace(&path, |text| {
                    let mut document = parse(&path, text)?;
                    take(&mut document, &registry).map_err(|flaw| flawed(&path, flaw))?;
                    Ok((Some(document.to_json()), ()))
                })
            })
            .await?;
            if had_one {
                erased.push(place);
            }
        }
        Ok(erased)
    }

    /// All files, the one that counts most first.
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let Locations { registry_auth_file, podman, docker, .. } = &self.files.locations;
        registry_auth_file.iter().chain(podman).chain(docker)
    }

    /// A new credential must not be hidden by an old one that counts more, so the file that has one is changed.
    async fn place_for(&self, registry: &Registry) -> Result<PathBuf> {
        for path in self.paths() {
            let Some(file) = load(path).await? else { continue };
            if !file.keys_of(registry).is_empty() || file.has_own_helper(registry) {
                return Ok(path.clone());
            }
        }
        let Locations { registry_auth_file, podman, docker, .. } = &self.files.locations;
        registry_auth_file.as_ref().or(docker.as_ref()).or(podman.last()).cloned().ok_or_else(|| {
            Error::Credentials {
                place: "credential files".to_owned(),
                reason: "there is no place for them: neither `HOME` nor `DOCKER_CONFIG` is set".to_owned(),
            }
        })
    }

    fn shadow(&self, registry: &Registry) -> Result<Option<String>> {
        let Some(document) = &self.files.locations.inline else { return Ok(None) };
        let place = || format!("`{INLINE}`");
        let file = AuthFile::parse(document.expose())
            .map_err(|Flaw(reason)| Error::Credentials { place: place(), reason })?;
        Ok((!file.keys_of(registry).is_empty() || file.helpers(registry).next().is_some()).then(place))
    }
}

async fn load(path: &Path) -> Result<Option<AuthFile>> {
    let path = path.to_owned();
    off_the_reactor(move || {
        let Some(text) = read(&path)? else { return Ok(None) };
        AuthFile::parse(&text).map(Some).map_err(|flaw| flawed(&path, flaw))
    })
    .await
}

async fn helper_in(path: &Path, registry: &Registry) -> Result<Option<HelperName>> {
    let file = load(path).await?;
    Ok(file.and_then(|file| file.helpers(registry).next().map(|asked| asked.helper.clone())))
}

fn parse(path: &Path, text: Option<&str>) -> Result<Object> {
    let document = Object::parse(text.unwrap_or_default()).map_err(|flaw| flawed(path, flaw))?;
    // What cannot be understood is not written to.
    AuthFile::from_object(&document).map_err(|flaw| flawed(path, flaw))?;
    Ok(document)
}

fn flawed(path: &Path, Flaw(reason): Flaw) -> Error {
    malformed(path, reason)
}

/// Puts a registry's credential into the entry of a document that counts, or into a new one if it may be made. Without a credential, the
/// entry says that a helper has it, as Docker's own entries do.
fn put(
    document: &mut Object,
    registry: &Registry,
    new_key: Option<&str>,
    credential: Option<&Credential>,
) -> Result<(), Flaw> {
    let file = AuthFile::from_object(document)?;
    let Some(key) = file.keys_of(registry).first().copied().or(new_key) else { return Ok(()) };
    let mut auths = document.object("auths")?.unwrap_or_else(|| Object::at("auths"));
    let mut entry = auths.entry(key)?.unwrap_or_default();
    for member in CREDENTIAL_MEMBERS {
        entry.remove(member);
    }
    match credential {
        None => {}
        Some(Credential::Basic { username, password }) => {
            entry.set_text("auth", encode(username, password.expose()));
        }
        Some(Credential::IdentityToken { username, token }) => {
            let username = if username.is_empty() { TOKEN_USERNAME } else { username };
            entry.set_text("auth", encode(username, ""));
            entry.set_text("identitytoken", token.expose());
        }
        Some(Credential::RegistryToken(token)) => entry.set_text("registrytoken", token.expose()),
    }
    auths.set_object(key, entry);
    document.set_object("auths", auths);
    Ok(())
}

/// Takes every entry for a registry as a whole out of a document.
fn take(document: &mut Object, registry: &Registry) -> Result<(), Flaw> {
    let file = AuthFile::from_object(document)?;
    if let Some(mut auths) = document.object("auths")? {
        for key in file.keys_of(registry) {
            auths.remove(key);
        }
        document.set_object("auths", auths);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
