//! References as people type them, with what other tools make of them.

use proptest::prelude::*;

use super::*;
use crate::strategies;

const SHA256: &str = "sha256:deadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

/// `@` alone in a text stands for a whole digest.
fn with_digest(text: &str) -> String {
    text.replace('@', &format!("@{SHA256}"))
}

fn check(text: &str, registry: &str, name: &str, tag: Option<&str>, digest: Option<&str>) {
    let text = with_digest(text);
    let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(reference.repository.registry.as_str(), registry, "{text}");
    assert_eq!(reference.repository.name.as_str(), name, "{text}");
    assert_eq!(reference.tag.as_ref().map(Tag::as_str), tag, "{text}");
    assert_eq!(reference.digest.map(|digest| digest.to_string()).as_deref(), digest, "{text}");
    let printed = reference.to_string();
    assert_eq!(printed.parse(), Ok(reference), "{text}");
}

#[test]
fn references_name_registry_repository_tag_and_digest() {
    let latest = Some("latest");
    let digest = Some(SHA256);
    for (text, registry, name, tag, digest) in [
        // Registry and tag.
        ("docker.io/library/alpine:3.12", "docker.io", "library/alpine", Some("3.12"), None),
        // Default registry and tag.
        ("library/alpine", "docker.io", "library/alpine", latest, None),
        // Without a tag.
        ("docker.io/library/alpine", "docker.io", "library/alpine", latest, None),
        // A digest and a tag.
        ("registry.example.com/myrepo:mytag@", "registry.example.com", "myrepo", Some("mytag"), digest),
        // A digest only: no tag is made up.
        ("registry.example.com/myrepo@", "registry.example.com", "myrepo", None, digest),
        // A registry with a port; no `library/` away from Docker Hub.
        ("registry.example.com:5000/myrepo:1.0", "registry.example.com:5000", "myrepo", Some("1.0"), None),
        // One part, with and without a registry.
        ("docker.io/alpine", "docker.io", "library/alpine", latest, None),
        ("alpine", "docker.io", "library/alpine", latest, None),
        // Several parts without a registry.
        ("myorg/myrepo:stable", "docker.io", "myorg/myrepo", Some("stable"), None),
        // Digests with one part and with several.
        ("docker.io/alpine@", "docker.io", "library/alpine", None, digest),
        ("docker.io/myorg/myrepo:stable@", "docker.io", "myorg/myrepo", Some("stable"), digest),
        // Longer paths.
        ("registry.io/v2/image:tag", "registry.io", "v2/image", Some("tag"), None),
        ("docker.io/a/b/c:1.0", "docker.io", "a/b/c", Some("1.0"), None),
        // An address with a port, one part and several.
        ("192.168.1.1:5000/ubuntu:18.04", "192.168.1.1:5000", "ubuntu", Some("18.04"), None),
        ("192.168.1.1:5000/org/repo:version", "192.168.1.1:5000", "org/repo", Some("version"), None),
        // What those leave out.
        ("alpine@", "docker.io", "library/alpine", None, digest),
        ("localhost/app", "localhost", "app", latest, None),
        ("LOCALHOST/app", "localhost", "app", latest, None),
        ("localhost:5000/app", "localhost:5000", "app", latest, None),
        ("host:05000/app:1", "host:5000", "app", Some("1"), None),
        ("Host:5000/app", "host:5000", "app", latest, None),
        ("GHCR.io/o/app", "ghcr.io", "o/app", latest, None),
        ("[::1]/app", "[::1]", "app", latest, None),
        ("[2001:DB8:0::1]:5000/o/app:1@", "[2001:db8::1]:5000", "o/app", Some("1"), digest),
        ("index.docker.io/alpine", "docker.io", "library/alpine", latest, None),
        ("registry-1.docker.io/o/app", "docker.io", "o/app", latest, None),
        // A colon without a slash is a tag.
        ("localhost:5000", "docker.io", "library/localhost", Some("5000"), None),
        ("foo/bar", "docker.io", "foo/bar", latest, None),
    ] {
        check(text, registry, name, tag, digest);
    }
}

