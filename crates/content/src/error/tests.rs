//! Which failures may pass by themselves.

use super::*;

/// What a launcher and a push ask of an error: whether to try again. A variant that is new has to be put here.
#[test]
fn only_what_may_pass_is_tried_again() {
    let subject = || Subject::Blob(Digest::sha256(b"blob"));
    let (digest, place) = (Digest::sha256(b"blob"), || PathBuf::from("/place"));
    let text = || "registry.test".to_owned();
    for (error, expected) in [
        (Error::Unavailable { origin: text(), operation: "answer", retry_after: None, source: None }, true),
        (Error::TooManyRequests { origin: text(), reason: text(), retry_after: None }, true),
        (Error::Busy { subject: subject(), waited: Duration::ZERO }, true),
        (Error::Abandoned { subject: subject() }, true),
        (Error::NotFound { subject: subject() }, false),
        (Error::NoSuchImage { place: place(), wanted: text(), available: Vec::new() }, false),
        (Error::Ambiguous { place: place(), available: Vec::new() }, false),
        (Error::Integrity { expected: digest, actual: digest, origin: None }, false),
        (Error::Size { subject: subject(), expected: 1, actual: 2, origin: None }, false),
        (Error::Invalid { subject: subject(), reason: text() }, false),
        (Error::OutOfRange { subject: subject(), offset: 1, expected: 0 }, false),
        (Error::Changed { subject: subject(), found: None }, false),
        (Error::Immutable { subject: subject() }, false),
        (Error::InUse { subject: subject(), by: Keeper::Lease }, false),
        (Error::SinglePlatform { place: place() }, false),
        (Error::StorageFull { operation: "write", path: place() }, false),
        (Error::Denied { origin: text(), reason: text() }, false),
        (Error::Untrusted { origin: text(), reason: text() }, false),
        (Error::Credentials { place: text(), reason: text() }, false),
        (Error::Unsupported { what: "that" }, false),
        (Error::io("read", place(), io::ErrorKind::TimedOut.into()), false),
        (Error::Database { operation: "ask", source: text().into() }, false),
    ] {
        assert_eq!(error.is_retryable(), expected, "{}", error.code());
    }
}
