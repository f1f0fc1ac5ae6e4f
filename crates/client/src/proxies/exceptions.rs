//! Who is asked without a proxy: what `NO_PROXY` says.

use std::net::IpAddr;

use url::{Host, Url};

/// The entries of a `NO_PROXY`, and this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Exceptions {
    this_machine: bool,
    everybody: bool,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    who: Who,
    /// `None` for every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Address(IpAddr),
    /// The addresses that share so many leading bits with this one.
    Network(IpAddr, u32),
    /// A host of this name and those below it; with a dot in front only those below it.
    Domain(String),
}

impl Exceptions {
    /// Nobody, not even this machine.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Reads a list with commas or white space between its entries. What is neither an address nor a network is a name: a mistyped entry
    /// covers nobody.
    pub(super) fn parse(list: &str) -> Self {
        let texts = list.split(|letter: char| letter == ',' || letter.is_whitespace());
        let mut exceptions = Self { this_machine: true, ..Self::default() };
        for text in texts.filter(|text| !text.is_empty()) {
            if text == "*" {
                exceptions.everybody = true;
            } else {
                exceptions.entries.push(Entry::parse(text));
            }
        }
        exceptions
    }

    pub(super) fn covers(&self, url: &Url) -> bool {
        if self.everybody {
            return true;
        }
        let Some(host) = url.host() else { return false };
        let (name, address) = match host {
            Host::Domain(name) => (name.trim_end_matches('.').to_ascii_lowercase(), None),
            Host::Ipv4(address) => (String::new(), Some(IpAddr::V4(address))),
            Host::Ipv6(address) => (String::new(), Some(IpAddr::V6(address).to_canonical())),
        };
        let here = match address {
            Some(address) => address.is_loopback(),
            None => name == "localhost" || name.ends_with(".localhost"),
        };
        let port = url.port_or_known_default();
        let listed = self
            .entries
            .iter()
            .any(|entry| (entry.port.is_none() || entry.port == port) && entry.who.covers(&name, address));
        self.this_machine && here || listed
    }
}

impl Entry {
    fn parse(text: &str) -> Self {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Self { who: Who::Address(address.to_canonical()), port: None };
        }
        if let Some(network) = network(text) {
            return Self { who: network, port: None };
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => (text, None),
            },
            None => (text, None),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let who = match bare.parse::<IpAddr>() {
            Ok(address) => Who::Address(address.to_canonical()),
            Err(_) => {
                let name = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
                Who::Domain(name.trim_end_matches('.').to_ascii_lowercase())
            }
        };
        Self { who, port }
    }
}

impl Who {
    fn covers(&self, name: &str, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::Address(listed), Some(address)) => *listed == address,
            (Self::Network(network, bits), Some(address)) => shares(*network, address, *bits),
            (Self::Domain(domain), None) => {
                let below = name
                    .strip_suffix(domain.as_str())
                    .is_some_and(|rest| !rest.is_empty() && (domain.starts_with('.') || rest.ends_with('.')));
                name == domain || below
            }
            _ => false,
        }
    }
}

/// `10.0.0.0/8`, `fd00::/8`.
fn network(text: &str) -> Option<Who> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some(Who::Network(address, bits))
}

fn shares(network: IpAddr, address: IpAddr, bits: u32) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            (network.to_bits() ^ address.to_bits()) & mask == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            (network.to_bits() ^ address.to_bits()) & mask == 0
        }
        _ => false,
    }
}
