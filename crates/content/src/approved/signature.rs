//! Ed25519 keys in the files that `openssl genpkey` and `openssl pkey` write, and what is signed with them.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::ApprovedError;

/// What stands in front of the 32 bytes of a key in a `PUBLIC KEY` (RFC 8410, section 4).
const PUBLIC_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Whose signature is believed.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// Who signs. Has no `Display`, and a `Debug` that shows nothing of it.
pub struct SigningKey(Ed25519KeyPair);

impl PublicKey {
    /// Reads a PEM file with a `PUBLIC KEY`.
    pub fn from_pem(text: &str) -> Result<Self, ApprovedError> {
        let wrong = |reason| ApprovedError::Key { expected: "an Ed25519 public key in PEM", reason };
        let der = pem(text, "PUBLIC KEY").map_err(wrong)?;
        let key = der.strip_prefix(&PUBLIC_PREFIX).ok_or_else(|| wrong("it is of another kind"))?;
        key.try_into().map(Self).map_err(|_| wrong("it has another length"))
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub(super) fn from_base64(text: &str) -> Option<Self> {
        BASE64_STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// The same file again.
    pub fn to_pem(&self) -> String {
        written("PUBLIC KEY", &[&PUBLIC_PREFIX[..], &self.0].concat())
    }

    /// # Errors
    /// [`BadSignature`](ApprovedError::BadSignature) unless the holder of the key signed exactly this.
    pub(super) fn verify(&self, message: &[u8], signature: &str) -> Result<(), ApprovedError> {
        let signature = BASE64_STANDARD.decode(signature).map_err(|_| ApprovedError::BadSignature)?;
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message, &signature)
            .map_err(|_| ApprovedError::BadSignature)
    }
}

impl SigningKey {
    /// A new one.
    ///
    /// # Errors
    /// When this machine gives no random numbers.
    pub fn generate() -> Result<Self, ApprovedError> {
        Ed25519KeyPair::generate().map(Self).map_err(|_| key("no random numbers are to be had"))
    }

    /// Reads a PEM file with a `PRIVATE KEY` that is not encrypted.
    pub fn from_pem(text: &str) -> Result<Self, ApprovedError> {
        let der = pem(text, "PRIVATE KEY").map_err(key)?;
        Ed25519KeyPair::from_pkcs8(&der).map(Self).map_err(|_| key("it is of another kind"))
    }

    /// The same file again. It is a secret.
    pub fn to_pem(&self) -> Result<String, ApprovedError> {
        let der = self.0.to_pkcs8v1().map_err(|_| key("it cannot be written"))?;
        Ok(written("PRIVATE KEY", der.as_ref()))
    }

    /// What others check its signatures with.
    #[expect(clippy::expect_used, reason = "every Ed25519 public key has 32 bytes (RFC 8032, section 5.1.5)")]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().try_into().expect("32 bytes"))
    }

    pub(super) fn sign(&self, message: &[u8]) -> String {
        BASE64_STANDARD.encode(self.0.sign(message))
    }
}

fn key(reason: &'static str) -> ApprovedError {
    ApprovedError::Key { expected: "an Ed25519 private key in PEM", reason }
}

/// The content of the one block of a PEM file (RFC 7468).
fn pem(text: &str, label: &str) -> Result<Vec<u8>, &'static str> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let (_, rest) = text.split_once(&begin).ok_or("it has no block of that name")?;
    let (body, _) = rest.split_once(&end).ok_or("its block has no end")?;
    let body: String = body.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    BASE64_STANDARD.decode(body).map_err(|_| "its block is not base64")
}

fn written(label: &str, der: &[u8]) -> String {
    // A key is shorter than the 64 characters after which a line of a PEM file ends.
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}

/// In base64, as files name it.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}
