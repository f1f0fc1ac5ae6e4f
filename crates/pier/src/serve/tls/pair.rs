//! A certificate and the key that belongs to it, from PEM.

use std::{path::Path, sync::Arc};

use anyhow::anyhow;
use tokio_rustls::rustls::{
    Error, InconsistentKeys,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};

use super::Files;
use crate::failure::{Failure, Status};

/// Reads both, and checks that they belong together.
///
/// # Errors
/// One line that names the file, and what to do; nothing of a key's content is in it.
pub(super) fn parse(
    files: &Files,
    certificate: &[u8],
    key: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<CertifiedKey, Failure> {
    let chain = chain(&files.certificate, certificate)?;
    let key = private_key(&files.key, key)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => usage(
            anyhow!(
                "the key `{}` does not belong to the certificate `{}`",
                files.key.display(),
                files.certificate.display()
            ),
            "the first certificate of the file has to be the server's own; those that vouch for it come behind it",
        ),
        Error::InvalidCertificate(_) => usage(
            anyhow!("`{}` begins with no X.509 certificate of a server", files.certificate.display()),
            MAKE_CERTIFICATE,
        ),
        _ => usage(
            anyhow!("`{}` is no key that TLS can be spoken with", files.key.display()),
            "keys are RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519",
        ),
    })
}

const MAKE_CERTIFICATE: &str =
    "a certificate is a PEM file that begins with `-----BEGIN CERTIFICATE-----`; put the server's own first";

fn chain(file: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let malformed = |why: &dyn std::fmt::Display| {
        usage(anyhow!("`{}` is no PEM file: {why}", file.display()), MAKE_CERTIFICATE)
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(content)
        .collect::<Result<_, _>>()
        .map_err(|error: pem::Error| malformed(&describe(&error)))?;
    if chain.is_empty() {
        return Err(usage(anyhow!("`{}` has no certificate in it", file.display()), MAKE_CERTIFICATE));
    }
    Ok(chain)
}

fn private_key(file: &Path, content: &[u8]) -> Result<PrivateKeyDer<'static>, Failure> {
    PrivateKeyDer::from_pem_slice(content).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(content) => usage(
            anyhow!("the key `{}` is protected by a passphrase", file.display()),
            "take the passphrase off with `openssl pkey -in KEY -out NEW`, and let nobody else read the file",
        ),
        pem::Error::NoItemsFound => usage(
            anyhow!("`{}` has no private key in it", file.display()),
            "a key is a PEM file that begins with `-----BEGIN PRIVATE KEY-----`, or with EC or RSA in it",
        ),
        error => usage(
            anyhow!("`{}` is no PEM file: {}", file.display(), describe(&error)),
            "a key is a PEM file that begins with `-----BEGIN PRIVATE KEY-----`, or with EC or RSA in it",
        ),
    })
}

fn is_encrypted(content: &[u8]) -> bool {
    const MARK: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    content.windows(MARK.len()).any(|window| window == MARK)
}

/// The library's own words hold the bytes that it stumbled over, which may be a key's.
fn describe(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a section begins in an unknown way",
        pem::Error::Base64Decode(_) => "it is damaged",
        _ => "it cannot be read",
    }
}

fn usage(error: anyhow::Error, hint: &str) -> Failure {
    Failure::new(Status::Usage, error).with_hint(hint)
}
