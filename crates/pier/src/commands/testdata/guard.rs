//! What stands in front of a registry for tests: a login, and certificates of an authority that nobody else trusts.
//!
//! Both are for one run and in files of a temporary folder that ends with it, since that is how the server takes them. The
//! hash of the password is of the lowest cost: a test registry is to start at once, and who could read the file could
//! read the password as well.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustix::rand::{GetRandomFlags, getrandom};
use tempfile::TempDir;

use crate::{
    failure::Failure,
    serve::{Access, BCRYPT_BYTES, Entrance, Others, Password, Tls, TlsFiles, Users, check_user_name},
};

/// What clients on this machine call it.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Who may come in. Has no `Display`, and a `Debug` without the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// What stands in front of the registry.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) entrance: Entrance,
    /// What clients have to trust.
    pub(super) authority: Option<Authority>,
    /// Removed when nobody is to come in any more.
    _files: Option<TempDir>,
}

/// A certificate authority.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    pub(super) file: PathBuf,
    pub(super) pem: String,
}

/// Whether TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Plain,
    Tls,
}

impl Login {
    /// `USER:PASSWORD`, or `USER` for a password that nobody knows yet.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (user, password) = match text.split_once(':') {
            Some((user, password)) => (user, password.to_owned()),
            None => (text, random_password()?),
        };
        check_user_name(user)?;
        if password.is_empty() || password.len() > BCRYPT_BYTES {
            return Err(format!("a password has 1 to {BCRYPT_BYTES} bytes"));
        }
        Ok(Self { user: user.to_owned(), password })
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(…)")
    }
}

impl Guard {
    /// Nothing, or what is asked for. Blocks.
    pub(super) fn new(login: Option<&Login>, transport: Transport) -> Result<Self, Failure> {
        if login.is_none() && transport == Transport::Plain {
            let entrance = Entrance { tls: None, access: Access::open() };
            return Ok(Self { entrance, authority: None, _files: None });
        }
        let files = TempDir::with_prefix("pier-testdata-").context("cannot make a temporary folder")?;
        let write = |name: &str, text: String| -> Result<PathBuf, Failure> {
            let path = files.path().join(name);
            fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
            Ok(path)
        };
        let access = match login {
            None => Access::open(),
            Some(Login { user, password }) => {
                let hash = Password::hash_at_lowest_cost(password)?;
                let users = Users::load(write("htpasswd", format!("{user}:{}\n", hash.as_str()))?)?;
                Access::of_users(users, Others::Refused)
            }
        };
        let (mut tls, mut authority) = (None, None);
        if transport == Transport::Tls {
            let made = Certificates::make().context("cannot make certificates")?;
            let certificate = write("server.pem", made.certificate)?;
            let key = write("server.key", made.key)?;
            tls = Some(Tls::load(TlsFiles { certificate, key })?);
            authority =
                Some(Authority { file: write("ca.pem", made.authority.clone())?, pem: made.authority });
        }
        Ok(Self { entrance: Entrance { tls, access }, authority, _files: Some(files) })
    }
}

/// All PEM.
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

impl Certificates {
    fn make() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "An authority for one run of pier testdata");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(NAMES.map(str::to_owned))?.signed_by(&key, &issuer)?;
        Ok(Self { authority: issuer.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn random_password() -> Result<String, String> {
    let mut bytes = [0; 16];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(16) => Ok(format!("{:032x}", u128::from_le_bytes(bytes))),
        Ok(_) => Err("the kernel gives too few random bytes".to_owned()),
        Err(error) => Err(format!("the kernel gives no random bytes: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_a_name_and_perhaps_a_password() {
        for (text, user, password) in [("me:secret", "me", "secret"), ("me:a:b", "me", "a:b")] {
            let expected = Login { user: user.to_owned(), password: password.to_owned() };
            assert_eq!(Login::parse(text), Ok(expected), "{text}");
        }
        let [one, other] = ["me", "me"].map(|text| Login::parse(text).unwrap().password);
        assert_eq!((one.len(), other.len()), (32, 32));
        assert_ne!(one, other);
        for text in ["", ":secret", "#me:secret", "me:", "a\nb:secret"] {
            assert!(Login::parse(text).is_err(), "{text}");
        }
        assert!(Login::parse(&format!("me:{}", "x".repeat(73))).is_err());
        assert_eq!(format!("{:?}", Login::parse("me:secret").unwrap()), "Login(…)");
    }
}
