//! Names of repositories from names of tests.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of a test's name that are kept: enough to tell tests apart, and room for what comes behind.
const MAX_NAME: usize = 120;

/// The name of the running test, as a repository may be called.
pub(super) fn repository_for_test() -> String {
    repository_of(thread::current().name().unwrap_or_default())
}

/// A tag that no other call gives, in whatever process.
pub(super) fn unique_tag() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("test-{}-{}-{}", since.as_nanos(), process::id(), CALLS.fetch_add(1, Ordering::Relaxed))
}

/// Lower case, `/` for `::`, and a single `-` for whatever else no repository's name has.
fn repository_of(test: &str) -> String {
    let test: String = test.chars().take(MAX_NAME).collect();
    let parts = test.split("::").map(|part| {
        let plain: String = part
            .chars()
            .map(|letter| letter.to_ascii_lowercase())
            .map(|letter| if letter.is_ascii_lowercase() || letter.is_ascii_digit() { letter } else { ' ' })
            .collect();
        plain.split_whitespace().collect::<Vec<_>>().join("-")
    });
    let name = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    if name.is_empty() { "test".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_become_repositories() {
        for (test, repository) in [
            ("pulls", "pulls"),
            ("push::resumes_after_a_cut", "push/resumes-after-a-cut"),
            ("Upper::Case__x", "upper/case-x"),
            ("case: 1/2 (ä)", "case-1-2"),
            ("a:::b", "a/b"),
            ("", "test"),
            ("::", "test"),
        ] {
            assert_eq!(repository_of(test), repository, "{test}");
            assert!(repository.parse::<pier_oci::RepositoryName>().is_ok(), "{repository}");
        }
        assert_eq!(repository_of(&"x".repeat(500)).len(), MAX_NAME);
        assert_eq!(repository_for_test(), "test-registry/names/tests/tests-become-repositories");
    }

    #[test]
    fn tags_are_new_each_time() {
        let [one, other] = [unique_tag(), unique_tag()];
        assert_ne!(one, other);
        assert!(one.parse::<pier_oci::Tag>().is_ok(), "{one}");
    }
}