/// What was wrong, of errors about a name: its kind, and the reason or nothing.
fn name_error(text: &str) -> NameError {
    match with_digest(text).parse::<Reference>() {
        Err(ReferenceError::Name { source, .. }) => source,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn what_is_no_reference_is_refused() {
    assert_eq!("".parse::<Reference>(), Err(ReferenceError::Empty));
    // An empty repository.
    for text in ["registry.example.com/:tag", "registry.example.com/", "@", ":tag", "host:5000/@"] {
        assert_eq!(name_error(text), NameError::Empty { what: "repository name" }, "{text}");
    }
    assert_eq!(name_error("alpine:"), NameError::Empty { what: "tag" });
    assert_eq!(name_error("alpine:@"), NameError::Empty { what: "tag" });
    // A tag of 129 characters.
    assert_eq!(
        name_error(&format!("docker.io/library/alpine:{}", "a".repeat(129))),
        NameError::TooLong { what: "tag", limit: 128, found: 129 }
    );
    for (text, kind) in [
        ("inva!id-registry.com/library/alpine:3.12", "registry"),
        ("docker.io/Library/alpine:3.12", "repository name"),
        ("docker.io/library/alpine:t!ag", "tag"),
        ("host:port/app", "registry"),
        ("::1/app", "registry"),
        ("[::1/app", "registry"),
        ("foo:tag/bar", "registry"),
        ("/app", "repository name"),
        ("a//b", "repository name"),
        ("ghcr.io//app", "repository name"),
        ("ghcr.io/../app", "repository name"),
        ("app:1:2", "tag"),
        ("app name", "repository name"),
        (" app", "repository name"),
        ("app\n", "repository name"),
        ("http:/host/app", "registry"),
    ] {
        let NameError::Malformed { what, .. } = name_error(text) else { panic!("{text}") };
        assert_eq!(what, kind, "{text}");
    }
}

#[test]
fn upper_case_never_turns_a_name_into_a_registry() {
    for text in ["Foo/bar", "FOO/bar:1", "foo/Bar", "Alpine", "localHosts/app", "Foo/bar@"] {
        let error = name_error(text);
        assert!(matches!(error, NameError::Malformed { what: "repository name", .. }), "{text}: {error}");
        assert_eq!(error.hint(), Some("write it in lower case"), "{text}");
    }
}

#[test]
fn a_url_is_no_reference() {
    let error = "https://ghcr.io/o/app".parse::<Reference>().unwrap_err();
    assert_eq!(error, ReferenceError::Url { found: "https://ghcr.io/o/app".to_owned() });
    assert_eq!(error.hint(), Some("leave out the scheme: `host/repository:tag`"));
}

#[test]
fn a_wrong_digest_says_what_is_wrong_with_it() {
    for (text, expected) in [
        ("alpine@", DigestError::NoAlgorithm { found: String::new() }),
        ("alpine@latest", DigestError::NoAlgorithm { found: "latest".to_owned() }),
        ("alpine@md5:00", DigestError::UnknownAlgorithm { found: "md5".to_owned() }),
        (
            "alpine@sha256:00",
            DigestError::Length { algorithm: crate::Algorithm::Sha256, expected: 64, found: 2 },
        ),
    ] {
        let Err(ReferenceError::Digest { source, .. }) = text.parse::<Reference>() else { panic!("{text}") };
        assert_eq!(source, expected, "{text}");
    }
    let twice = format!("alpine@{SHA256}@{SHA256}");
    assert!(matches!(twice.parse::<Reference>(), Err(ReferenceError::Digest { .. })));
}

#[test]
fn errors_do_not_repeat_all_of_a_long_text() {
    let long = "a".repeat(100_000);
    for text in [
        format!("https://{long}"),
        format!("{long}/{long}"),
        format!("alpine@{long}"),
        format!("alpine:{long}"),
        format!("{long}.io/app"),
    ] {
        let error = text.parse::<Reference>().unwrap_err();
        assert!(format!("{error} {error:?}").len() < 1000, "{error}");
    }
}

#[test]
fn the_digest_decides_over_the_tag() {
    let digest: Digest = SHA256.parse().unwrap();
    for (text, expected) in [
        ("app:1@", Selector::Digest(digest)),
        ("app@", Selector::Digest(digest)),
        ("app:1", Selector::Tag("1".parse().unwrap())),
        ("app", Selector::Tag(Tag::latest())),
    ] {
        assert_eq!(with_digest(text).parse::<Reference>().unwrap().selector(), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn references_print_as_they_parse(reference in strategies::reference()) {
        prop_assert_eq!(reference.to_string().parse(), Ok(reference));
    }

    #[test]
    fn any_text_parses_to_what_it_prints_or_is_refused(
        text in prop_oneof![".*", "[-a-zA-Z0-9._:/@\\[\\]]{0,30}", "[A-Za-z]{1,3}(/[a-zA-Z.:]{1,5}){0,3}(:[a-z0-9]+)?"]
    ) {
        match text.parse::<Reference>() {
            Ok(reference) => prop_assert_eq!(reference.to_string().parse(), Ok(reference)),
            Err(error) => prop_assert!(error.to_string().len() < 1000),
        }
    }
}
