//! Refusing what a browser was tricked into asking.
//!
//! A web page can point its own name at 127.0.0.1 and then talk to any server there (DNS rebinding). Its requests
//! carry the page's name in `Host`. So a server that listens on a loopback address answers only to names that
//! mean this machine.
//!
//! A server that asks for what such a page cannot have needs none of this: over TLS the browser finds that the certificate is not of the
//! page's name, and where everybody has to log in the page has no password.

use std::net::{IpAddr, SocketAddr};

use http::{Request, header, uri::Authority};

/// Which `Host` headers are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostCheck {
    /// Only names of this machine.
    Loopback,
    /// Any: other machines know this one by names that nobody here knows.
    Off,
}

impl HostCheck {
    /// What suits a server that talks to everybody who connects to this address.
    pub(crate) fn of(address: SocketAddr) -> Self {
        if address.ip().is_loopback() { Self::Loopback } else { Self::Off }
    }

    /// Whether to answer.
    pub(crate) fn allows<B>(self, request: &Request<B>) -> bool {
        if self == Self::Off {
            return true;
        }
        // HTTP/2 has the name in the request's target, and HTTP/1.0 may have none, which no browser sends.
        match (request.uri().authority(), request.headers().get(header::HOST)) {
            (Some(authority), _) => is_local(authority.host()),
            (None, Some(host)) => host.to_str().is_ok_and(|host| {
                // As nearly every client writes it, which every request pays for.
                host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
                    || host.parse::<Authority>().is_ok_and(|host| is_local(host.host()))
            }),
            (None, None) => true,
        }
    }
}

fn is_local(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered_on_loopback() {
        for (host, allowed) in [
            ("127.0.0.1:5000", true),
            ("127.8.9.1", true),
            ("localhost:5000", true),
            ("LOCALHOST", true),
            ("registry.localhost:5000", true),
            ("[::1]:5000", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:5000", false),
            ("10.0.0.1:5000", false),
            ("", false),
        ] {
            let request = Request::builder().header(header::HOST, host).body(()).unwrap();
            assert_eq!(HostCheck::Loopback.allows(&request), allowed, "{host}");
            assert!(HostCheck::Off.allows(&request));
        }
    }
}
