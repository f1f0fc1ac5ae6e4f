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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "0123abcd-4567-89ef-0000-00000000000a";

    #[test]
    fn is_written_as_a_uuid() {
        let id = SessionId::from_bits(0x0123_abcd_4567_89ef_0000_0000_0000_000a);
        assert_eq!(id.to_string(), TEXT);
        assert_eq!(TEXT.parse(), Ok(id));
        assert_eq!(SessionId::from_bits(0).to_string(), "00000000-0000-0000-0000-000000000000");
        assert_eq!(SessionId::from_bits(u128::MAX).to_string(), "ffffffff-ffff-ffff-ffff-ffffffffffff");
    }

    #[test]
    fn has_no_other_spelling() {
        for text in [
            "",
            "0123ABCD-4567-89ef-0000-00000000000a",
            "0123abcd456789ef000000000000000a",
            "{0123abcd-4567-89ef-0000-00000000000a}",
            "urn:uuid:0123abcd-4567-89ef-0000-00000000000a",
            "0123abcd-4567-89ef-0000-00000000000",
            "0123abcd-4567-89ef-0000-00000000000aa",
            "0123abc-d4567-89ef-0000-00000000000a",
            "0123abcd-4567-89ef-0000-00000000000g",
            "0123abcd-4567-89ef-0000-0000000000é",
            "0123abcd-4567-89ef-0000-00000000000a-",
            " 0123abcd-4567-89ef-0000-00000000000a",
            "+123abcd-4567-89ef-0000-00000000000a",
            "../../../x/y",
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(SessionIdError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn prints_as_it_parses(bits: u128) {
            let id = SessionId::from_bits(bits);
            prop_assert_eq!(id.to_bits(), bits);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn any_text_is_what_the_id_prints_or_is_refused(text in prop_oneof![".*", "[-0-9a-fA-F]{36}"]) {
            if let Ok(id) = text.parse::<SessionId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
