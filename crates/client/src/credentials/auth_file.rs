//! What a document of Docker's or Podman's says about registries. Parsing only; the reading of files is elsewhere.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use pier_oci::{Registry, RepositoryName};

use super::{
    Credential, Secret,
    document::{Flaw, Object},
    helper::HelperName,
    key::{Key, docker_name},
};

/// Some tools leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A document, as far as it is about credentials.
#[derive(Debug, Default)]
pub(super) struct AuthFile {
    auths: Vec<Entry>,
    helpers: Vec<(Key, String, HelperName)>,
    store: Option<HelperName>,
}

/// An entry of `auths`.
#[derive(Debug)]
struct Entry {
    key: Key,
    /// The key as it is written.
    written: String,
    members: Object,
}

/// A helper, and the names under which it may know a registry, the likeliest first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) helper: &'a HelperName,
    pub(super) names: Vec<&'a str>,
}

impl AuthFile {
    /// Reads a document. Keys that can name no registry are passed over: no reference could mean them.
    pub(super) fn parse(text: &str) -> Result<Self, Flaw> {
        Self::from_object(&Object::parse(text)?)
    }

    pub(super) fn from_object(document: &Object) -> Result<Self, Flaw> {
        let mut file = Self::default();
        if let Some(auths) = document.object("auths")? {
            for written in auths.names() {
                let (Some(key), Some(members)) = (Key::parse(written), auths.entry(written)?) else {
                    continue;
                };
                file.auths.push(Entry { key, written: written.to_owned(), members });
            }
        }
        if let Some(helpers) = document.object("credHelpers")? {
            for written in helpers.names() {
                let Some(name) = helpers.text_of(written)? else { continue };
                let name = name.parse().map_err(|reason: &str| helpers.flaw_of(written, reason))?;
                let Some(key) = Key::parse(written) else { continue };
                file.helpers.push((key, written.to_owned(), name));
            }
        }
        if let Some(name) = document.text("credsStore")? {
            let name = name.parse().map_err(|reason: &str| document.flaw_of("credsStore", reason))?;
            file.store = Some(name);
        }
        Ok(file)
    }

    /// The helpers that may know a registry, in the order in which they are asked.
    pub(super) fn helpers<'a>(&'a self, registry: &'a Registry) -> impl Iterator<Item = Asked<'a>> {
        let docker = docker_name(registry);
        let own = self.helpers.iter().filter(|(key, ..)| key.fit(registry, None) == Some(0)).map(
            move |(_, written, helper)| {
                let mut names = vec![docker];
                if written != docker {
                    names.push(written);
                }
                Asked { helper, names }
            },
        );
        let all = self.store.iter().map(move |helper| Asked { helper, names: vec![docker] });
        own.chain(all)
    }

    /// Whether a registry has a helper that others do not have.
    pub(super) fn has_own_helper(&self, registry: &Registry) -> bool {
        self.helpers.iter().any(|(key, ..)| key.fit(registry, None) == Some(0))
    }

    /// The credential in `auths` that fits a repository best, or the registry as a whole.
    pub(super) fn credential(
        &self,
        registry: &Registry,
        name: Option<&RepositoryName>,
    ) -> Result<Option<Credential>, Flaw> {
        let mut fitting: Vec<_> =
            self.auths.iter().filter_map(|entry| Some((entry.key.fit(registry, name)?, entry))).collect();
        // Of two spellings of one registry Docker takes its own; else the first counts, as the sort is stable.
        let own = docker_name(registry);
        fitting.sort_by_key(|(fit, entry)| (usize::MAX - fit, entry.written != own));
        for (_, entry) in fitting {
            // Docker leaves empty entries for what a helper keeps.
            if let Some(credential) = entry.credential()? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    /// Whether some repositories of a registry have credentials of their own.
    pub(super) fn tells_repositories_apart(&self, registry: &Registry) -> bool {
        self.auths.iter().any(|entry| entry.key.registry == *registry && entry.key.scope.is_some())
    }

    /// The keys of `auths`, as they are written, that mean the registry as a whole; the one that counts first.
    pub(super) fn keys_of(&self, registry: &Registry) -> Vec<&str> {
        let own = docker_name(registry);
        let mut keys: Vec<&str> = self
            .auths
            .iter()
            .filter(|entry| entry.key.fit(registry, None) == Some(0))
            .map(|entry| entry.written.as_str())
            .collect();
        keys.sort_by_key(|key| *key != own);
        keys
    }
}

impl Entry {
    fn credential(&self) -> Result<Option<Credential>, Flaw> {
        let text = |name| self.members.text(name);
        if let Some(token) = text("registrytoken")? {
            return Ok(Some(Credential::RegistryToken(Secret::new(token))));
        }
        let (username, password) = match text("auth")? {
            Some(auth) => {
                let (username, password) =
                    decode(&auth).map_err(|reason| self.members.flaw_of("auth", reason))?;
                (Some(username), Some(password))
            }
            None => (text("username")?, text("password")?.map(Secret::new)),
        };
        if let Some(token) = text("identitytoken")? {
            let (username, token) = (username.unwrap_or_default(), Secret::new(token));
            return Ok(Some(Credential::IdentityToken { username, token }));
        }
        match (username, password) {
            (Some(username), Some(password)) => Ok(Some(Credential::Basic { username, password })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.members.flaw_of("password", "is missing")),
            (None, Some(_)) => Err(self.members.flaw_of("username", "is missing")),
        }
    }
}

/// `user:password` in base64. The password may have colons and be empty.
pub(super) fn decode(auth: &str) -> Result<(String, Secret), &'static str> {
    let auth: String = auth.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    let bytes = BASE64.decode(auth).map_err(|_| "is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 in base64")?;
    match text.split_once(':') {
        // Old versions of Docker padded passwords with zeros.
        Some((username, password)) if !username.is_empty() => {
            Ok((username.to_owned(), Secret::new(password.trim_end_matches('\0'))))
        }
        _ => Err("is not `user:password` in base64"),
    }
}

/// The reverse of [`decode`].
pub(super) fn encode(username: &str, password: &str) -> String {
    BASE64.encode(format!("{username}:{password}"))
}

#[cfg(test)]
mod tests;
