//! Turns among the uploads: how many are at work at once, in all and of one host.
//!
//! Each holds buffers, so their number is bounded whatever the number of connections and of streams in them. One host
//! has at most half of the turns: with many connections that each send just enough to be let on, it would else have all
//! of them, and keep everybody else from pushing.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests with large bodies there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploads {
    /// Those that are worked on.
    pub at_work: u64,
    /// How many may be at once.
    pub limit: u64,
}

/// The turns there are.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    limit: usize,
    hosts: Hosts,
}

/// A turn, and the right to it. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_host: Option<OfHost>,
}

/// The turns of each host that has one or waits for one.
type Hosts = Arc<Mutex<HashMap<IpAddr, Arc<Semaphore>>>>;

impl Turns {
    pub(crate) fn new(limit: NonZeroUsize) -> Self {
        let limit = limit.get().min(Semaphore::MAX_PERMITS);
        Self { all: Arc::new(Semaphore::new(limit)), limit, hosts: Hosts::default() }
    }

    /// Waits for a turn. Whoever waits for one of its host's waits before it stands in the way of others.
    pub(crate) async fn take(&self, host: Option<IpAddr>) -> Turn {
        let of_host = match host {
            Some(host) => Some(OfHost::take(&self.hosts, host, self.limit.div_ceil(2)).await),
            None => None,
        };
        Turn { _of_all: acquire(&self.all).await, _of_host: of_host }
    }

    pub(crate) fn count(&self) -> Uploads {
        let at_work = self.limit.saturating_sub(self.all.available_permits());
        Uploads { at_work: at_work as u64, limit: self.limit as u64 }
    }
}

/// A turn of one host's, taken or waited for. The last one takes what is known of the host along.
#[derive(Debug)]
struct OfHost {
    hosts: Hosts,
    host: IpAddr,
    /// Always there, until it is given back.
    turns: Option<Arc<Semaphore>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl OfHost {
    async fn take(hosts: &Hosts, host: IpAddr, limit: usize) -> Self {
        let turns = Arc::clone(lock(hosts).entry(host).or_insert_with(|| Arc::new(Semaphore::new(limit))));
        let known = Some(Arc::clone(&turns));
        let mut taken = Self { hosts: Arc::clone(hosts), host, turns: known, permit: None };
        taken.permit = Some(acquire(&turns).await);
        taken
    }
}

impl Drop for OfHost {
    fn drop(&mut self) {
        let mut hosts = lock(&self.hosts);
        // All under the lock, so that of the last two of a host one is the last.
        drop((self.permit.take(), self.turns.take()));
        if hosts.get(&self.host).is_some_and(|turns| Arc::strong_count(turns) == 1) {
            hosts.remove(&self.host);
        }
    }
}

#[expect(clippy::expect_used, reason = "nobody closes these semaphores")]
async fn acquire(turns: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(turns).acquire_owned().await.expect("an open semaphore")
}

/// Locks a table whose critical sections are a few assignments, so it is consistent also after a panic.
fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn at_once(turns: &Turns, host: Option<&str>) -> Option<Turn> {
        turns.take(host.map(|host| host.parse().unwrap())).now_or_never()
    }

    #[test]
    fn one_host_has_half_of_the_turns_and_the_others_have_the_rest() {
        let turns = Turns::new(NonZeroUsize::new(5).unwrap());
        let mut of_one: Vec<_> = (0..3).map(|_| at_once(&turns, Some("203.0.113.7")).unwrap()).collect();
        assert!(at_once(&turns, Some("203.0.113.7")).is_none());
        let of_another = at_once(&turns, Some("203.0.113.8")).unwrap();
        let of_nobody = at_once(&turns, None).unwrap();
        assert!(at_once(&turns, None).is_none());
        assert_eq!(turns.count(), Uploads { at_work: 5, limit: 5 });
        of_one.pop();
        of_one.push(at_once(&turns, Some("203.0.113.7")).unwrap());
        drop((of_one, of_another, of_nobody));
        assert_eq!(turns.count().at_work, 0);
        assert!(lock(&turns.hosts).is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_a_turn_of_its_host_gets_the_next() {
        let turns = Turns::new(NonZeroUsize::MIN);
        let first = at_once(&turns, Some("203.0.113.7")).unwrap();
        let mut waiting = Box::pin(turns.take(Some("203.0.113.7".parse().unwrap())));
        assert!((&mut waiting).now_or_never().is_none());
        // One that gives up leaves nothing behind, and nobody in the lurch.
        assert!(at_once(&turns, Some("203.0.113.7")).is_none());
        drop(first);
        drop(waiting.await);
        assert!(lock(&turns.hosts).is_empty());
    }
}
