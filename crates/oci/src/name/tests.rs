//! Spellings of registries, repositories and tags, and of what comes close.

use proptest::prelude::*;

use super::*;
use crate::{Algorithm, strategies};

fn check_registry(text: &str, expected: &str) {
    let registry: Registry = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(registry.as_str(), expected, "{text}");
    assert_eq!(registry.to_string().parse(), Ok(registry), "{text}");
}

#[test]
fn a_registry_has_one_spelling() {
    for (text, expected) in [
        ("ghcr.io", "ghcr.io"),
        ("GHCR.io", "ghcr.io"),
        ("localhost", "localhost"),
        ("LocalHost:5000", "localhost:5000"),
        ("host:5000", "host:5000"),
        ("host:05000", "host:5000"),
        ("host:00000000000000005000", "host:5000"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("[::1]", "[::1]"),
        ("[::1]:5000", "[::1]:5000"),
        ("[0:0:0:0:0:0:0:1]:05000", "[::1]:5000"),
        ("[2001:DB8::0001]", "[2001:db8::1]"),
        ("[::FFFF:127.0.0.1]", "[::ffff:127.0.0.1]"),
        ("a--b.c-d.e", "a--b.c-d.e"),
        ("docker.io", "docker.io"),
        ("Index.Docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("registry.hub.docker.com", "docker.io"),
        ("docker.io:443", "docker.io:443"),
    ] {
        check_registry(text, expected);
    }
}

#[test]
fn host_and_port_are_told_apart() {
    for (text, host, port) in [
        ("ghcr.io", "ghcr.io", None),
        ("host:65535", "host", Some(65535)),
        ("[::1]", "::1", None),
        ("[2001:db8::1]:8080", "2001:db8::1", Some(8080)),
    ] {
        let registry: Registry = text.parse().unwrap();
        assert_eq!((registry.host(), registry.port()), (host, port), "{text}");
    }
}

fn refused<T: FromStr<Err = NameError> + fmt::Debug>(text: &str) -> &'static str {
    match text.parse::<T>() {
        Err(NameError::Malformed { reason, .. }) => reason,
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn what_is_no_registry_is_refused() {
    for text in
        ["host:", "host:65536", "host:0", "host:+80", "host:8o", "host:99999999999999999999", "[::1]:"]
    {
        assert_eq!(refused::<Registry>(text), "its port is not a number from 1 to 65535", "{text}");
    }
    for text in ["[]", "[::1", "[127.0.0.1]", "[::1%eth0]", "[::1]x:80", "[g::]:1", "[::1]]"] {
        assert_eq!(refused::<Registry>(text), "what is in brackets is not an IPv6 address", "{text}");
    }
    for text in [
        "a..b", ".a", "a.", "-a.b", "a-.b", "a_b.c", "a b.c", "ä.de", "a/b.c", "::1", "a:1:2", "a.b@c",
        "::1]", "a.b\n",
    ] {
        assert_eq!(
            refused::<Registry>(text),
            "its host has empty parts or characters other than letters, digits and `-`",
            "{text}"
        );
    }
    for text in ["host", "a-b", "Foo"] {
        assert_eq!(refused::<Registry>(text), ONE_WORD, "{text}");
    }
    assert_eq!("".parse::<Registry>(), Err(NameError::Empty { what: "registry" }));
    let long = format!("{}.b", "a".repeat(254));
    let too_long = NameError::TooLong { what: "registry", limit: 255, found: 256 };
    assert_eq!(long.parse::<Registry>(), Err(too_long));
    assert!(format!("{}.b", "a".repeat(253)).parse::<Registry>().is_ok());
}

#[test]
fn only_this_machine_is_loopback() {
    for (text, expected) in [
        ("localhost", true),
        ("localhost:5000", true),
        ("a.localhost", true),
        ("127.0.0.1", true),
        ("127.255.0.1:80", true),
        ("[::1]:80", true),
        ("[::ffff:127.0.0.1]:80", true),
        ("[::ffff:7f00:1]", true),
        ("[::ffff:10.0.0.1]", false),
        ("[::2]", false),
        ("10.0.0.1", false),
        ("notlocalhost.io", false),
        ("localhost.io", false),
        ("127.0.0.1.nip.io", false),
        ("docker.io", false),
    ] {
        assert_eq!(text.parse::<Registry>().unwrap().is_loopback(), expected, "{text}");
    }
}

#[test]
fn repository_names_follow_the_specification() {
    for text in
        ["a", "0", "library/alpine", "a/b/c/d", "a.b", "a_b", "a__b", "a-b", "a---b", "a.b_c__d--e/f", "0/1"]
    {
        assert_eq!(text.parse::<RepositoryName>().unwrap().as_str(), text);
    }
    for text in ["A", "a/B", "Library/alpine"] {
        assert_eq!(refused::<RepositoryName>(text), UPPER_CASE, "{text}");
    }
    for text in ["a b", "a:b", "a@b", "ä", "a\\b", "a%2fb", "a\0", "a\n", "a?b", "a+b"] {
        assert_eq!(
            refused::<RepositoryName>(text),
            "it has characters other than `a`-`z`, `0`-`9`, `.`, `_`, `-` and `/`",
            "{text}"
        );
    }
    for text in [
        ".", "..", "../a", "a/..", "a/../b", "/", "/a", "a/", "a//b", "-a", "a-", "_a", "a_", ".a", "a.",
        "a..b", "a___b", "a._b", "a-_b", "a/-b", "a_-_b",
    ] {
        assert_eq!(
            refused::<RepositoryName>(text),
            "between letters and digits there may be one `.`, `_`, `__`, or a run of `-`",
            "{text}"
        );
    }
    assert_eq!("".parse::<RepositoryName>(), Err(NameError::Empty { what: "repository name" }));
    assert!("a".repeat(255).parse::<RepositoryName>().is_ok());
    assert_eq!(
        "a".repeat(256).parse::<RepositoryName>(),
        Err(NameError::TooLong { what: "repository name", limit: 255, found: 256 })
    );
}

#[test]
fn tags_follow_the_specification() {
    for text in ["a", "A", "_", "0", "latest", "v1.2.3-rc.1", "_a.b-c_D", "a.", "a-"] {
        assert_eq!(text.parse::<Tag>().unwrap().as_str(), text);
    }
    for text in [".a", "-a", "!", "ä", "/", "\n", " a"] {
        assert_eq!(
            refused::<Tag>(text),
            "it begins with something other than a letter, a digit or `_`",
            "{text}"
        );
    }
    for text in ["t!ag", "a:b", "a/b", "a@b", "a b", "aä", "a\n", "a+b", "sha256:abc"] {
        assert_eq!(
            refused::<Tag>(text),
            "it has characters other than letters, digits, `_`, `.` and `-`",
            "{text}"
        );
    }
    assert_eq!("".parse::<Tag>(), Err(NameError::Empty { what: "tag" }));
    assert!("a".repeat(128).parse::<Tag>().is_ok());
    assert_eq!(
        "a".repeat(129).parse::<Tag>(),
        Err(NameError::TooLong { what: "tag", limit: 128, found: 129 })
    );
}

#[test]
fn a_refused_text_is_shown_short_and_without_control_characters() {
    let text = format!("a\n\u{1b}[31m{}", "b".repeat(100));
    let shown = text.parse::<Tag>().unwrap_err().to_string();
    assert!(shown.starts_with("`a\\n\\u{1b}[31mbbb"), "{shown}");
    assert!(shown.contains("b…` is not a tag"), "{shown}");
    assert!(shown.len() < 250, "{shown}");
}

#[test]
fn hints_say_what_to_write() {
    let hint = |error: NameError| error.hint();
    assert_eq!(hint("A".parse::<RepositoryName>().unwrap_err()), Some("write it in lower case"));
    assert_eq!(
        hint("a_b.c".parse::<Registry>().unwrap_err()),
        Some("a registry is a host, and a port if need be: `host:5000`")
    );
    assert_eq!(hint("".parse::<Tag>().unwrap_err()), None);
}

fn local_name(registry: &str, name: &str) -> Result<String, NameError> {
    let repository = Repository { registry: registry.parse().unwrap(), name: name.parse().unwrap() };
    repository.local_name().map(|name| name.to_string())
}

#[test]
fn local_names_tell_where_content_came_from() {
    for (registry, name, expected) in [
        ("docker.io", "library/alpine", "docker.io/library/alpine"),
        ("host:5000", "app", "host_5000/app"),
        ("host:05000", "app", "host_5000/app"),
        ("[::1]", "app", "ip6__0-0-0-0-0-0-0-1/app"),
        ("[0:0:0:0:0:0:0:1]", "app", "ip6__0-0-0-0-0-0-0-1/app"),
        ("[::1]:5000", "app", "ip6__0-0-0-0-0-0-0-1_5000/app"),
        ("[::ffff:1.2.3.4]", "app", "ip6__0-0-0-0-0-ffff-102-304/app"),
        ("ip6.0-0-0-0-0-0-0-1", "app", "ip6.0-0-0-0-0-0-0-1/app"),
    ] {
        assert_eq!(local_name(registry, name).as_deref(), Ok(expected), "{registry}/{name}");
    }
}

#[test]
fn a_local_name_that_would_be_too_long_is_refused() {
    assert!(local_name("ghcr.io", &"a".repeat(247)).is_ok());
    assert_eq!(
        local_name("ghcr.io", &"a".repeat(248)),
        Err(NameError::TooLong { what: "repository name", limit: 255, found: 256 })
    );
}

#[test]
fn a_selector_prints_what_names_the_manifest() {
    let digest = Digest::sha256(b"");
    assert_eq!(Selector::Tag(Tag::latest()).to_string(), "latest");
    assert_eq!(Selector::Digest(digest).to_string(), digest.to_string());
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused(text in prop_oneof![".*", "[-a-zA-Z0-9._:/@\\[\\]]{0,40}"]) {
        if let Ok(registry) = text.parse::<Registry>() {
            prop_assert_eq!(registry.as_str().parse(), Ok(registry.clone()));
            prop_assert!(!registry.host().is_empty());
        }
        if let Ok(name) = text.parse::<RepositoryName>() {
            prop_assert_eq!(name.as_str(), &text);
        }
        if let Ok(tag) = text.parse::<Tag>() {
            prop_assert_eq!(tag.as_str(), &text);
        }
    }

    #[test]
    fn registries_print_as_they_parse(text in strategies::registry_text()) {
        let registry: Registry = text.parse().unwrap();
        prop_assert_eq!(registry.as_str().parse(), Ok(registry.clone()));
        prop_assert_eq!(text.to_ascii_uppercase().parse(), Ok(registry));
    }

    #[test]
    fn different_repositories_have_different_local_names(
        one in (strategies::registry(), strategies::repository_name()),
        two in (strategies::registry(), strategies::repository_name()),
    ) {
        let [one, two] = [one, two].map(|(registry, name)| Repository { registry, name });
        prop_assert_eq!(one.local_name() == two.local_name(), one == two);
    }

    #[test]
    fn different_registries_have_different_local_names(
        one in strategies::registry(),
        two in strategies::registry(),
        name in strategies::repository_name(),
    ) {
        let [one, two] = [one, two].map(|registry| Repository { registry, name: name.clone() });
        prop_assert_eq!(one.local_name() == two.local_name(), one == two);
    }
}

#[test]
fn the_tag_of_referrers_is_one_for_every_algorithm() {
    for (algorithm, text) in [
        (Algorithm::Sha256, "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (Algorithm::Sha512, "sha512-cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"),
    ] {
        let tag = Tag::of_referrers(&Digest::of(algorithm, b""));
        assert_eq!(tag.as_str(), text);
        assert_eq!(text.parse(), Ok(tag));
    }
}
