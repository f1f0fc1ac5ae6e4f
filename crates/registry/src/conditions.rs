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

/// What a client expects of a tag that it is about to change (RFC 9110, sections 13.1.1 and 13.1.2). `If-Match` counts first.
pub(crate) fn expected(headers: &HeaderMap) -> Expected {
    let mut digests = Vec::new();
    for list in texts(headers, &header::IF_MATCH) {
        match etag::listed(list) {
            Listed::Anything => return Expected::Something,
            Listed::Digests(listed) => digests.extend(listed),
        }
    }
    // A list that names nothing is met by nothing, and is not to be taken for no condition.
    if headers.contains_key(header::IF_MATCH) {
        return Expected::OneOf(digests);
    }
    let is_new = texts(headers, &header::IF_NONE_MATCH).any(|list| etag::listed(list) == Listed::Anything);
    if is_new { Expected::Nothing } else { Expected::Anything }
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
