//! ETags. Content is immutable under its digest, so its ETag is the digest in quotes.

use crate::{Digest, digest::MAX_TEXT};

/// The ETag of content.
pub fn of(digest: &Digest) -> String {
    let mut text = String::with_capacity(MAX_TEXT + 2);
    text.push('"');
    digest.push_to(&mut text);
    text.push('"');
    text
}

/// Whether a list of ETags, as `If-None-Match` and `If-Match` carry it, holds this content's.
///
/// Weak ones count: bytes with the same digest are the same bytes. So does a digest without its quotes, as some
/// clients send it.
pub fn lists(header: &str, digest: &Digest) -> bool {
    header.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag.trim_matches('"').parse() == Ok(*digest)
    })
}

/// What a list of ETags names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// `*`: whatever there is.
    Anything,
    /// Content. ETags that are no digests name nothing here and are left out.
    Digests(Vec<Digest>),
}

/// The content that a list of ETags names, for `If-Match`.
pub fn listed(header: &str) -> Listed {
    let mut digests = Vec::new();
    for tag in header.split(',').map(str::trim) {
        if tag == "*" {
            return Listed::Anything;
        }
        let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
        digests.extend(tag.parse::<Digest>());
    }
    Listed::Digests(digests)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::strategies;

    #[test]
    fn a_list_is_taken_apart() {
        let (one, two) = (Digest::sha256(b"a"), Digest::sha256(b"b"));
        let header = format!("{}, W/{} , \"other\", {two}", of(&one), of(&one));
        assert_eq!(listed(&header), Listed::Digests(vec![one, one, two]));
        assert_eq!(listed(""), Listed::Digests(vec![]));
        assert_eq!(listed(&format!("{}, *", of(&one))), Listed::Anything);
    }

    #[test]
    fn a_list_holds_its_members() {
        let digest = Digest::sha256(b"a");
        let other = of(&Digest::sha256(b"b"));
        let own = of(&digest);
        for header in ["*", &own, &format!("W/{own}"), &format!("{other} , {own}"), &digest.to_string()] {
            assert!(lists(header, &digest), "{header}");
        }
        for header in ["", "\"\"", &other, "\"sha256:12\"", &own[..own.len() - 3]] {
            assert!(!lists(header, &digest), "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_digest_lists_itself_and_no_other(
            listed in prop::collection::vec(strategies::digest(), 0..4),
            other in strategies::digest(),
        ) {
            let header: Vec<_> = listed.iter().map(of).collect();
            let header = header.join(", ");
            prop_assert!(listed.iter().all(|digest| lists(&header, digest)));
            prop_assert_eq!(lists(&header, &other), listed.contains(&other));
        }

        #[test]
        fn no_text_without_the_digest_lists_it(
            header in prop_oneof!["[^*]*", "(W/|\"|,| |sha256:|[0-9a-f]{64}){0,8}"],
            digest in strategies::digest(),
        ) {
            prop_assert!(!lists(&header, &digest));
        }
    }
}
