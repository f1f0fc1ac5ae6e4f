//! Where a registry's answers may lead its clients.
//!
//! A registry names token servers, storage hosts and upload locations, and a client that follows blindly can be made to talk to machines
//! that only it can reach: the metadata service of a cloud, a database on loopback. So such an address has to be as public as the
//! registry's own, or more so; names are held against it after they were looked up, so that no name can stand for another address.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use pier_content::{Error, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::proxies::Proxies;

/// How far away a registry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Anywhere.
    Public,
    /// In a private network.
    Private,
    /// On this machine.
    Loopback,
}

impl Reach {
    /// The reach of a host, by its most public address: whoever owns a name can give it one of this machine beside its own, and nothing
    /// near is to be reached for that. A name that cannot be looked up, as behind a proxy, is public too.
    pub(crate) async fn of(host: &str, port: u16) -> Self {
        match tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await {
            Ok(addresses) => Self::of_addresses(addresses.map(|address| address.ip())),
            Err(_) => Self::Public,
        }
    }

    fn of_addresses(addresses: impl Iterator<Item = IpAddr>) -> Self {
        addresses.filter_map(reach).min().unwrap_or(Self::Public)
    }

    /// Whether a client of a registry with this reach may go to `address` on the registry's word.
    fn admits(self, address: IpAddr) -> bool {
        reach(address).is_some_and(|reach| reach <= self)
    }

    /// Checks where an answer leads, as far as the URL tells: its scheme, and its host when that is an address.
    pub(crate) fn check(self, base: &Url, target: &Url, origin: &str) -> Result<()> {
        let refuse = |reason: String| Err(Error::Untrusted { origin: origin.to_owned(), reason });
        match (base.scheme(), target.scheme()) {
            (_, "https") | ("http", "http") => {}
            ("https", "http") => {
                return refuse(format!("it leads from HTTPS to plain HTTP, to `{}`", host_of(target)));
            }
            (_, scheme) => return refuse(format!("it leads to a URL of scheme `{scheme}`")),
        }
        if !target.username().is_empty() || target.password().is_some() {
            return refuse("it leads to a URL with credentials in it".to_owned());
        }
        if same_host(base, target) {
            return Ok(());
        }
        let address = match target.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) => return Ok(()),
            None => return refuse("it leads to a URL without a host".to_owned()),
        };
        if self.admits(address) { Ok(()) } else { refuse(Forbidden { address }.to_string()) }
    }
}

/// Whether two URLs have the same scheme, host and port. Credentials go nowhere else.
pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// Whether two URLs name the same machine.
fn same_host(one: &Url, other: &Url) -> bool {
    one.host() == other.host()
}

/// The host and port of a URL, for people: paths and queries of presigned URLs are secrets.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("nowhere");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An address that a registry's answer must not lead to.
#[derive(Debug)]
pub(super) struct Forbidden {
    address: IpAddr,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it leads to `{}`, an address of this machine or network", self.address)
    }
}

impl std::error::Error for Forbidden {}

/// Looks names up and leaves out addresses that are out of bounds, unless they are those of a proxy, which was set by us.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    reach: Reach,
    proxies: Proxies,
}

impl Resolver {
    pub(super) fn new(reach: Reach, proxies: Proxies) -> Arc<Self> {
        Arc::new(Self { reach, proxies })
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach;
        let by_us = self.proxies.is_proxy(name.as_str());
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let admitted: Vec<SocketAddr> =
                found.iter().copied().filter(|address| by_us || reach.admits(address.ip())).collect();
            match found.first() {
                Some(address) if admitted.is_empty() => Err(Forbidden { address: address.ip() }.into()),
                Some(_) => Ok(Box::new(admitted.into_iter()) as Addrs),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into()),
            }
        })
    }
}

/// How public an address is; `None` for those that no server has, such as a link's own or a group's.
fn reach(address: IpAddr) -> Option<Reach> {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(address) => reach_v4(address),
            None => reach_v6(address),
        },
    }
}

fn reach_v4(address: Ipv4Addr) -> Option<Reach> {
    let [a, b, ..] = address.octets();
    // Carriers' and clusters' own network (RFC 6598).
    let shared = a == 100 && (64..128).contains(&b);
    // "This network", and what was reserved for later.
    let nobody = a == 0 || a >= 240;
    if nobody || address.is_link_local() || address.is_multicast() {
        None
    } else if address.is_loopback() {
        Some(Reach::Loopback)
    } else if address.is_private() || shared {
        Some(Reach::Private)
    } else {
        Some(Reach::Public)
    }
}

fn reach_v6(address: Ipv6Addr) -> Option<Reach> {
    if address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local() {
        None
    } else if address.is_loopback() {
        Some(Reach::Loopback)
    } else if address.is_unique_local() {
        Some(Reach::Private)
    } else {
        Some(Reach::Public)
    }
}

