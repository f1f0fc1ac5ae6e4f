//! What is set for one registry.

use std::num::NonZeroUsize;

use crate::{proxies::Proxies, transport::TlsSettings};

/// How one registry is reached.
#[derive(Clone, Debug)]
pub struct Host {
    /// Whether it has to speak TLS.
    pub scheme: Scheme,
    /// Whom to trust, and as whom to appear.
    pub tls: TlsSettings,
    /// Proxies on the way.
    pub proxies: Proxies,
    /// Requests at once that read, and as many that write.
    pub requests_at_once: NonZeroUsize,
}

impl Default for Host {
    /// HTTPS, the machine's own certificate authorities, no proxies, six requests at once.
    fn default() -> Self {
        Self {
            scheme: Scheme::default(),
            tls: TlsSettings::default(),
            proxies: Proxies::none(),
            requests_at_once: const { NonZeroUsize::new(6).expect("six is not zero") },
        }
    }
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
