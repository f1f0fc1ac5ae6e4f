//! Turns at verifying passwords: a few at once, and fewer for those who guess.
//!
//! Each verification takes a token from two buckets: that of its address and user name, and that of its address. A password that is right
//! puts them back, so whoever knows theirs never runs out. An address is a host's, or the network's of IPv6, of which a host has as many
//! addresses as it likes. Loopback has no bucket of its own: behind it is a proxy on this machine, which means everybody.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hash},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

/// Wrong passwords in a row that a user may type, and how long until there is another.
const PER_NAME: Rate = Rate { burst: 10, refill: Duration::from_secs(6) };

/// The same for an address, whatever the name.
const PER_ADDRESS: Rate = Rate { burst: 60, refill: Duration::from_secs(1) };

/// Verifications that wait for a turn.
const MAX_WAITING: usize = 512;

/// How long to come back later is, when too many wait.
const CROWDED_SECONDS: u64 = 2;

/// Buckets that are kept. Those that are full are forgotten first.
const MAX_BUCKETS: usize = 65_536;

/// Who guesses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guesser {
    /// `None` for loopback.
    network: Option<IpAddr>,
    /// A hash of address and name: the name itself is not kept.
    name: u64,
}

/// There is no turn now; there may be one in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany {
    pub(super) seconds: u64,
}

/// The turns of one server.
#[derive(Debug)]
pub(super) struct Turns {
    at_once: Arc<Semaphore>,
    waiting: Semaphore,
    names: Buckets<u64>,
    addresses: Buckets<IpAddr>,
}

impl Guesser {
    pub(super) fn new(from: IpAddr, name: &str) -> Self {
        // The same in every guesser of this process, and unknown outside of it.
        static HASHER: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);
        let network = network(from);
        Self {
            network: (!from.to_canonical().is_loopback()).then_some(network),
            name: HASHER.hash_one((network, name)),
        }
    }
}

/// What of an address is its host's own choice is left out: the last 64 bits of IPv6.
pub(in crate::serve) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Turns {
    /// As many at once as leave half of the processors to everything else.
    pub(super) fn for_this_machine() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            at_once: Arc::new(Semaphore::new((processors / 2).max(1))),
            waiting: Semaphore::new(MAX_WAITING),
            names: Buckets::new(PER_NAME),
            addresses: Buckets::new(PER_ADDRESS),
        }
    }

    /// Verifies a password when its turn comes, on a thread that may block.
    pub(super) async fn guess(
        &self,
        guesser: Guesser,
        verify: impl FnOnce() -> bool + Send + 'static,
    ) -> Result<bool, TooMany> {
        let crowded = TooMany { seconds: CROWDED_SECONDS };
        let waiting = self.waiting.try_acquire().map_err(|_| crowded)?;
        let now = Instant::now();
        self.names.take(guesser.name, now)?;
        if let Some(network) = guesser.network {
            self.addresses.take(network, now)?;
        }
        // The semaphore is never closed, and a thread that panicked has verified nothing.
        let turn = Arc::clone(&self.at_once).acquire_owned().await.map_err(|_| crowded)?;
        drop(waiting);
        // The turn ends with the work and not with the request, which may be dropped meanwhile.
        let work = move || {
            let _turn = turn;
            verify()
        };
        let is_right = tokio::task::spawn_blocking(work).await.map_err(|_| crowded)?;
        if is_right {
            self.names.put_back(guesser.name);
            if let Some(network) = guesser.network {
                self.addresses.put_back(network);
            }
        }
        Ok(is_right)
    }
}

/// How often something may be done.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    refill: Duration,
}

/// A bucket of tokens for each key, all of which begin full.
#[derive(Debug)]
struct Buckets<K> {
    rate: Rate,
    /// When each bucket will be full again, which says how many tokens are in it.
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash + Copy> Buckets<K> {
    fn new(rate: Rate) -> Self {
        Self { rate, full_at: Mutex::default() }
    }

    /// Takes a token.
    fn take(&self, key: K, now: Instant) -> Result<(), TooMany> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MAX_BUCKETS {
            full_at.retain(|_, full_at| now < *full_at);
        }
        if full_at.len() >= MAX_BUCKETS {
            return Err(TooMany { seconds: CROWDED_SECONDS });
        }
        let bucket = full_at.entry(key).or_insert(now);
        let after = now.max(*bucket) + self.rate.refill;
        let last = now + self.rate.refill * self.rate.burst;
        if after > last {
            return Err(TooMany {
                seconds: u64::try_from((after - last).as_millis().div_ceil(1000)).unwrap_or(u64::MAX),
            });
        }
        *bucket = after;
        Ok(())
    }

    /// Gives a token back.
    fn put_back(&self, key: K) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = full_at.get_mut(&key) {
            *full_at -= self.rate.refill;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, refill: Duration::from_secs(10) };
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_gives_what_is_in_it_and_fills_again() {
        let (buckets, start) = (Buckets::new(RATE), Instant::now());
        for _ in 0..3 {
            assert_eq!(buckets.take('a', start), Ok(()));
        }
        assert_eq!(buckets.take('a', start), Err(TooMany { seconds: 10 }));
        assert_eq!(buckets.take('b', start), Ok(()));
        assert_eq!(buckets.take('a', start + 9 * SECOND), Err(TooMany { seconds: 1 }));
        assert_eq!(buckets.take('a', start + 10 * SECOND), Ok(()));
        assert_eq!(buckets.take('a', start + 10 * SECOND), Err(TooMany { seconds: 10 }));
        buckets.put_back('a');
        assert_eq!(buckets.take('a', start + 10 * SECOND), Ok(()));
    }

    #[test]
    fn hosts_of_ipv6_are_networks() {
        for (address, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(network(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_right_never_runs_out_and_whoever_guesses_does() {
        let turns = Turns::for_this_machine();
        let from: IpAddr = "203.0.113.7".parse().unwrap();
        for _ in 0..3 * PER_ADDRESS.burst {
            assert_eq!(turns.guess(Guesser::new(from, "alice"), || true).await, Ok(true));
        }
        for _ in 0..PER_NAME.burst {
            assert_eq!(turns.guess(Guesser::new(from, "alice"), || false).await, Ok(false));
        }
        let refused = turns.guess(Guesser::new(from, "alice"), || true).await;
        assert_eq!(refused, Err(TooMany { seconds: PER_NAME.refill.as_secs() }));
        // Others are not locked out by it, whether they come from elsewhere or have another name.
        let elsewhere: IpAddr = "203.0.113.8".parse().unwrap();
        assert_eq!(turns.guess(Guesser::new(elsewhere, "alice"), || true).await, Ok(true));
        assert_eq!(turns.guess(Guesser::new(from, "bob"), || true).await, Ok(true));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_tries_many_names_runs_out_and_loopback_does_not() {
        let turns = Turns::for_this_machine();
        let guesses = async |from: &str| {
            let from = from.parse().unwrap();
            for name in 0..PER_ADDRESS.burst {
                let guess = turns.guess(Guesser::new(from, &name.to_string()), || false).await;
                assert_eq!(guess, Ok(false), "{from} {name}");
            }
            turns.guess(Guesser::new(from, "another"), || false).await
        };
        assert!(matches!(guesses("203.0.113.7").await, Err(TooMany { .. })));
        assert_eq!(guesses("127.0.0.1").await, Ok(false));
    }
}