/// The IPv4 address that stands in an IPv6 one: mapped, behind NAT64 (RFC 6052), or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let at = |index: usize| {
        let [a, b] = segments[index].to_be_bytes();
        let [c, d] = segments[index + 1].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(at(6)),
        [0x2002, ..] => Some(at(1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_public_as_they_are() {
        for (text, expected) in [
            ("8.8.8.8", Some(Reach::Public)),
            ("10.1.2.3", Some(Reach::Private)),
            ("172.31.0.1", Some(Reach::Private)),
            ("192.168.0.1", Some(Reach::Private)),
            ("100.64.0.1", Some(Reach::Private)),
            ("100.128.0.1", Some(Reach::Public)),
            ("127.9.9.9", Some(Reach::Loopback)),
            ("169.254.169.254", None),
            ("0.0.0.0", None),
            ("224.0.0.1", None),
            ("255.255.255.255", None),
            ("2001:4860:4860::8888", Some(Reach::Public)),
            ("::1", Some(Reach::Loopback)),
            ("::", None),
            ("fe80::1", None),
            ("fd00:ec2::254", Some(Reach::Private)),
            ("::ffff:127.0.0.1", Some(Reach::Loopback)),
            ("::ffff:169.254.169.254", None),
            ("64:ff9b::a9fe:a9fe", None),
            ("2002:7f00:1::", Some(Reach::Loopback)),
        ] {
            assert_eq!(reach(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn s3_a_host_is_as_far_away_as_the_most_public_of_its_addresses() {
        for (addresses, expected) in [
            (&["1.2.3.4", "127.0.0.1"][..], Reach::Public),
            (&["127.0.0.1", "1.2.3.4"], Reach::Public),
            (&["10.0.0.1", "127.0.0.1"], Reach::Private),
            (&["127.0.0.1", "::1"], Reach::Loopback),
            (&["169.254.169.254", "10.0.0.1"], Reach::Private),
            (&["169.254.169.254"], Reach::Public),
            (&[], Reach::Public),
        ] {
            let found = Reach::of_addresses(addresses.iter().map(|address| address.parse().unwrap()));
            assert_eq!(found, expected, "{addresses:?}");
        }
    }

    #[test]
    fn s2_s3_an_answer_may_lead_only_where_it_is_as_public_and_as_secret() {
        let check = |reach: Reach, base: &str, target: &str| {
            reach.check(&base.parse().unwrap(), &target.parse().unwrap(), "r").is_ok()
        };
        for (reach, base, target, allowed) in [
            (Reach::Public, "https://r.io/", "https://cdn.io/x", true),
            (Reach::Public, "https://r.io/", "http://cdn.io/x", false),
            (Reach::Public, "https://r.io/", "http://r.io/x", false),
            (Reach::Public, "http://r.io/", "http://cdn.io/x", true),
            (Reach::Public, "https://r.io/", "https://169.254.169.254/latest/meta-data", false),
            (Reach::Public, "https://r.io/", "https://127.0.0.1/x", false),
            (Reach::Public, "https://r.io/", "https://[::ffff:10.0.0.1]/x", false),
            (Reach::Private, "https://10.0.0.1/", "https://10.0.0.2/x", true),
            (Reach::Private, "https://10.0.0.1/", "https://127.0.0.1/x", false),
            (Reach::Loopback, "http://127.0.0.1:5000/", "http://127.0.0.1:6000/x", true),
            (Reach::Loopback, "http://127.0.0.1:5000/", "http://169.254.169.254/x", false),
            (Reach::Public, "https://r.io/", "file:///etc/passwd", false),
            (Reach::Public, "https://r.io/", "https://user:secret@cdn.io/x", false),
        ] {
            assert_eq!(check(reach, base, target), allowed, "{reach:?} {base} {target}");
        }
    }

    #[tokio::test]
    async fn s3_a_name_that_stands_for_this_machine_is_held_against_its_address() {
        let resolver = Resolver { reach: Reach::Public, proxies: Proxies::none() };
        let resolved = resolver.resolve("localhost".parse().unwrap()).await;
        let error = resolved.map(Iterator::count).unwrap_err();
        assert!(error.is::<Forbidden>(), "{error}");
        let resolver = Resolver { reach: Reach::Loopback, proxies: Proxies::none() };
        assert!(resolver.resolve("localhost".parse().unwrap()).await.unwrap().count() > 0);
        let proxies = Proxies::always("http://localhost:3128").unwrap();
        let resolver = Resolver { reach: Reach::Public, proxies };
        assert!(resolver.resolve("localhost".parse().unwrap()).await.unwrap().count() > 0);
    }
}
