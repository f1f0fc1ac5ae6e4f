//! Entries of credential files: which one covers a repository, and what is in it.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn find(
    document: &serde_json::Value,
    registry: &str,
    name: Option<&str>,
) -> Result<Option<Credential>, Flaw> {
    let name = name.map(|name| name.parse().unwrap());
    AuthFile::parse(&document.to_string())?.credential(&registry.parse().unwrap(), name.as_ref())
}

#[expect(clippy::unnecessary_wraps, reason = "as the results have it that are compared with it")]
fn basic(username: &str, password: &str) -> Option<Credential> {
    Some(Credential::Basic { username: username.to_owned(), password: Secret::new(password) })
}

/// An entry for a user whose password is "p".
fn entry(username: &str) -> serde_json::Value {
    json!({ "auth": encode(username, "p") })
}

#[test]
fn credentials_are_read_in_every_form() {
    for (entry, expected) in [
        (json!({ "auth": "YWxpY2U6czplY3JldA==" }), basic("alice", "s:ecret")),
        (json!({ "auth": "YWxpY2U6czplY3JldA" }), basic("alice", "s:ecret")),
        (json!({ "auth": "YWxpY2U6\nczplY3JldA==\n" }), basic("alice", "s:ecret")),
        // Old versions of Docker padded passwords.
        (json!({ "auth": encode("alice", "secret\0\0") }), basic("alice", "secret")),
        (json!({ "auth": encode("alice", "") }), basic("alice", "")),
        (json!({ "username": "alice", "password": "secret", "email": "a@b.c" }), basic("alice", "secret")),
        // As in Docker, what is in base64 counts more.
        (
            json!({ "auth": encode("alice", "new"), "username": "alice", "password": "old" }),
            basic("alice", "new"),
        ),
        (
            json!({ "auth": encode("00000000-0000-0000-0000-000000000000", ""), "identitytoken": "refresh" }),
            Some(Credential::IdentityToken {
                username: "00000000-0000-0000-0000-000000000000".to_owned(),
                token: Secret::new("refresh"),
            }),
        ),
        (
            json!({ "identitytoken": "refresh" }),
            Some(Credential::IdentityToken { username: String::new(), token: Secret::new("refresh") }),
        ),
        (
            json!({ "auth": encode("alice", "p"), "registrytoken": "bearer" }),
            Some(Credential::RegistryToken(Secret::new("bearer"))),
        ),
        (json!({}), None),
        (json!(null), None),
        (json!({ "auth": "", "email": "a@b.c" }), None),
        (json!({ "auth": null, "username": "", "password": "" }), None),
    ] {
        let document = json!({ "auths": { "r.io": entry } });
        assert_eq!(find(&document, "r.io", None), Ok(expected), "{document}");
    }
}

#[test]
fn s23_entries_that_make_no_sense_are_errors() {
    for (entry, expected) in [
        (json!({ "auth": "!" }), "`auths.r.io.auth` is not base64"),
        (json!({ "auth": "YWxpY2U=" }), "`auths.r.io.auth` is not `user:password` in base64"),
        (json!({ "auth": "OnNlY3JldA==" }), "`auths.r.io.auth` is not `user:password` in base64"),
        (json!({ "auth": "/zp4" }), "`auths.r.io.auth` is not UTF-8 in base64"),
        (json!({ "auth": 7 }), "`auths.r.io.auth` is not a text"),
        (json!({ "Auth": "YWxpY2U6cA==" }), "`auths.r.io.Auth` has to be written `auth`"),
        (json!({ "username": "alice" }), "`auths.r.io.password` is missing"),
        (json!({ "password": "secret" }), "`auths.r.io.username` is missing"),
        (json!("YWxpY2U6cA=="), "`auths.r.io` is not a JSON object"),
    ] {
        let document = json!({ "auths": { "r.io": entry } });
        assert_eq!(find(&document, "r.io", None), Err(Flaw(expected.to_owned())), "{document}");
    }
}

#[test]
fn an_entry_that_is_broken_hinders_no_other() {
    let document = json!({ "auths": { "broken.io": { "auth": "!" }, "r.io": entry("alice") } });
    assert_eq!(find(&document, "r.io", None), Ok(basic("alice", "p")));
}

