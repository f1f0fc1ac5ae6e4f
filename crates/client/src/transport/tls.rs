//! Whom to trust, and as whom to appear.

use pier_content::{Error, Result, Subject};
use reqwest::{Certificate, ClientBuilder, Identity};

/// The TLS side of a registry's settings.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// Certificate authorities in PEM that are trusted besides the machine's own.
    pub authorities: Vec<Vec<u8>>,
    /// The certificate and its key in PEM with which this client says who it is. Goes to the registry only, never to where it redirects.
    pub identity: Option<ClientIdentity>,
    /// Whether certificates are checked.
    pub verification: Verification,
}

/// A client certificate.
#[derive(Clone)]
pub struct ClientIdentity {
    /// Certificate and private key, both in PEM.
    pub pem: Vec<u8>,
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientIdentity(…)")
    }
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
    pub(super) fn apply(&self, builder: ClientBuilder, origin: &str) -> Result<ClientBuilder> {
        let builder = self.apply_roots(builder, origin)?;
        let Some(identity) = &self.identity else { return Ok(builder) };
        let identity = Identity::from_pem(&identity.pem).map_err(|error| unusable(origin, &error))?;
        Ok(builder.identity(identity))
    }

    pub(super) fn apply_roots(&self, mut builder: ClientBuilder, origin: &str) -> Result<ClientBuilder> {
        let mut authorities = Vec::new();
        for pem in &self.authorities {
            let read = Certificate::from_pem_bundle(pem).map_err(|error| unusable(origin, &error))?;
            if read.is_empty() {
                return Err(invalid(
                    origin,
                    "a file of certificate authorities holds no certificate".to_owned(),
                ));
            }
            authorities.extend(read);
        }
        if !authorities.is_empty() {
            builder = builder.tls_certs_merge(authorities);
        }
        if self.verification == Verification::Skipped {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        Ok(builder)
    }
}

/// A certificate or key that cannot be used.
pub(super) fn unusable(origin: &str, error: &reqwest::Error) -> Error {
    let cause = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .last()
        .map_or_else(String::new, ToString::to_string);
    invalid(origin, format!("its certificates or proxy cannot be used: {cause}"))
}

fn invalid(origin: &str, reason: String) -> Error {
    Error::Invalid { subject: Subject::Registry(origin.to_owned()), reason }
}
