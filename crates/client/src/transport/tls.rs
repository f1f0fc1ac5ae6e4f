//! Whom to trust, and as whom to appear.

use pier_content::{Error, Subject};
use reqwest::ClientBuilder;

use crate::certificates::{Authorities, ClientIdentity};

/// The TLS side of a registry's settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsSettings {
    pub(crate) authorities: Vec<Authorities>,
    /// Goes to the registry's own scheme, host and port only, never to where it leads.
    pub(crate) identity: Option<ClientIdentity>,
    /// Of the registry's own scheme, host and port. Its token server gets the password, so that one has to prove who it is.
    pub(crate) verification: Verification,
}

/// Whether a server's certificate has to be right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// It has to.
    #[default]
    Required,
    /// Anybody in between can read and change everything but content that is asked for by digest.
    Skipped,
}

impl TlsSettings {
    pub(super) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        let mut builder = self.apply_trust(builder);
        if let Some(identity) = &self.identity {
            builder = builder.identity(identity.identity().clone());
        }
        match self.verification {
            Verification::Required => builder,
            Verification::Skipped => builder.tls_danger_accept_invalid_certs(true),
        }
    }

    /// What holds for token servers and storage hosts too: who has an authority of their own has all of it signed by that.
    pub(super) fn apply_trust(&self, mut builder: ClientBuilder) -> ClientBuilder {
        let authorities: Vec<_> = self
            .authorities
            .iter()
            .flat_map(|authorities| authorities.certificates().iter().cloned())
            .collect();
        if !authorities.is_empty() {
            builder = builder.tls_certs_merge(authorities);
        }
        builder
    }
}

/// Settings that no client can be made of.
pub(super) fn unusable(origin: &str, error: &reqwest::Error) -> Error {
    let cause = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .last()
        .map_or_else(String::new, ToString::to_string);
    let reason = format!("its certificates or proxy cannot be used: {cause}");
    Error::Invalid { subject: Subject::Registry(origin.to_owned()), reason }
}
