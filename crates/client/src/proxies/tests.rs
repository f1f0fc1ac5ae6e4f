//! Which proxy is asked for whom.

use super::*;

/// The proxy on the way to `url` in an environment.
fn way(variables: &[(&str, &str)], url: &str) -> Option<String> {
    from(variables).unwrap().on_the_way(&url.parse().unwrap()).map(ToString::to_string)
}

fn from(variables: &[(&str, &str)]) -> Result<Proxies> {
    Proxies::from_env(|name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    })
}

#[test]
fn each_scheme_has_its_proxy() {
    let both = [("HTTP_PROXY", "http://a:1"), ("HTTPS_PROXY", "b:2")];
    assert_eq!(way(&both, "http://r.io/").as_deref(), Some("http://a:1/"));
    assert_eq!(way(&both, "https://r.io/").as_deref(), Some("http://b:2/"));
    assert_eq!(way(&[("HTTP_PROXY", "http://a:1")], "https://r.io/"), None);
    let all = [("ALL_PROXY", "http://c:3"), ("https_proxy", "http://b:2")];
    assert_eq!(way(&all, "http://r.io/").as_deref(), Some("http://c:3/"));
    assert_eq!(way(&all, "https://r.io/").as_deref(), Some("http://b:2/"));
}

#[test]
fn lower_case_goes_first_and_empty_is_none() {
    let both = [("HTTP_PROXY", "http://a:1"), ("http_proxy", "http://b:2")];
    assert_eq!(way(&both, "http://r.io/").as_deref(), Some("http://b:2/"));
    assert_eq!(
        way(&[("HTTP_PROXY", "http://a:1"), ("http_proxy", " ")], "http://r.io/").as_deref(),
        Some("http://a:1/")
    );
    assert_eq!(way(&[("HTTP_PROXY", "")], "http://r.io/"), None);
}

#[test]
fn a_web_servers_client_cannot_set_the_proxy() {
    let upper = [("HTTP_PROXY", "http://a:1"), ("REQUEST_METHOD", "GET")];
    assert_eq!(way(&upper, "http://r.io/"), None);
    let lower = [("http_proxy", "http://a:1"), ("REQUEST_METHOD", "GET")];
    assert_eq!(way(&lower, "http://r.io/").as_deref(), Some("http://a:1/"));
}

#[test]
fn no_proxy_covers_what_it_lists() {
    let covered =
        |list: &str, url: &str| way(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", list)], url).is_none();
    for (list, url, expected) in [
        ("", "https://r.io/", false),
        ("*", "https://r.io/", true),
        ("r.io", "https://r.io/", true),
        ("r.io", "https://R.IO./", true),
        ("r.io", "https://sub.r.io/", true),
        ("r.io", "https://notr.io/", false),
        (".r.io", "https://sub.r.io/", true),
        (".r.io", "https://r.io/", false),
        ("*.r.io", "https://a.b.r.io/", true),
        ("*.r.io", "https://r.io/", false),
        ("r.io:5000", "https://r.io:5000/", true),
        ("r.io:5000", "https://r.io/", false),
        ("r.io:443", "https://r.io/", true),
        ("r.io:443", "http://r.io/", false),
        ("a.io, r.io", "https://r.io/", true),
        ("a.io r.io", "https://r.io/", true),
        ("10.1.2.3", "https://10.1.2.3/", true),
        ("10.1.2.3", "https://10.1.2.4/", false),
        ("10.1.2.3:80", "http://10.1.2.3/", true),
        ("10.1.2.3:80", "https://10.1.2.3/", false),
        ("10.0.0.0/8", "https://10.9.9.9/", true),
        ("10.0.0.0/8", "https://11.0.0.1/", false),
        ("0.0.0.0/0", "https://8.8.8.8/", true),
        ("0.0.0.0/0", "https://r.io/", false),
        ("fd00::/8", "https://[fd12::1]:5000/", true),
        ("fd00::/8", "https://[fe00::1]/", false),
        ("::ffff:10.1.2.3", "https://10.1.2.3/", true),
        ("[fd00::1]:5000", "https://[fd00::1]:5000/", true),
        ("[fd00::1]:5000", "https://[fd00::1]/", false),
        ("fd00::1", "https://[fd00::1]:7/", true),
        ("10.0.0.0/33", "https://10.0.0.1/", false),
    ] {
        assert_eq!(covered(list, url), expected, "`{list}` and {url}");
    }
}

#[test]
fn this_machine_is_asked_directly_unless_a_proxy_is_set_for_it() {
    for url in ["http://localhost:5000/", "http://127.0.0.9/", "http://[::1]:5000/", "http://a.localhost/"] {
        assert_eq!(way(&[("ALL_PROXY", "http://p:1")], url), None, "{url}");
        let set = Proxies::always("http://p:1").unwrap();
        assert_eq!(set.on_the_way(&url.parse().unwrap()).map(Url::as_str), Some("http://p:1/"), "{url}");
    }
}

#[test]
fn s23_a_proxy_that_is_none_is_an_error_without_its_value() {
    for value in ["http://", "socks5://p:1", "http://user:hunter2@[", "ftp://p"] {
        let error = from(&[("HTTPS_PROXY", value)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`HTTPS_PROXY`: its value is not the URL of an HTTP proxy such as `http://host:3128`",
            "{value}"
        );
    }
}

#[test]
fn a_password_is_not_shown() {
    let proxies = Proxies::always("http://user:hunter2@p:1").unwrap();
    assert!(!format!("{proxies:?}").contains("hunter2"));
}
