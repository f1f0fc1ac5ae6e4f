//! A name for each request, by which a client's complaint and the lines of the log find each other.
//!
//! A proxy in front may have named the request already, and its log has that name; so a name that comes along is
//! kept when it is short and plain, since it goes into our log. Otherwise it is a random number of this process and a
//! count, which costs no randomness for each request.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that proxies and registries use for it.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes of a name that is kept.
const MAX_BYTES: usize = 64;

/// Names requests.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        // The only randomness that std gives out; two processes hardly ever share it, and nothing depends on that.
        let [a, b, c, d, ..] = RandomState::new().hash_one("process").to_ne_bytes();
        Self { process: u32::from_ne_bytes([a, b, c, d]), next: AtomicU64::new(1) }
    }

    /// The name of a request: the one that it brought, else a new one, which is put into its headers.
    pub(super) fn name(&self, headers: &mut HeaderMap) -> HeaderValue {
        if let Some(brought) = headers.get(REQUEST_ID).filter(|value| is_plain(value.as_bytes())) {
            return brought.clone();
        }
        let name = written(self.process, self.next.fetch_add(1, Relaxed));
        headers.insert(REQUEST_ID, name.clone());
        name
    }
}

/// Both numbers in hexadecimal. By hand, since every request pays for it and the machinery of `format!` takes a fiftieth of a small one.
fn written(process: u32, count: u64) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |number: u64, place: u32| HEX[(number >> (4 * place) & 0xf) as usize];
    let digits = (u64::BITS - count.leading_zeros()).div_ceil(4).max(1);
    let name: Vec<u8> = (0..8)
        .rev()
        .map(|place| digit(process.into(), place))
        .chain([b'-'])
        .chain((0..digits).rev().map(|place| digit(count, place)))
        .collect();
    HeaderValue::from_maybe_shared(Bytes::from(name)).unwrap_or(HeaderValue::from_static("unnamed"))
}

fn is_plain(name: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    !name.is_empty() && name.len() <= MAX_BYTES && name.iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(ids: &RequestIds, brought: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(brought).unwrap());
        let name = ids.name(&mut headers);
        assert_eq!(headers[REQUEST_ID], name);
        name.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_new_name_is_two_numbers() {
        for (process, count) in [(0, 0), (0xdead_beef, 1), (1, 16), (u32::MAX, u64::MAX), (7, 0x12_3456_789a)]
        {
            assert_eq!(written(process, count), format!("{process:08x}-{count:x}"));
        }
    }

    #[test]
    fn a_plain_name_is_kept_and_every_other_request_gets_its_own() {
        let ids = RequestIds::new();
        assert_eq!(name(&ids, "0190a5d2-7f6c_a.b"), "0190a5d2-7f6c_a.b");
        let mut made: Vec<String> = ["", "a b", "a\"b", "ü", &"x".repeat(65), "{}"]
            .map(|brought| name(&ids, brought))
            .into_iter()
            .collect();
        let first = made[0].clone();
        assert!(first.ends_with("-1") && first.len() == 10, "{first}");
        made.sort_unstable();
        made.dedup();
        assert_eq!(made.len(), 6);
        let mut headers = HeaderMap::new();
        let own = ids.name(&mut headers);
        assert_eq!(headers[REQUEST_ID], own);
    }
}
