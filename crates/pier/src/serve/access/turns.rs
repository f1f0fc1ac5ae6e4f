//! Turns at verifying passwords: a few at once, and fewer for those who guess.
//!
//! Each verification takes a token from two buckets: that of its address and user name, and that of its address. Only a password that is
//! wrong costs them, so whoever knows theirs never runs out, and neither does whoever hangs up. An address is a host's, or the network's
//! of IPv6, of which a host has as many addresses as it likes. Loopback has no bucket of its own: behind it is a proxy on this machine
//! that does not say for whom it asks, which means everybody.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hash},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

/// Wrong passwords in a row that a user may type, and how long until there is another.
const PER_NAME: Rate = Rate { burst: 10, refill: Duration::from_secs(6) };

/// The same for an address, whatever the name.
const PER_ADDRESS: Rate = Rate { burst: 60, refill: Duration::from_secs(1) };

/// Verifications that wait for a turn.
const MAX_WAITING: usize = 512;

/// How long one waits for its turn. Hashes that are more costly than usual would else make a queue that nobody sees the end of.
const TURN_LIMIT: Duration = Duration::from_secs(20);

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

/// What a verification has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Right,
    Wrong,
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
    allowances: Arc<Allowances>,
}

/// What is left to whom.
#[derive(Debug)]
struct Allowances {
    names: Buckets<u64>,
    addresses: Buckets<IpAddr>,
}

/// The tokens of one guess. Dropped, they go back: it was right, or there was none, since its client hung up before its turn.
#[derive(Debug)]
struct Taken {
    guesser: Guesser,
    /// `None` once they are spent.
    from: Option<Arc<Allowances>>,
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
            allowances: Arc::new(Allowances {
                names: Buckets::new(PER_NAME),
                addresses: Buckets::new(PER_ADDRESS),
            }),
        }
    }

    /// Verifies a password when its turn comes, on a thread that may block.
    pub(super) async fn guess(
        &self,
        guesser: Guesser,
        verify: impl FnOnce() -> Outcome + Send + 'static,
    ) -> Result<Outcome, TooMany> {
        let crowded = TooMany { seconds: CROWDED_SECONDS };
        let waiting = self.waiting.try_acquire().map_err(|_| crowded)?;
        let taken = self.allowances.take(guesser, Instant::now())?;
        // The semaphore is never closed.
        let turn = timeout(TURN_LIMIT, Arc::clone(&self.at_once).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(crowded) };
        drop(waiting);
        // Turn and tokens go with the work and not with the request, which may be dropped meanwhile.
        let work = move || {
            let outcome = verify();
            match outcome {
                Outcome::Right => drop(taken),
                Outcome::Wrong => taken.spend(),
            }
            drop(turn);
            outcome
        };
        // A thread that panicked has verified nothing.
        tokio::task::spawn_blocking(work).await.map_err(|_| crowded)
    }
}

impl Allowances {
    /// Takes both tokens, or none.
    fn take(self: &Arc<Self>, guesser: Guesser, now: Instant) -> Result<Taken, TooMany> {
        self.names.take(guesser.name, now)?;
        if let Some(network) = guesser.network
            && let Err(too_many) = self.addresses.take(network, now)
        {
            self.names.put_back(guesser.name);
            return Err(too_many);
        }
        Ok(Taken { guesser, from: Some(Arc::clone(self)) })
    }
}

impl Taken {
    fn spend(mut self) {
        self.from = None;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(from) = &self.from else { return };
        from.names.put_back(self.guesser.name);
        if let Some(network) = self.guesser.network {
            from.addresses.put_back(network);
        }
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
    use futures_util::FutureExt as _;

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

    fn guesser(from: &str, name: &str) -> Guesser {
        Guesser::new(from.parse().unwrap(), name)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_right_never_runs_out_and_whoever_guesses_does() {
        let turns = Turns::for_this_machine();
        let from = "203.0.113.7";
        for _ in 0..3 * PER_ADDRESS.burst {
            let guess = turns.guess(guesser(from, "alice"), || Outcome::Right);
            assert_eq!(guess.await, Ok(Outcome::Right));
        }
        for _ in 0..PER_NAME.burst {
            let guess = turns.guess(guesser(from, "alice"), || Outcome::Wrong);
            assert_eq!(guess.await, Ok(Outcome::Wrong));
        }
        let refused = turns.guess(guesser(from, "alice"), || Outcome::Right).await;
        assert_eq!(refused, Err(TooMany { seconds: PER_NAME.refill.as_secs() }));
        // Others are not locked out by it, whether they come from elsewhere or have another name.
        for other in [guesser("203.0.113.8", "alice"), guesser(from, "bob")] {
            assert_eq!(turns.guess(other, || Outcome::Right).await, Ok(Outcome::Right));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_tries_many_names_runs_out_and_loopback_does_not() {
        let turns = Turns::for_this_machine();
        let guesses = async |from: &str| {
            for name in 0..PER_ADDRESS.burst {
                let guess = turns.guess(guesser(from, &name.to_string()), || Outcome::Wrong).await;
                assert_eq!(guess, Ok(Outcome::Wrong), "{from} {name}");
            }
            turns.guess(guesser(from, "another"), || Outcome::Wrong).await
        };
        assert!(matches!(guesses("203.0.113.7").await, Err(TooMany { .. })));
        assert_eq!(guesses("127.0.0.1").await, Ok(Outcome::Wrong));
        // Whom the address lacks a token for has lost none of the name's.
        for _ in 0..2 * PER_NAME.burst {
            assert!(turns.guess(guesser("203.0.113.7", "alice"), || Outcome::Right).await.is_err());
        }
        let names = turns.allowances.names.full_at.lock().unwrap();
        assert!(names[&guesser("203.0.113.7", "alice").name] <= Instant::now());
    }

    #[tokio::test]
    async fn whoever_hangs_up_gets_the_tokens_of_a_right_password_back() {
        let turns = Turns::for_this_machine();
        let all = u32::try_from(turns.at_once.available_permits()).unwrap();
        let alice = guesser("203.0.113.7", "alice");
        let hang_up = async |outcome| {
            let (let_go, waits) = std::sync::mpsc::channel::<()>();
            let guess = turns.guess(alice, move || {
                // Until the client is gone.
                let _ = waits.recv();
                outcome
            });
            assert_eq!(guess.now_or_never(), None);
            drop(let_go);
            // The work is done when all turns are free again.
            drop(turns.at_once.acquire_many(all).await.unwrap());
        };
        for _ in 0..3 * PER_NAME.burst {
            hang_up(Outcome::Right).await;
        }
        for _ in 0..PER_NAME.burst {
            hang_up(Outcome::Wrong).await;
        }
        // Hanging up is no way to guess for free either.
        assert!(turns.guess(alice, || Outcome::Right).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_come_is_not_waited_for_and_costs_nothing() {
        let turns = Turns::for_this_machine();
        let all = u32::try_from(turns.at_once.available_permits()).unwrap();
        let _taken = turns.at_once.acquire_many(all).await.unwrap();
        let alice = guesser("203.0.113.7", "alice");
        for _ in 0..2 * PER_NAME.burst {
            let refused = turns.guess(alice, || Outcome::Right).await;
            assert_eq!(refused, Err(TooMany { seconds: CROWDED_SECONDS }));
        }
    }
}
