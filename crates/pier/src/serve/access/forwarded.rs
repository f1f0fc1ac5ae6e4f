//! Whose guesses are counted when a proxy on this machine stands in between.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address to count guesses under, and fit for nothing else: who may do what never depends on a header that anybody can write.
///
/// Behind a proxy on loopback everybody would be one guesser, and anybody could lock anybody out. So what such a proxy says of its client
/// counts: the last address, which it has added itself; what comes before may be the client's own invention. Headers from elsewhere are
/// not looked at.
pub(super) fn guesser_address(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    if peer.to_canonical().is_loopback() { last_address(headers).unwrap_or(peer) } else { peer }
}

fn last_address(headers: &HeaderMap) -> Option<IpAddr> {
    let last_line = headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
    let (_, last) = last_line.rsplit_once(',').unwrap_or(("", last_line));
    let last = last.trim();
    // Some proxies add the port, and brackets around IPv6.
    let with_port = || last.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || last.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    last.parse().ok().or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(peer: &str, lines: &[&str], expected: &str) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let address = guesser_address(peer.parse().unwrap(), &headers);
        assert_eq!(address, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
    }

    #[test]
    fn a_proxy_on_loopback_names_its_client_and_nobody_else_does() {
        check("127.0.0.1", &[], "127.0.0.1");
        check("127.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("::ffff:127.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("::1", &["2001:db8::7"], "2001:db8::7");
        check("203.0.113.9", &["203.0.113.7"], "203.0.113.9");
        check("10.0.0.1", &["203.0.113.7"], "10.0.0.1");
    }

    #[test]
    fn the_last_address_is_the_proxys_word_and_the_others_are_the_clients() {
        check("127.0.0.1", &["198.51.100.1, 203.0.113.7"], "203.0.113.7");
        check("127.0.0.1", &["198.51.100.1", "198.51.100.2,203.0.113.7"], "203.0.113.7");
        check("127.0.0.1", &["203.0.113.7:4711"], "203.0.113.7");
        check("127.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7");
        check("127.0.0.1", &["[2001:db8::7]"], "2001:db8::7");
        for unreadable in ["203.0.113.7, unknown", "", "203.0.113.7,", "_hidden"] {
            check("127.0.0.1", &[unreadable], "127.0.0.1");
        }
    }
}
