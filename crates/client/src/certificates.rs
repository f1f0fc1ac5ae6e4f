//! Certificates: whom a registry's settings trust, and as whom they let us appear.
//!
//! They are checked when they are read, so that an error names the file, and so that a client never talks to anybody before it is known
//! that its settings can be used.

use std::{fmt, fs, path::Path};

use pier_content::{Error, Result, Subject};
use reqwest::{Certificate, ClientBuilder, Identity};

/// Bytes of a file of certificates. Bundles of all public authorities have a tenth of that.
const FILE_BYTES: u64 = 4 << 20;

/// Certificate authorities that are trusted besides the machine's own.
#[derive(Clone)]
pub struct Authorities {
    certificates: Vec<Certificate>,
}

impl Authorities {
    /// One or more certificates in PEM.
    ///
    /// # Errors
    /// A text for people when there is no certificate in it, or one that cannot be understood.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let certificates = Certificate::from_pem_bundle(pem).map_err(|error| cause(&error))?;
        if certificates.is_empty() {
            return Err("it holds no certificate in PEM".to_owned());
        }
        check(reqwest::Client::builder().tls_certs_only(certificates.clone()))?;
        Ok(Self { certificates })
    }

    /// The same from a file. Blocks for as long as it takes to read it.
    ///
    /// # Errors
    /// [`Invalid`](Error::Invalid) with the file's name when it cannot be read or used.
    pub fn read(path: &Path) -> Result<Self> {
        Self::from_pem(&read(path)?).map_err(|reason| unusable(path, reason))
    }

    pub(crate) fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.certificates.len())
    }
}

/// A certificate, and the key that proves that it is ours.
#[derive(Clone)]
pub struct ClientIdentity {
    identity: Identity,
}

impl ClientIdentity {
    /// A certificate with those between it and its authority, and its private key, all in PEM and in any order.
    ///
    /// # Errors
    /// A text for people when one of them is missing, cannot be understood, or when the key is another certificate's.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let identity = Identity::from_pem(pem).map_err(|error| cause(&error))?;
        check(reqwest::Client::builder().tls_certs_only([]).identity(identity.clone()))?;
        Ok(Self { identity })
    }

    /// The same from files; without `key` both are in one. Blocks for as long as it takes to read them.
    ///
    /// # Errors
    /// [`Invalid`](Error::Invalid) with the file's name when it cannot be read or used.
    pub fn read(certificate: &Path, key: Option<&Path>) -> Result<Self> {
        let mut pem = read(certificate)?;
        if let Some(key) = key {
            pem.push(b'\n');
            pem.extend(read(key)?);
        }
        Self::from_pem(&pem).map_err(|reason| match key {
            Some(key) => unusable(certificate, format!("with the key `{}`: {reason}", key.display())),
            None => unusable(certificate, reason),
        })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity(…)")
    }
}

/// What TLS says about certificates, it says when a client is made of them.
fn check(builder: ClientBuilder) -> Result<(), String> {
    builder.no_proxy().build().map(drop).map_err(|error| cause(&error))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |error: std::io::Error| unusable(path, format!("it cannot be read: {error}"));
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > FILE_BYTES {
        return Err(unusable(path, format!("it has more than {FILE_BYTES} bytes")));
    }
    fs::read(path).map_err(unreadable)
}

fn unusable(path: &Path, reason: String) -> Error {
    Error::Invalid { subject: Subject::File(path.to_owned()), reason }
}

/// The innermost cause: what is around it says only that a builder failed.
fn cause(error: &reqwest::Error) -> String {
    std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .last()
        .map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s23_a_file_that_holds_no_certificate_is_an_error_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let said = || Authorities::read(&path).unwrap_err().to_string();
        assert_eq!(
            said(),
            format!("`{}`: it cannot be read: No such file or directory (os error 2)", path.display())
        );
        fs::write(&path, "hello").unwrap();
        assert_eq!(said(), format!("`{}`: it holds no certificate in PEM", path.display()));
        fs::write(&path, "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n").unwrap();
        assert_eq!(said(), format!("`{}`: invalid peer certificate: BadEncoding", path.display()));
        fs::File::create(&path).unwrap().set_len(FILE_BYTES + 1).unwrap();
        assert_eq!(said(), format!("`{}`: it has more than 4194304 bytes", path.display()));
    }

    #[test]
    fn s23_a_key_that_is_missing_or_anothers_is_an_error_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let certified = |name: &str| {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            let paths =
                (folder.path().join(format!("{name}.cert")), folder.path().join(format!("{name}.key")));
            fs::write(&paths.0, made.cert.pem()).unwrap();
            fs::write(&paths.1, made.signing_key.serialize_pem()).unwrap();
            paths
        };
        let (mine, yours) = (certified("mine"), certified("yours"));
        ClientIdentity::read(&mine.0, Some(&mine.1)).unwrap();
        Authorities::read(&mine.0).unwrap();
        let said = |key: Option<&Path>| ClientIdentity::read(&mine.0, key).unwrap_err().to_string();
        assert!(said(None).starts_with(&format!("`{}`: ", mine.0.display())), "{}", said(None));
        let others = said(Some(&yours.1));
        let expected = format!(
            "`{}`: with the key `{}`: keys may not be consistent: KeyMismatch",
            mine.0.display(),
            yours.1.display()
        );
        assert_eq!(others, expected);
    }

    #[test]
    fn a_key_is_not_shown() {
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let pem = made.cert.pem() + &made.signing_key.serialize_pem();
        let identity = ClientIdentity::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(format!("{identity:?}"), "ClientIdentity(…)");
    }
}