#[test]
fn the_longest_key_that_covers_a_repository_wins() {
    let document = json!({ "auths": {
        "r.io": entry("all"),
        "r.io/team": entry("team"),
        "r.io/team/app": entry("app"),
        "r.io/empty": {},
        "other.io/team": entry("other"),
    } });
    for (name, expected) in [
        (None, "all"),
        (Some("lib"), "all"),
        (Some("team"), "team"),
        (Some("team/lib"), "team"),
        (Some("team/app"), "app"),
        (Some("team/app/sub"), "app"),
        (Some("team/application"), "team"),
        (Some("teams/app"), "all"),
        (Some("empty/app"), "all"),
    ] {
        assert_eq!(find(&document, "r.io", name), Ok(basic(expected, "p")), "{name:?}");
    }
    assert_eq!(find(&document, "other.io", None), Ok(None));
    let file = AuthFile::parse(&document.to_string()).unwrap();
    assert!(file.tells_repositories_apart(&"other.io".parse().unwrap()));
    assert!(!file.tells_repositories_apart(&"third.io".parse().unwrap()));
}

#[test]
fn docker_hub_is_found_under_all_of_its_names() {
    for key in [
        "https://index.docker.io/v1/",
        "https://index.docker.io/v1",
        "index.docker.io",
        "docker.io",
        "registry-1.docker.io",
        "https://registry-1.docker.io/v2/",
        "docker.io/library",
        "docker.io/library/alpine",
    ] {
        let document = json!({ "auths": { key: entry("alice") } });
        assert_eq!(find(&document, "docker.io", Some("library/alpine")), Ok(basic("alice", "p")), "{key}");
    }
}

#[test]
fn of_two_spellings_dockers_own_counts() {
    let document = json!({ "auths": {
        "docker.io": entry("second"), "https://index.docker.io/v1/": entry("first"),
        "https://r.io/v2/": entry("second"), "r.io": entry("first"),
        "http://s.io": entry("first"), "https://s.io": entry("second"),
    } });
    for registry in ["docker.io", "r.io", "s.io"] {
        assert_eq!(find(&document, registry, None), Ok(basic("first", "p")), "{registry}");
    }
    let file = AuthFile::parse(&document.to_string()).unwrap();
    assert_eq!(file.keys_of(&Registry::docker_hub()), ["https://index.docker.io/v1/", "docker.io"]);
}

#[test]
fn helpers_are_asked_by_the_names_that_they_know() {
    let document = json!({
        "credHelpers": { "docker.io": "hub", "https://r.io": "r", "[::1]:5000": "six", "gone.io": "", "oneword": "x" },
        "credsStore": "all",
    });
    let file = AuthFile::parse(&document.to_string()).unwrap();
    let asked = |registry: &str| {
        let registry = registry.parse().unwrap();
        file.helpers(&registry)
            .map(|asked| format!("{} {}", asked.helper, asked.names.join(" ")))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        asked("docker.io"),
        [
            "docker-credential-hub https://index.docker.io/v1/ docker.io",
            "docker-credential-all https://index.docker.io/v1/"
        ]
    );
    assert_eq!(asked("r.io"), ["docker-credential-r r.io https://r.io", "docker-credential-all r.io"]);
    assert_eq!(asked("[::1]:5000"), ["docker-credential-six [::1]:5000", "docker-credential-all [::1]:5000"]);
    assert_eq!(asked("gone.io"), ["docker-credential-all gone.io"]);
}

#[test]
fn s22_a_helper_has_a_name_and_no_path() {
    for name in ["../evil", "a/b", "a b", "a;b", "$(x)", "a\n", "ä", "a\0", &"a".repeat(129)] {
        let reason = "is not the name of a credential helper: those have letters, digits, `.`, `_` and `-`";
        let document = json!({ "credsStore": name });
        let flaw = AuthFile::parse(&document.to_string()).unwrap_err();
        assert_eq!(flaw, Flaw(format!("`credsStore` {reason}")), "{name}");
        let document = json!({ "credHelpers": { "r.io": name } });
        let flaw = AuthFile::parse(&document.to_string()).unwrap_err();
        assert_eq!(flaw, Flaw(format!("`credHelpers.r.io` {reason}")), "{name}");
    }
    for name in ["desktop", "ecr-login", "osxkeychain", "gcr_2.0", "A"] {
        assert!(AuthFile::parse(&json!({ "credsStore": name }).to_string()).is_ok(), "{name}");
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(username in "[^:\0]{1,20}", password in "[^\0]{0,20}") {
        let decoded = decode(&encode(&username, &password));
        prop_assert_eq!(decoded, Ok((username, Secret::new(password))));
    }

    #[test]
    fn any_auth_is_decoded_or_refused(auth in prop_oneof![".*", "[A-Za-z0-9+/=]{0,40}"]) {
        if let Ok((username, password)) = decode(&auth) {
            prop_assert_eq!(decode(&encode(&username, password.expose())), Ok((username, password)));
        }
    }

    #[test]
    fn any_document_is_read_or_refused(text in prop_oneof![".*", r#"(\{|\}|"auths"|"a\.io"|:|,|"auth"|null|\[|\]|1){0,12}"#]) {
        let _ = AuthFile::parse(&text);
    }
}
