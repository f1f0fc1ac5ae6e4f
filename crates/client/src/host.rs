//! What is set for one registry.

use std::{fmt, num::NonZeroUsize, time::Duration};

use http::HeaderMap;

use crate::{
    certificates::{Authorities, ClientIdentity},
    hosts::{EndpointUrl, Mirror},
    proxies::Proxies,
    transport::{TlsSettings, Verification},
};

/// Requests at once to a registry for which nothing else is set.
const REQUESTS_AT_ONCE: NonZeroUsize = const { NonZeroUsize::new(6).expect("six is not zero") };

/// What is set for a registry, or for a family of them. What is left out is taken from the next more general settings.
#[derive(Clone, Default)]
pub struct HostSettings {
    /// Whether it has to speak TLS: yes.
    pub scheme: Option<Scheme>,
    /// Certificate authorities that are trusted besides the machine's own, and besides those of more general settings.
    pub authorities: Vec<Authorities>,
    /// The certificate with which this client says who it is. Goes to the registry's own scheme, host and port only, never to where it leads.
    pub identity: Option<ClientIdentity>,
    /// Whether its certificate is checked: yes.
    pub verification: Option<Verification>,
    /// Proxies on the way: none.
    pub proxies: Option<Proxies>,
    /// Requests at once that read, and as many that write: six.
    pub requests_at_once: Option<NonZeroUsize>,
    /// How long a connection may take to stand, TLS included: as [`Timeouts`](crate::Timeouts) says.
    pub connect_timeout: Option<Duration>,
    /// Headers that go with every request to the registry's own scheme, host and port, and to nobody else.
    pub headers: HeaderMap,
    /// Where the registry is, when that is not what its name says.
    pub server: Option<EndpointUrl>,
    /// Who is asked for its content before it is: nobody.
    pub mirrors: Option<Vec<Mirror>>,
}

/// Whether a registry has to speak TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// It has to, unless it is on this machine: there plain HTTP is tried when it does not speak TLS.
    #[default]
    Https,
    /// Plain HTTP is spoken and nothing else.
    PlainHttp,
}

/// How one registry is reached.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) scheme: Scheme,
    pub(crate) tls: TlsSettings,
    pub(crate) proxies: Proxies,
    pub(crate) requests_at_once: NonZeroUsize,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) headers: HeaderMap,
}

impl HostSettings {
    /// These settings, and what they leave out from `general` ones.
    #[must_use]
    pub(crate) fn over(self, general: Self) -> Self {
        let mut authorities = general.authorities;
        authorities.extend(self.authorities);
        let mut headers = general.headers;
        headers.extend(self.headers);
        Self {
            scheme: self.scheme.or(general.scheme),
            authorities,
            identity: self.identity.or(general.identity),
            verification: self.verification.or(general.verification),
            proxies: self.proxies.or(general.proxies),
            requests_at_once: self.requests_at_once.or(general.requests_at_once),
            connect_timeout: self.connect_timeout.or(general.connect_timeout),
            headers,
            server: self.server.or(general.server),
            mirrors: self.mirrors.or(general.mirrors),
        }
    }

    /// With the defaults for what is still left out.
    pub(crate) fn into_host(self) -> Host {
        let Self { scheme, authorities, identity, verification, proxies, .. } = self;
        let mut headers = self.headers;
        // Nobody knows which of them are secrets, so all of them are kept out of logs.
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        Host {
            scheme: scheme.unwrap_or_default(),
            tls: TlsSettings { authorities, identity, verification: verification.unwrap_or_default() },
            proxies: proxies.unwrap_or_default(),
            requests_at_once: self.requests_at_once.unwrap_or(REQUESTS_AT_ONCE),
            connect_timeout: self.connect_timeout,
            headers,
        }
    }
}

impl fmt::Debug for HostSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostSettings")
            .field("scheme", &self.scheme)
            .field("authorities", &self.authorities)
            .field("identity", &self.identity)
            .field("verification", &self.verification)
            .field("proxies", &self.proxies)
            .field("requests_at_once", &self.requests_at_once)
            .field("connect_timeout", &self.connect_timeout)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("server", &self.server)
            .field("mirrors", &self.mirrors)
            .finish()
    }
}
