//! What is set for which registry.
//!
//! Settings come in layers, the more telling over the more general:
//!
//! 1. the defaults, such as the environment's proxies;
//! 2. a folder of containerd's or Docker's ([`HostsFolder`]);
//! 3. settings for registries by name or by domain, the most general pattern first;
//! 4. overrides, such as a command's flags, for the registries themselves.
//!
//! A mirror is a host of its own: it has the settings and the credentials of its own name, never those of the registry that it stands in
//! for, and overrides do not reach it.

mod endpoint;
mod folder;
mod hosts_toml;
mod pattern;

use pier_content::Result;
use pier_oci::Registry;

pub use self::{endpoint::EndpointUrl, folder::HostsFolder, pattern::HostPattern};
use crate::host::{Host, HostSettings};

/// The settings of all registries.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// For every host.
    pub defaults: HostSettings,
    /// A folder with settings of other programs.
    pub folder: Option<HostsFolder>,
    /// For registries by name or by domain. Where two have the same pattern, the later one counts first.
    pub named: Vec<(HostPattern, HostSettings)>,
    /// Over everything else, for registries but not for their mirrors.
    pub overrides: HostSettings,
}

/// A place that is asked for a registry's content before the registry is. It is never written to.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Where.
    pub url: EndpointUrl,
    /// What it is believed.
    pub trust: Trust,
    /// What is set for it here, over what is set for its host.
    pub settings: HostSettings,
}

/// What a mirror is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Nothing: it is asked by digest only, and what it sends is hashed. What a tag names is the registry's to say.
    #[default]
    Content,
    /// What tags name, which may be what they named some time ago, and which referrers there are.
    Names,
}

/// One place, and how it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// `None` when the registry's name says where it is.
    pub(crate) url: Option<EndpointUrl>,
    pub(crate) host: Host,
}

/// A registry and its mirrors.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    pub(crate) origin: Way,
    pub(crate) mirrors: Vec<(EndpointUrl, Trust, Host)>,
}

impl Hosts {
    /// What is set for a registry. Reads files of the folder, if there is one, and blocks for that long.
    ///
    /// # Errors
    /// [`Invalid`](pier_content::Error::Invalid) with the file's name when something there cannot be read or understood.
    pub(crate) fn ways(&self, registry: &Registry) -> Result<Ways> {
        let folder = self.folder.as_ref().map(|folder| folder.find(registry)).transpose()?.flatten();
        let mut settings = self.overrides.clone().over(self.layers(registry, folder.unwrap_or_default()));
        let mut mirrors = Vec::new();
        for mirror in settings.mirrors.take().unwrap_or_default() {
            // A registry is no mirror of itself.
            if !mirror.url.is(registry) {
                let Mirror { url, trust, settings } = mirror;
                let host = settings.over(self.of_mirror(url.registry())?).into_host();
                mirrors.push((url, trust, host));
            }
        }
        let url = settings.server.take().filter(|url| !url.is(registry));
        Ok(Ways { origin: Way { url, host: settings.into_host() }, mirrors })
    }

    /// What is set for the host of a mirror.
    fn of_mirror(&self, registry: &Registry) -> Result<HostSettings> {
        let folder = self.folder.as_ref().map(|folder| folder.find_own(registry)).transpose()?.flatten();
        let settings = self.layers(registry, folder.unwrap_or_default());
        // A mirror's URL says where it is, and it has no mirrors of its own.
        Ok(HostSettings { server: None, mirrors: None, ..settings })
    }

    fn layers(&self, registry: &Registry, folder: HostSettings) -> HostSettings {
        let mut named: Vec<_> = self
            .named
            .iter()
            .filter_map(|(pattern, settings)| Some((pattern.weight(registry)?, settings)))
            .collect();
        // Stable, so that of the same patterns the later one comes later.
        named.sort_by_key(|(weight, _)| *weight);
        let general = folder.over(self.defaults.clone());
        named.into_iter().fold(general, |general, (_, settings)| settings.clone().over(general))
    }
}

#[cfg(test)]
mod tests;
