//! Conditional requests, compare and set, and ranges, per RFC 9110 sections 13 and 14. An ETag here is the quoted digest.

use http::{HeaderMap, HeaderName, Method, header};
use pier_content::Expected;
use pier_oci::{
    Digest,
    wire::{
        Selected,
        etag::{self, Listed},
        selected,
    },
};

/// Whether the client has the content already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// It has it: 304.
    Fresh,
    /// It has not, or did not say.
    Unknown,
}

/// What `If-None-Match` says about content. `If-Modified-Since` says nothing: content has no date here.
pub(crate) fn freshness(headers: &HeaderMap, digest: &Digest) -> Freshness {
    if texts(headers, &header::IF_NONE_MATCH).any(|list| etag::lists(list, digest)) {
        Freshness::Fresh
    } else {
        Freshness::Unknown
    }
}

/// What a client expects of what it is about to change (RFC 9110, sections 13.1.1 and 13.1.2). When it says both, both
/// count.
pub(crate) fn expected(headers: &HeaderMap) -> Expected {
    match (listed(headers, &header::IF_MATCH), listed(headers, &header::IF_NONE_MATCH)) {
        (None, None) => Expected::Anything,
        (None, Some(Listed::Anything)) => Expected::Nothing,
        (None, Some(Listed::Digests(unwanted))) => Expected::NoneOf(unwanted),
        (Some(Listed::Anything), None) => Expected::Something,
        (Some(Listed::Anything), Some(Listed::Digests(unwanted))) => Expected::SomethingBut(unwanted),
        // A list that names nothing is met by nothing, and is not to be taken for no condition.
        (Some(Listed::Digests(wanted)), None) => Expected::OneOf(wanted),
        (Some(Listed::Digests(mut wanted)), Some(Listed::Digests(unwanted))) => {
            wanted.retain(|digest| !unwanted.contains(digest));
            Expected::OneOf(wanted)
        }
        // That something is there and that nothing is.
        (Some(_), Some(Listed::Anything)) => Expected::OneOf(Vec::new()),
    }
}

/// What all values of a header list together; `None` when there is no such header.
fn listed(headers: &HeaderMap, name: &HeaderName) -> Option<Listed> {
    let mut digests = Vec::new();
    for list in texts(headers, name) {
        match etag::listed(list) {
            Listed::Anything => return Some(Listed::Anything),
            Listed::Digests(listed) => digests.extend(listed),
        }
    }
    headers.contains_key(name).then_some(Listed::Digests(digests))
}

/// What of `size` bytes the client asks for. Ranges are for GET alone, and only for content that is still the same
/// when `If-Range` asks for that.
pub(crate) fn wanted(method: &Method, headers: &HeaderMap, digest: &Digest, size: u64) -> Selected {
    let is_same = texts(headers, &header::IF_RANGE).all(|tag| tag.trim() == etag::of(digest));
    match texts(headers, &header::RANGE).next() {
        Some(range) if *method == Method::GET && is_same => selected(range, size),
        _ => Selected::Whole,
    }
}

/// The values of a header that are text.
fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_expected_is_what_both_headers_say() {
        let (one, two) = (Digest::sha256(b"one"), Digest::sha256(b"two"));
        let (first, both) = (etag::of(&one), format!("{}, {}", etag::of(&one), etag::of(&two)));
        let cases = [
            (None, None, Expected::Anything),
            (Some("*"), None, Expected::Something),
            (None, Some("*"), Expected::Nothing),
            (Some(&*both), None, Expected::OneOf(vec![one, two])),
            (Some("\"x\""), None, Expected::OneOf(vec![])),
            (None, Some(&*first), Expected::NoneOf(vec![one])),
            (None, Some("\"x\""), Expected::NoneOf(vec![])),
            (Some("*"), Some(&*first), Expected::SomethingBut(vec![one])),
            (Some(&*both), Some(&*first), Expected::OneOf(vec![two])),
            (Some(&*both), Some("*"), Expected::OneOf(vec![])),
        ];
        for (if_match, if_none_match, wanted) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::IF_MATCH, if_match), (header::IF_NONE_MATCH, if_none_match)] {
                headers.extend(value.map(|value| (name, HeaderValue::from_str(value).unwrap())));
            }
            assert_eq!(expected(&headers), wanted, "{if_match:?} {if_none_match:?}");
        }
    }
}
