//! Certificates for one test: an authority that nobody else knows, and what it vouches for.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// What a server of a test is called.
const SERVER_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Whom a server with TLS lets in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Clients {
    /// Everybody.
    Anyone,
    /// Those with a certificate of the same authority ([`Authority::client`]).
    Certified,
}

/// A certificate and its key, both PEM, as clients and servers are configured with.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

/// A certificate could not be made, or not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}")]
pub struct Error {
    operation: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Result<Self, Error> {
        let failed = failed("make a certificate authority");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "An authority for one test");
        let key = KeyPair::generate().map_err(&failed)?;
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, key).map_err(&failed)? })
    }

    /// Its certificate, PEM: what a client has to trust.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A client that it vouches for.
    pub fn client(&self, name: &str) -> Result<Identity, Error> {
        let failed = failed("make a client's certificate");
        let mut params = CertificateParams::new([name.to_owned()]).map_err(&failed)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(&failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(&failed)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// A server on loopback that it vouches for, as files have it.
    pub fn server_identity(&self) -> Result<Identity, Error> {
        let failed = failed("make a server's certificate");
        let params = CertificateParams::new(SERVER_NAMES.map(str::to_owned)).map_err(&failed)?;
        let key = KeyPair::generate().map_err(&failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(&failed)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// A server on loopback that it vouches for.
    pub(crate) fn server(&self, clients: Clients) -> Result<Arc<ServerConfig>, Error> {
        let failed_make = failed("make a server's certificate");
        let params = CertificateParams::new(SERVER_NAMES.map(str::to_owned)).map_err(&failed_make)?;
        let key = KeyPair::generate().map_err(&failed_make)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(&failed_make)?;
        let failed_use = failed("use a server's certificate");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(&failed_use)?;
        let builder = match clients {
            Clients::Anyone => builder.with_no_client_auth(),
            Clients::Certified => {
                let mut roots = RootCertStore::empty();
                roots.add(self.issuer.der().clone()).map_err(&failed_use)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(failed("use an authority"))?)
            }
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        builder.with_single_cert(vec![certificate.der().clone()], key).map(Arc::new).map_err(&failed_use)
    }
}

fn failed<E>(operation: &'static str) -> impl Fn(E) -> Error
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |source| Error { operation, source: source.into() }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(…)")
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}
