//! The names of upload sessions.
//!
//! A session's id is a UUID: its first half is random, its second half is the first 62 bits of an HMAC-SHA256 over the
//! repository and that first half. So an id that this server did not make for this repository is told apart without a
//! look at the store, a session cannot be used through another repository, any process with the same key knows it
//! after a restart, and no row is written anywhere when a session starts. (Signed state in the URL, as
//! distribution does it, gives the same and longer URLs; a table of sessions costs a durable write for each blob.)

use std::io;

use hmac::{Hmac, KeyInit as _, Mac as _};
use pier_oci::{RepositoryName, SessionId};
use sha2::Sha256;

use crate::settings::SessionKey;

/// The bits that say "UUID", per RFC 9562: version 4 in the first half and the variant in the second.
const VERSION: (u64, u64) = (0x0000_0000_0000_f000, 0x0000_0000_0000_4000);
const VARIANT: (u64, u64) = (0xc000_0000_0000_0000, 0x8000_0000_0000_0000);

/// A new session's id.
///
/// # Errors
/// When the kernel has no randomness to give.
pub(crate) fn start(key: &SessionKey, repository: &RepositoryName) -> io::Result<SessionId> {
    let mut random = [0; 8];
    let mut filled = 0;
    while filled < random.len() {
        filled += rustix::rand::getrandom(&mut random[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    let high = u64::from_be_bytes(random) & !VERSION.0 | VERSION.1;
    Ok(session(high, seal(key, repository, high)))
}

/// Whether this server made `session` for `repository`.
pub(crate) fn is_ours(key: &SessionKey, repository: &RepositoryName, session: SessionId) -> bool {
    let (high, low) = halves(session);
    // A difference of two numbers takes the same time for all of them.
    (low ^ seal(key, repository, high)) == 0
}

/// The second half that belongs to a first half.
fn seal(key: &SessionKey, repository: &RepositoryName, high: u64) -> u64 {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key of any length");
    mac.update(&high.to_be_bytes());
    mac.update(repository.as_str().as_bytes());
    let tag = mac.finalize().into_bytes();
    let mut low = [0; 8];
    low.copy_from_slice(&tag[..8]);
    u64::from_be_bytes(low) & !VARIANT.0 | VARIANT.1
}

fn session(high: u64, low: u64) -> SessionId {
    SessionId::from_bits(u128::from(high) << 64 | u128::from(low))
}

fn halves(session: SessionId) -> (u64, u64) {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    let low = session.to_bits() as u64;
    #[expect(clippy::cast_possible_truncation, reason = "64 bits are left")]
    let high = (session.to_bits() >> 64) as u64;
    (high, low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn an_id_is_known_to_its_key_and_its_repository_alone() {
        let key = SessionKey::new([7; 32]);
        let id = start(&key, &name("a/b")).unwrap();
        assert!(is_ours(&key, &name("a/b"), id));
        assert!(!is_ours(&key, &name("a/c"), id));
        assert!(!is_ours(&SessionKey::new([8; 32]), &name("a/b"), id));
        for bit in 0..128 {
            let changed = SessionId::from_bits(id.to_bits() ^ 1 << bit);
            assert!(!is_ours(&key, &name("a/b"), changed), "bit {bit}");
        }
    }

    #[test]
    fn an_id_is_a_uuid_of_version_4() {
        let text = start(&SessionKey::new([7; 32]), &name("a")).unwrap().to_string();
        assert_eq!(text.as_bytes()[14], b'4', "{text}");
        assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
    }

    #[test]
    fn no_two_ids_are_the_same() {
        let key = SessionKey::new([7; 32]);
        assert_ne!(start(&key, &name("a")).unwrap(), start(&key, &name("a")).unwrap());
    }
}
