//! Tokens are found while they last, by those who may use them.

use super::*;
use crate::credentials::Secret;

fn key(realm: &str, scopes: &str, user: Option<&str>) -> TokenKey {
    TokenKey {
        realm: realm.to_owned(),
        service: None,
        scopes: Scopes::from_challenge(scopes),
        credential: user.map(credential),
    }
}

fn credential(user: &str) -> Credential {
    Credential::Basic { username: user.to_owned(), password: Secret::new("p") }
}

fn issued(token: &'static str, seconds: u64) -> Issued {
    Issued { header: HeaderValue::from_static(token), lifetime: Duration::from_secs(seconds) }
}

#[test]
fn a_token_is_given_up_shortly_before_its_end() {
    for (lifetime, expected) in [(60, 54), (300, 270), (3600, 3570), (10, 9), (43_200, 43_170)] {
        let start = Instant::now();
        let mut cache = TokenCache::default();
        let key = key("t", "repository:a:pull", None);
        cache.put(key.clone(), &issued("x", lifetime), start);
        let at = |seconds: u64| cache.get(&key, start + Duration::from_secs(seconds)).is_some();
        assert!(at(expected - 1), "{lifetime}");
        assert!(!at(expected), "{lifetime}");
    }
}

#[test]
fn a_token_serves_whom_it_was_issued_to_for_what_it_allows() {
    let now = Instant::now();
    let mut cache = TokenCache::default();
    cache.put(key("t", "repository:a:pull,push", Some("alice")), &issued("alice", 60), now);
    cache.put(key("t", "repository:a:pull", None), &issued("nobody", 60), now);
    let find = |user: Option<&str>, scopes: &str| {
        let credential = user.map(credential);
        let found = cache.find(credential.as_ref(), &Scopes::from_challenge(scopes), now);
        found.map(|header| header.to_str().unwrap().to_owned())
    };
    for (user, scopes, expected) in [
        (Some("alice"), "repository:a:pull", Some("alice")),
        (Some("alice"), "repository:a:pull,push", Some("alice")),
        (Some("alice"), "", Some("alice")),
        (Some("alice"), "repository:a:delete", None),
        (Some("alice"), "repository:b:pull", None),
        (None, "repository:a:pull", Some("nobody")),
        (None, "repository:a:push", None),
        (Some("bob"), "repository:a:pull", None),
    ] {
        assert_eq!(find(user, scopes).as_deref(), expected, "{user:?} {scopes}");
    }
    assert!(cache.get(&key("t", "repository:a:push", Some("alice")), now).is_some());
    assert!(cache.get(&key("other", "repository:a:push", Some("alice")), now).is_none());
}

#[test]
fn of_several_tokens_the_one_that_lasts_longest_is_used() {
    let now = Instant::now();
    let mut cache = TokenCache::default();
    cache.put(key("t", "repository:a:pull", None), &issued("short", 60), now);
    cache.put(key("t", "repository:a:pull,push", None), &issued("long", 600), now);
    let wanted = key("t", "repository:a:pull", None);
    assert_eq!(cache.get(&wanted, now).unwrap(), "long");
    cache.remove(&HeaderValue::from_static("long"));
    assert_eq!(cache.get(&wanted, now).unwrap(), "short");
    cache.remove(&HeaderValue::from_static("short"));
    assert_eq!(cache.get(&wanted, now), None);
}

#[test]
fn no_more_tokens_are_kept_than_are_useful() {
    let now = Instant::now();
    let mut cache = TokenCache::default();
    for number in 0..2 * KEPT {
        let lifetime = 60 + number as u64;
        cache.put(key("t", &format!("repository:r{number}:pull"), None), &issued("x", lifetime), now);
    }
    assert_eq!(cache.tokens.len(), KEPT);
    assert!(cache.get(&key("t", "repository:r0:pull", None), now).is_none());
    assert!(cache.get(&key("t", &format!("repository:r{}:pull", 2 * KEPT - 1), None), now).is_some());
    // Expired ones go first.
    cache.put(key("t", "repository:new:pull", None), &issued("x", 60), now + Duration::from_hours(1));
    assert_eq!(cache.tokens.len(), 1);
}
