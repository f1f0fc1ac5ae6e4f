//! The way to registries: a client made of flags, environment, `pier.toml` and defaults.
//!
//! A setting that cannot be used is an error, whether or not the command would have needed it: none is left out in silence.

mod pushes;
mod section;

use std::{env, path::PathBuf, sync::Arc};

use pier_client::{
    Authorities, Client, ClientIdentity, HostSettings, Hosts, HostsFolder, Proxies, Scheme, Timeouts,
    Verification,
    credentials::{CredentialFiles, CredentialSource, Locations},
};
use pier_content::Result;

use self::pushes::PushesOnDisk;
pub(crate) use self::section::{ClientSection, Registries};
use crate::{cli::RegistryOptions, config::Config, failure::Failure};

/// The client that commands talk to registries with.
pub(crate) fn client(config: &Config, options: &RegistryOptions) -> Result<Client, Failure> {
    let files = CredentialFiles::new(locations(config, options)?);
    client_as(config, options, Arc::new(files))
}

/// The same for somebody else than the files say.
pub(crate) fn client_as(
    config: &Config,
    options: &RegistryOptions,
    credentials: Arc<dyn CredentialSource>,
) -> Result<Client, Failure> {
    let section = &config.client;
    let timeouts = Timeouts {
        connect: section.connect_timeout,
        answer: section.answer_timeout,
        stall: section.stall_timeout,
    };
    let client = Client::builder()
        .hosts(hosts(config, options)?)
        .credentials(credentials)
        .timeouts(timeouts)
        .attempts(section.attempts)
        .sessions(Arc::new(PushesOnDisk::below(&config.data)))
        .build()?;
    Ok(client)
}

/// Where credentials are. A file that is named on the command line is the only place.
pub(crate) fn locations(config: &Config, options: &RegistryOptions) -> Result<Locations, Failure> {
    let found = Locations::from_env(|name| env::var_os(name))?;
    Ok(match &options.authfile {
        Some(path) => Locations {
            registry_auth_file: Some(path.clone()),
            search_path: found.search_path,
            ..Locations::default()
        },
        None => Locations {
            registry_auth_file: found.registry_auth_file.or_else(|| config.client.authfile.clone()),
            ..found
        },
    })
}

fn hosts(config: &Config, options: &RegistryOptions) -> Result<Hosts> {
    let proxies = Proxies::from_env(|name| env::var_os(name))?;
    let folder = options.hosts_dir.as_ref().or(config.client.hosts_dir.as_ref());
    let named = config.registries.0.iter();
    Ok(Hosts {
        defaults: HostSettings { proxies: Some(proxies), ..HostSettings::default() },
        folder: folder.map(HostsFolder::open).transpose()?,
        named: named
            .map(|(pattern, section)| Ok((pattern.clone(), section.settings()?)))
            .collect::<Result<_>>()?,
        overrides: overrides(options)?,
    })
}

/// What flags say about the registries that a command names.
fn overrides(options: &RegistryOptions) -> Result<HostSettings> {
    let RegistryOptions { plain_http, ca, client_cert, client_key, tls_skip_verify, .. } = options;
    Ok(HostSettings {
        scheme: plain_http.then_some(Scheme::PlainHttp),
        verification: tls_skip_verify.then_some(Verification::Skipped),
        ..certificates(ca, client_cert.as_ref(), client_key.as_ref())?
    })
}

/// Reads the files of certificates that a registry's settings name.
fn certificates(
    ca: &[PathBuf],
    certificate: Option<&PathBuf>,
    key: Option<&PathBuf>,
) -> Result<HostSettings> {
    let authorities = ca.iter().map(|path| Authorities::read(path)).collect::<Result<_>>()?;
    let identity = certificate
        .map(|certificate| ClientIdentity::read(certificate, key.map(PathBuf::as_path)))
        .transpose()?;
    Ok(HostSettings { authorities, identity, ..HostSettings::default() })
}
