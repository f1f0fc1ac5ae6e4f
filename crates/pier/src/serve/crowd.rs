//! Connections of one host: how many there are, and that there are not too many.
//!
//! A host is an address, or a network of IPv6, of which a host has as many addresses as it likes. Loopback is not counted: behind it is a
//! proxy on this machine, which is everybody.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use super::access::network;

/// The connections of each host.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    max: usize,
    seats: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection. Ends when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    crowd: Crowd,
    /// `None` for what is not counted.
    host: Option<IpAddr>,
}

impl Crowd {
    pub(super) fn new(max: usize) -> Self {
        Self { max, seats: Arc::default() }
    }

    /// Takes a seat, if the host has not all of its own.
    pub(super) fn enter(&self, from: IpAddr) -> Option<Seat> {
        let crowd = self.clone();
        let Some(host) = host(from) else { return Some(Seat { crowd, host: None }) };
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seats.entry(host).or_default();
        if *taken >= self.max {
            return None;
        }
        *taken += 1;
        Some(Seat { crowd, host: Some(host) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(host) = self.host else { return };
        let mut seats = self.crowd.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = seats.get_mut(&host) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&host);
            }
        }
    }
}

/// Whose address it is; `None` for what is not counted.
pub(super) fn host(address: IpAddr) -> Option<IpAddr> {
    if address.to_canonical().is_loopback() { None } else { Some(network(address)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_so_many_seats_and_gets_them_back() {
        let crowd = Crowd::new(2);
        let enter = |address: &str| crowd.enter(address.parse().unwrap());
        let first = enter("203.0.113.7");
        let _second = enter("::ffff:203.0.113.7").unwrap();
        assert!(first.is_some() && enter("203.0.113.7").is_none());
        let _other = enter("203.0.113.8").unwrap();
        drop(first);
        let third = enter("203.0.113.7");
        assert!(third.is_some() && enter("203.0.113.7").is_none());
        // The addresses of one network of IPv6 are one host's.
        let _network = [enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap()];
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
    }

    #[test]
    fn loopback_is_not_counted_and_nothing_is_kept_of_who_is_gone() {
        let crowd = Crowd::new(1);
        let seats: Vec<_> = (0..3).map(|_| crowd.enter("127.0.0.1".parse().unwrap()).unwrap()).collect();
        drop(seats);
        drop(crowd.enter("203.0.113.7".parse().unwrap()));
        assert!(crowd.seats.lock().unwrap().is_empty());
    }
}
