//! Content's identity, and the hashing that makes it.
//!
//! A [`Digest`] holds raw bytes and not text: it is small, comparable at once, and cannot hold a path, an upper-case
//! twin or an algorithm that nobody checks.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

use crate::excerpt::excerpt;

/// A hash function that content may be named by. The specification registers these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, what nearly everybody uses.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// `sha256` or `sha512`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes in a raw digest; its text has twice as many characters.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::UnknownAlgorithm { found: excerpt(text) }),
        }
    }
}

/// What content hashes to: `sha256:` and 64, or `sha512:` and 128 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// The raw digest; behind its length all zero, so that the derived comparisons hold.
    bytes: [u8; 64],
}

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// There is no `algorithm:` in front.
    #[error("`{found}` is not a digest: it has no `:`")]
    NoAlgorithm {
        /// The text, shortened.
        found: String,
    },
    /// The algorithm is not one that is checked here.
    #[error("`{found}` is not a digest algorithm that is known")]
    UnknownAlgorithm {
        /// The algorithm, shortened.
        found: String,
    },
    /// Too short or too long.
    #[error("a {algorithm} digest has {expected} hexadecimal digits, this one has {found}")]
    Length {
        /// The algorithm.
        algorithm: Algorithm,
        /// Digits that it takes.
        expected: usize,
        /// Digits, or bytes of text, found.
        found: usize,
    },
    /// A character that is not `0`-`9` or `a`-`f`.
    #[error("`{}` at position {position} of a digest is not a lower-case hexadecimal digit", found.escape_debug())]
    NotHex {
        /// The character.
        found: char,
        /// Where, counted in bytes from the first digit.
        position: usize,
    },
}

impl DigestError {
    /// Advice for a person.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotHex { found, .. } if found.is_ascii_uppercase() => "write the digest in lower case",
            _ => "a digest is `sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal digits",
        }
    }
}

impl Digest {
    /// What `bytes` hash to.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The SHA-256 of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// A digest from its raw bytes.
    pub fn from_bytes(algorithm: Algorithm, raw: &[u8]) -> Result<Self, DigestError> {
        if raw.len() != algorithm.digest_len() {
            return Err(DigestError::Length {
                algorithm,
                expected: 2 * algorithm.digest_len(),
                found: 2 * raw.len(),
            });
        }
        let mut bytes = [0; 64];
        bytes[..raw.len()].copy_from_slice(raw);
        Ok(Self { algorithm, bytes })
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw digest.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.digest_len()]
    }

    /// The digest without its algorithm: safe as a file's name.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(2 * self.algorithm.digest_len());
        self.push_hex(&mut text);
        text
    }

    fn push_hex(&self, text: &mut String) {
        for byte in self.as_bytes() {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }

    /// Writes what [`Display`](fmt::Display) shows behind what is there, without the machinery of formatting: every answer of a registry
    /// has a digest or two.
    pub fn push_to(&self, text: &mut String) {
        text.push_str(self.algorithm.as_str());
        text.push(':');
        self.push_hex(text);
    }
}

/// Bytes of the longest text: `sha512:` and its hexadecimal digits.
pub(crate) const MAX_TEXT: usize = 7 + 128;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(MAX_TEXT);
        self.push_to(&mut text);
        f.write_str(&text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) =
            text.split_once(':').ok_or_else(|| DigestError::NoAlgorithm { found: excerpt(text) })?;
        let algorithm: Algorithm = algorithm.parse()?;
        let expected = 2 * algorithm.digest_len();
        if hex.len() != expected {
            return Err(DigestError::Length { algorithm, expected, found: hex.len() });
        }
        if let Some((position, found)) =
            hex.char_indices().find(|(_, digit)| !matches!(digit, '0'..='9' | 'a'..='f'))
        {
            return Err(DigestError::NotHex { found, position });
        }
        let mut bytes = [0; 64];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = value(pair[0]) << 4 | value(pair[1]);
        }
        Ok(Self { algorithm, bytes })
    }
}

/// The value of a digit that has been checked.
fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Hashes content as it comes by.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(Box<sha2::Sha512>),
}

impl Hasher {
    /// Nothing hashed yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Box::new(sha2::Sha512::new())),
        })
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hasher) => hasher.update(bytes),
            State::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// What all bytes hash to.
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 64];
        let algorithm = self.algorithm();
        match self.0 {
            State::Sha256(hasher) => bytes[..32].copy_from_slice(&hasher.finalize()),
            State::Sha512(hasher) => bytes.copy_from_slice(&hasher.finalize()),
        }
        Digest { algorithm, bytes }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm())
    }
}

#[cfg(test)]
mod tests;
