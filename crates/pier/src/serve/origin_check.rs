//! Refusing what another site's page makes a browser send.
//!
//! A page may send a POST to any server without asking, as long as it looks like a form; it cannot read the answer,
//! but the server would have stored what came. The page's site is in what browsers add: `Sec-Fetch-Site`, and `Origin`
//! from those that know no better. Neither is sent by any other client. This holds on every address that is listened
//! on: a registry that a page cannot reach itself, its reader's browser may.

use http::{HeaderMap, HeaderName, Request, header, uri::Authority};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request would change something for a page of another site.
pub(crate) fn is_foreign_write<B>(request: &Request<B>) -> bool {
    if request.method().is_safe() {
        return false;
    }
    let headers = request.headers();
    // No page can set this header, and proxies in front leave it as it is, while they may change `Host`.
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    // A browser says `null` instead of an origin that is nobody's business.
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let host = request.uri().authority().map(Authority::as_str).or_else(|| host(headers));
    match (origin, host) {
        (Some(origin), Some(host)) => !origin.eq_ignore_ascii_case(host),
        _ => true,
    }
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(method: &str, headers: &[(&str, &str)]) -> bool {
        let request = Request::builder().method(method).uri("/v2/").header("host", "127.0.0.1:5000");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        is_foreign_write(&request.body(()).unwrap())
    }

    #[test]
    fn writes_for_other_sites_are_refused() {
        for (headers, refused) in [
            (&[][..], false),
            (&[("origin", "http://127.0.0.1:5000")], false),
            (&[("origin", "http://evil.example")], true),
            (&[("origin", "http://127.0.0.1:8080")], true),
            (&[("origin", "null")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://registry.example")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:5000")], true),
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                assert_eq!(is_refused(method, headers), refused, "{method} {headers:?}");
            }
            assert!(!is_refused("GET", headers) && !is_refused("HEAD", headers), "{headers:?}");
        }
    }

    #[test]
    fn over_http_2_the_host_is_in_the_target() {
        let request = |origin: &str| {
            let request = Request::post("http://127.0.0.1:5000/v2/").header("origin", origin);
            is_foreign_write(&request.body(()).unwrap())
        };
        assert!(!request("http://127.0.0.1:5000"));
        assert!(request("http://evil.example"));
    }
}
