//! Folders of settings that other programs have: containerd's `certs.d`, and Docker's of the same name.
//!
//! ```text
//! certs.d/
//!   docker.io/hosts.toml            containerd: the registry, its mirrors, their certificates
//!   reg.example_5000_/hosts.toml    a port, as containerd likes it
//!   reg.example:5000/ca.crt         Docker: authorities are *.crt,
//!   reg.example:5000/client.cert    a client's certificate *.cert,
//!   reg.example:5000/client.key     and its key is beside it
//!   _default/hosts.toml             for registries that have no folder
//! ```
//!
//! A folder is read when its registry is first asked for, so one that belongs to somebody else is in nobody's way.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pier_content::{Error, Result, Subject};
use pier_oci::Registry;

use super::{
    EndpointUrl, Mirror, Trust,
    hosts_toml::{Capability, Entry, HostsToml},
};
use crate::{
    certificates::{Authorities, ClientIdentity},
    host::{HostSettings, Scheme},
    transport::Verification,
};

/// The settings of registries that have no folder.
const DEFAULT: &str = "_default";

/// A folder in which each registry has a folder.
#[derive(Clone, Debug)]
pub struct HostsFolder {
    path: PathBuf,
}

impl HostsFolder {
    /// # Errors
    /// [`Invalid`](Error::Invalid) when there is no such folder.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => Ok(Self { path }),
            Ok(_) => Err(invalid(&path, "it is not a folder".to_owned())),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    /// What it says about a registry, or about all that it does not name.
    pub(super) fn find(&self, registry: &Registry) -> Result<Option<HostSettings>> {
        match self.find_own(registry)? {
            Some(settings) => Ok(Some(settings)),
            None => self.read(DEFAULT, registry),
        }
    }

    /// What it says about this registry by name.
    pub(super) fn find_own(&self, registry: &Registry) -> Result<Option<HostSettings>> {
        let name = registry.as_str();
        if let Some(port) = registry.port() {
            let host = name.strip_suffix(&format!(":{port}")).unwrap_or(name);
            if let Some(settings) = self.read(&format!("{host}_{port}_"), registry)? {
                return Ok(Some(settings));
            }
        }
        self.read(name, registry)
    }

    fn read(&self, folder: &str, registry: &Registry) -> Result<Option<HostSettings>> {
        let folder = self.path.join(folder);
        match fs::metadata(&folder) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&folder, &error)),
        }
        let path = folder.join("hosts.toml");
        match fs::read_to_string(&path) {
            Ok(text) if !text.is_empty() => of_containerd(&path, &folder, &text, registry).map(Some),
            Ok(_) => of_docker(&folder).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => of_docker(&folder).map(Some),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }
}

fn of_containerd(path: &Path, folder: &Path, text: &str, registry: &Registry) -> Result<HostSettings> {
    let HostsToml { server, own, hosts, warnings } =
        HostsToml::parse(text).map_err(|reason| invalid(path, reason))?;
    for warning in &warnings {
        tracing::warn!(file = %path.display(), "{warning}");
    }
    let mut settings = settings(&own, folder)?;
    settings.scheme = server.as_ref().filter(|server| server.is(registry)).map(scheme);
    settings.server = server;
    let mut mirrors = Vec::new();
    for (url, entry) in hosts {
        let own = self::settings(&entry, folder)?;
        if url.is(registry) {
            // Many files say in this way how the registry itself is reached.
            settings = HostSettings { scheme: Some(scheme(&url)), server: None, ..own }.over(settings);
        } else if entry.can(Capability::Pull) {
            if entry.capabilities.is_some() && entry.can(Capability::Push) {
                tracing::warn!(file = %path.display(), mirror = %url, "mirrors are not pushed to");
            }
            let trust = if entry.resolves() { Trust::Names } else { Trust::Content };
            mirrors.push(Mirror { url, trust, settings: own });
        } else {
            tracing::warn!(file = %path.display(), mirror = %url, "a mirror that cannot `pull` is not asked");
        }
    }
    settings.mirrors = Some(mirrors);
    Ok(settings)
}

fn scheme(url: &EndpointUrl) -> Scheme {
    if url.base().scheme() == "http" { Scheme::PlainHttp } else { Scheme::Https }
}

/// Reads the files that an entry names; relative names start at the file that names them.
fn settings(entry: &Entry, folder: &Path) -> Result<HostSettings> {
    let authorities =
        entry.ca.iter().map(|path| Authorities::read(&folder.join(path))).collect::<Result<_>>()?;
    let identity = match &entry.client {
        Some((certificate, key)) => {
            let key = key.as_ref().map(|key| folder.join(key));
            Some(ClientIdentity::read(&folder.join(certificate), key.as_deref())?)
        }
        None => None,
    };
    let verification =
        entry.skip_verify.map(|skip| if skip { Verification::Skipped } else { Verification::Required });
    Ok(HostSettings {
        authorities,
        identity,
        verification,
        connect_timeout: entry.dial_timeout,
        headers: entry.headers.clone(),
        ..HostSettings::default()
    })
}

/// Docker's form: no file of settings, only certificates under names that say what they are.
fn of_docker(folder: &Path) -> Result<HostSettings> {
    let listed = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> =
        listed.map_err(|error| unreadable(folder, &error))?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    let with = |extension: &str| -> Vec<&PathBuf> {
        paths.iter().filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
    };
    let authorities = with("crt").into_iter().map(|path| Authorities::read(path)).collect::<Result<_>>()?;
    let identity = match &with("cert")[..] {
        [] => None,
        [certificate] => {
            let key = certificate.with_extension("key");
            Some(ClientIdentity::read(certificate, paths.contains(&key).then_some(&key))?)
        }
        several => {
            let reason = format!("it has {} client certificates, and only one can be shown", several.len());
            return Err(invalid(folder, reason));
        }
    };
    for key in with("key") {
        if !paths.contains(&key.with_extension("cert")) {
            return Err(invalid(key, "there is no certificate `*.cert` beside this key".to_owned()));
        }
    }
    Ok(HostSettings { authorities, identity, ..HostSettings::default() })
}

fn invalid(path: &Path, reason: String) -> Error {
    Error::Invalid { subject: Subject::File(path.to_owned()), reason }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    invalid(path, format!("it cannot be read: {error}"))
}
