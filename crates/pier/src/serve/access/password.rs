//! Passwords as they are kept: bcrypt and argon2id, and nothing that a modern machine guesses by the billion.

use std::fmt;

use anyhow::anyhow;
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use bcrypt::HashParts;
use clap::ValueEnum;

/// The highest cost of bcrypt that is taken: 2^17 rounds are eight seconds of a fast core. More is a typing error that nobody could log in
/// with.
const MAX_BCRYPT_COST: u32 = 17;

/// The most memory that argon2id may ask for, in KiB, and the most passes over it.
const MAX_ARGON2_KIB: u32 = 1 << 20;
const MAX_ARGON2_PASSES: u32 = 64;

/// What bcrypt looks at of a password: what comes behind does not count, so that two passwords could be one.
pub(crate) const BCRYPT_BYTES: usize = 72;

/// 2^10 rounds: 50 milliseconds. Each pull of a client that is not remembered waits for it.
const BCRYPT_COST: u32 = 10;

/// The lowest that there is.
const LOWEST_BCRYPT_COST: u32 = 4;

/// A password's hash, whose `Debug` says only its kind.
#[derive(Clone)]
pub(crate) struct Password(Kept);

#[derive(Clone)]
enum Kept {
    Bcrypt(String),
    Argon2id(String),
}

/// How passwords are hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scheme {
    /// Which other registries read too; looks at 72 bytes of a password.
    #[default]
    Bcrypt,
    /// The stronger one.
    Argon2id,
}

/// Why a hash is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// It is of a kind that is weak or unknown; says which.
    Kind(&'static str),
    /// It is damaged.
    Damaged,
    /// It would take longer, or more memory, than anybody waits for.
    TooCostly,
}

impl Password {
    /// Reads a hash as htpasswd files have it.
    pub(super) fn parse(text: &str) -> Result<Self, NotTaken> {
        if ["$2y$", "$2b$", "$2a$"].iter().any(|prefix| text.starts_with(prefix)) {
            let parts: HashParts = text.parse().map_err(|_| NotTaken::Damaged)?;
            return match parts.get_cost() {
                LOWEST_BCRYPT_COST..=MAX_BCRYPT_COST => Ok(Self(Kept::Bcrypt(text.to_owned()))),
                ..LOWEST_BCRYPT_COST => Err(NotTaken::Damaged),
                _ => Err(NotTaken::TooCostly),
            };
        }
        if text.starts_with("$argon2id$") {
            let hash = PasswordHash::new(text).map_err(|_| NotTaken::Damaged)?;
            let params = Params::try_from(&hash).map_err(|_| NotTaken::Damaged)?;
            if hash.salt.is_none() || hash.hash.is_none() {
                return Err(NotTaken::Damaged);
            }
            if params.m_cost() > MAX_ARGON2_KIB || params.t_cost() > MAX_ARGON2_PASSES {
                return Err(NotTaken::TooCostly);
            }
            return Ok(Self(Kept::Argon2id(text.to_owned())));
        }
        Err(NotTaken::Kind(kind(text)))
    }

    /// Hashes a password with a new salt, at a cost that takes a tenth of a second or so.
    pub(crate) fn hash(password: &str, scheme: Scheme) -> anyhow::Result<Self> {
        Ok(Self(match scheme {
            Scheme::Bcrypt => hash_with_bcrypt(password, BCRYPT_COST)?,
            Scheme::Argon2id => {
                let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default());
                let hash = hasher
                    .hash_password(password.as_bytes())
                    .map_err(|error| anyhow!("cannot hash the password: {error}"))?;
                Kept::Argon2id(hash.to_string())
            }
        }))
    }

    /// Hashes a password that guards nothing for long, at next to no cost.
    pub(crate) fn hash_at_lowest_cost(password: &str) -> anyhow::Result<Self> {
        Ok(Self(hash_with_bcrypt(password, LOWEST_BCRYPT_COST)?))
    }

    /// Whether this is the password. Takes long, and that is the point: not to be called where others wait.
    pub(super) fn is(&self, password: &str) -> bool {
        match &self.0 {
            Kept::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Kept::Argon2id(hash) => PasswordHash::new(hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()),
        }
    }

    /// The hash as a file has it.
    pub(crate) fn as_str(&self) -> &str {
        match &self.0 {
            Kept::Bcrypt(hash) | Kept::Argon2id(hash) => hash,
        }
    }
}

