//! ETags. Content is immutable under its digest, so its ETag is the digest in quotes.

use crate::Digest;

/// The ETag of content.
pub fn of(digest: &Digest) -> String {
    format!("\"{digest}\"")
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
