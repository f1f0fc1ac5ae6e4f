//! Upload sessions.

use std::{fmt, str::FromStr};

/// The id of an upload session, a UUID: 128 bits, written in lower case with hyphens.
///
/// Only the receiving side gives it a meaning; to clients the URL that holds it is opaque.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u128);

/// The text is not a UUID in lower case with hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not the id of an upload session")]
pub struct SessionIdError;

impl SessionId {
    /// An id from its bits.
    pub fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub fn to_bits(self) -> u128 {
        self.0
    }
}

/// Digits in each of a UUID's groups.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let mut rest = &*digits;
        for (number, length) in GROUPS.into_iter().enumerate() {
            let (group, behind) = rest.split_at(length);
            rest = behind;
            write!(f, "{}{group}", if number == 0 { "" } else { "-" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        let groups: Vec<&str> = text.split('-').collect();
        let right = groups.iter().map(|group| group.len()).eq(GROUPS)
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
        if !right {
            return Err(SessionIdError);
        }
        u128::from_str_radix(&groups.concat(), 16).map(Self).map_err(|_| SessionIdError)
    }
}