/// Hashes as Apache's htpasswd does, so that whatever reads its files reads this.
fn hash_with_bcrypt(password: &str, cost: u32) -> anyhow::Result<Kept> {
    let parts = bcrypt::hash_with_result(password, cost)
        .map_err(|error| anyhow!("cannot hash the password: {error}"))?;
    Ok(Kept::Bcrypt(parts.format_for_version(bcrypt::Version::TwoY)))
}

/// What a hash that is not taken probably is.
fn kind(text: &str) -> &'static str {
    for (prefix, kind) in [
        ("$apr1$", "Apache's MD5"),
        ("$1$", "MD5"),
        ("{SHA}", "SHA-1"),
        ("{SSHA}", "SHA-1"),
        ("$5$", "SHA-256-crypt"),
        ("$6$", "SHA-512-crypt"),
        ("$2x$", "a broken bcrypt"),
        ("$argon2i$", "argon2i"),
        ("$argon2d$", "argon2d"),
    ] {
        if text.starts_with(prefix) {
            return kind;
        }
    }
    "DES, or not hashed at all"
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kept::Bcrypt(_) => "Bcrypt(…)",
            Kept::Argon2id(_) => "Argon2id(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_its_password_alone() {
        for (scheme, prefix) in [(Scheme::Bcrypt, "$2y$10$"), (Scheme::Argon2id, "$argon2id$v=19$")] {
            let password = Password::hash("correct horse", scheme).unwrap();
            assert!(password.as_str().starts_with(prefix), "{}", password.as_str());
            let kept = Password::parse(password.as_str()).unwrap();
            assert!(kept.is("correct horse"));
            assert!(!kept.is("correct horsf") && !kept.is(""));
        }
    }

    #[test]
    fn hashes_of_other_tools_are_read() {
        // `htpasswd -nbB`, Python's bcrypt, and the argon2 command, of `hunter2`.
        for hash in [
            "$2y$05$abcdefghijklmnopqrstuuJQz3Z5nQ8o0nBqkqfBVMmKQ7cJXnCCu",
            "$2b$04$abcdefghijklmnopqrstuuJQz3Z5nQ8o0nBqkqfBVMmKQ7cJXnCCu",
            "$2a$17$abcdefghijklmnopqrstuuJQz3Z5nQ8o0nBqkqfBVMmKQ7cJXnCCu",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ] {
            assert_eq!(Password::parse(hash).unwrap().as_str(), hash);
        }
        let known = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(Password::parse(known).unwrap().is("password"));
    }

    #[test]
    fn what_is_weak_damaged_or_too_costly_is_not_taken() {
        for (hash, why) in [
            ("hunter2", NotTaken::Kind("DES, or not hashed at all")),
            ("rqXexS6ZhobKA", NotTaken::Kind("DES, or not hashed at all")),
            ("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", NotTaken::Kind("Apache's MD5")),
            ("{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", NotTaken::Kind("SHA-1")),
            (
                "$2x$05$abcdefghijklmnopqrstuuJQz3Z5nQ8o0nBqkqfBVMmKQ7cJXnCCu",
                NotTaken::Kind("a broken bcrypt"),
            ),
            ("$2y$05$abcdefg", NotTaken::Damaged),
            ("$2y$31$abcdefghijklmnopqrstuuJQz3Z5nQ8o0nBqkqfBVMmKQ7cJXnCCu", NotTaken::TooCostly),
            ("$2y$03$abcdefghijklmnopqrstuuJQz3Z5nQ8o0nBqkqfBVMmKQ7cJXnCCu", NotTaken::Damaged),
            ("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ", NotTaken::Damaged),
            (
                "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
                NotTaken::TooCostly,
            ),
        ] {
            assert_eq!(Password::parse(hash).unwrap_err(), why, "{hash}");
        }
    }
}
