//! What client and server say in headers, paths and queries. The first byte chooses which, so that one corpus holds
//! all of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pier_oci::{
    Digest,
    wire::{
        Chunk, Cursor, Endpoint, ErrorBody, Listing, Query, Selected, challenges, etag, link, query, selected,
    },
};

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(rest) else { return };
    match which % 9 {
        0 => path(text),
        1 => parameters(text),
        2 => range(text),
        3 => chunk(text),
        4 => challenge(text),
        5 => next_page(text),
        6 => error_body(text),
        7 => cursor(text),
        _ => etags(text),
    }
});

fn path(text: &str) {
    let Ok(endpoint) = text.parse::<Endpoint>() else { return };
    assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
}

fn parameters(text: &str) {
    let parameters = Query::parse(text);
    for name in ["digest", "mount", "from", "tag", "n", "last", "artifactType", "ns"] {
        assert_eq!(parameters.first(name), parameters.all(name).next());
    }
    assert_eq!(query::percent_decoded(&query::percent_encoded(text)).as_deref(), Some(text));
    let digest = Digest::sha256(text.as_bytes());
    // Nobody writes a digest by chance: only a wildcard lists it.
    assert!(!etag::lists(text, &digest) || text.contains('*'));
}

/// The first eight characters are the size of the content.
fn range(text: &str) {
    let (size, header) = text.split_at_checked(8).unwrap_or((text, ""));
    let size = size.parse().unwrap_or(u64::MAX);
    if let Selected::Part(part) = selected(header, size) {
        assert!(part.start < part.end && part.end <= size, "{header:?} of {size} is {part:?}");
    }
}

fn chunk(text: &str) {
    let Ok(chunk) = text.parse::<Chunk>() else { return };
    assert!(!chunk.bytes().is_empty());
    assert_eq!(chunk.to_string().parse(), Ok(chunk));
}

fn challenge(text: &str) {
    let Ok(found) = challenges(text) else { return };
    for challenge in found {
        // A header cannot hold control characters, so spaces stand for them; from then on nothing changes.
        let written = challenge.to_string();
        let read = challenges(&written).expect("what is written is read");
        assert_eq!(read.len(), 1, "{written}");
        assert_eq!(read[0].to_string(), written, "{challenge:?}");
    }
}

fn next_page(text: &str) {
    if let Some(target) = link::next_page(text) {
        assert!(text.contains(&format!("<{target}>")));
    }
}

fn error_body(text: &str) {
    let Ok(body) = serde_json::from_str::<ErrorBody>(text) else { return };
    let again: ErrorBody = serde_json::from_slice(&body.to_json()).expect("what was written is read");
    assert_eq!(again, body);
}

/// What was given out is read as what it was, and leads nowhere in a list of another kind.
fn cursor(text: &str) {
    let listings = [Listing::Tags, Listing::Referrers, Listing::KeptReferrers, Listing::Repositories];
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
        let leads = listings.map(|listing| cursor.clone().of(listing).is_ok());
        assert_eq!(leads.into_iter().filter(|leads| *leads).count(), 1, "{cursor:?}");
    }
    let written = Cursor::new(Listing::Tags, text);
    if let Ok(read) = written.to_string().parse::<Cursor>() {
        assert_eq!(read, written);
    }
}

fn etags(text: &str) {
    match etag::listed(text) {
        etag::Listed::Anything => assert!(text.contains('*')),
        etag::Listed::Digests(digests) => {
            assert!(digests.iter().all(|digest| etag::lists(text, digest)));
        }
    }
}
