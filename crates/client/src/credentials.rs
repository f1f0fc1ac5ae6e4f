//! Who we are at a registry: Docker's and Podman's own files, helpers and environment, read and written as they do.
//!
//! The first place that knows a registry decides:
//!
//! 1. what was given for this call: [`Given`];
//! 2. `DOCKER_AUTH_CONFIG`, which holds a document in place of a file;
//! 3. the file that `REGISTRY_AUTH_FILE` names;
//! 4. Podman's files: `$XDG_RUNTIME_DIR/containers/auth.json`, then `$XDG_CONFIG_HOME/containers/auth.json`, which is
//!    `~/.config/containers/auth.json` when nothing is set;
//! 5. Docker's file: `config.json` in `$DOCKER_CONFIG`, else in `~/.docker`.
//!
//! Within a document, the helper that `credHelpers` has for the registry is asked first, then the helper that `credsStore` has for
//! all of them, then `auths` is read. There a key may go down to a namespace or a repository (`host/team/app`); the
//! longest that covers the repository wins.
//!
//! A document that cannot be understood, a helper that fails, an entry that is not base64: each is an error that says where. None of
//! them is taken for "no credentials", since what was asked for as somebody would be asked for as nobody.
//!
//! The environment is read by whoever makes [`Locations`], never here.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use pier_content::Result;
use pier_oci::{Registry, Repository};

mod auth_file;
mod document;
mod files;
mod helper;
mod key;
mod locations;
mod replace;
mod secret;
mod store;

pub use self::{
    files::CredentialFiles,
    locations::Locations,
    secret::Secret,
    store::{CredentialStore, Protection, Stored},
};

/// What proves to a registry who we are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A name and a password, or what a registry takes in place of one.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth2 refresh token, which the registry's token server exchanges for tokens.
    IdentityToken {
        /// The name that came with it; often `<token>` or empty.
        username: String,
        /// The token.
        token: Secret,
    },
    /// A bearer token for the registry, sent as it is.
    RegistryToken(Secret),
}

impl Credential {
    /// The name in it, if it has one that says something to a person.
    pub fn username(&self) -> Option<&str> {
        match self {
            Self::Basic { username, .. } | Self::IdentityToken { username, .. } => {
                Some(username.as_str()).filter(|name| !name.is_empty() && *name != helper::TOKEN_USERNAME)
            }
            Self::RegistryToken(_) => None,
        }
    }

    /// The part that must not be seen.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Basic { password: secret, .. }
            | Self::IdentityToken { token: secret, .. }
            | Self::RegistryToken(secret) => secret,
        }
    }
}

/// What a [`CredentialSource`] knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The credential; `None` when there is none and requests are nobody's.
    pub credential: Option<Credential>,
    /// Where it is from, for people. Never holds a secret.
    pub place: String,
    /// How far it goes.
    pub extent: Extent,
}

/// How far an answer of a [`CredentialSource`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It is the same for every repository of the registry, so the source need not be asked again.
    Registry,
    /// It is this repository's; another may have another.
    Repository,
}

impl Found {
    /// No credential for the whole registry.
    pub fn nothing() -> Self {
        Self { credential: None, place: String::new(), extent: Extent::Registry }
    }
}

/// A place that knows credentials.
///
/// Asked when a registry wants to know who we are, and once more when what it gave is refused, since helpers give credentials that
/// expire. May take as long as a helper does.
#[async_trait]
pub trait CredentialSource: Debug + Send + Sync {
    /// Who we are at a repository.
    ///
    /// # Errors
    /// [`Credentials`](pier_content::Error::Credentials) or [`Io`](pier_content::Error::Io) when a place that is there cannot be read.
    async fn find(&self, repository: &Repository) -> Result<Found>;

    /// Who we are at a registry as a whole.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    async fn find_registry(&self, registry: &Registry) -> Result<Found>;
}

/// Knows nothing: every request is nobody's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

#[async_trait]
impl CredentialSource for Anonymous {
    async fn find(&self, _: &Repository) -> Result<Found> {
        Ok(Found::nothing())
    }

    async fn find_registry(&self, _: &Registry) -> Result<Found> {
        Ok(Found::nothing())
    }
}

/// A credential that was given for one registry. Others are somebody else's to know.
#[derive(Clone, Debug)]
pub struct Given {
    /// The registry that it is for. It is never shown to another one.
    pub registry: Registry,
    /// The credential.
    pub credential: Credential,
    /// Asked for all other registries.
    pub others: Arc<dyn CredentialSource>,
}

impl Given {
    fn found(&self) -> Found {
        let place = "what was given".to_owned();
        Found { credential: Some(self.credential.clone()), place, extent: Extent::Registry }
    }
}

#[async_trait]
impl CredentialSource for Given {
    async fn find(&self, repository: &Repository) -> Result<Found> {
        if repository.registry == self.registry {
            return Ok(self.found());
        }
        self.others.find(repository).await
    }

    async fn find_registry(&self, registry: &Registry) -> Result<Found> {
        if *registry == self.registry {
            return Ok(self.found());
        }
        self.others.find_registry(registry).await
    }
}
