//! The store's collector, running for as long as the server does.
//!
//! No schedule, no read-only window, no separate job: every so often the review queue is asked whether something is due, which
//! is one query, and what is due is worked off in short turns with as much time between them as they take, so that pushes
//! and reads keep at least half of the database's writer. Several servers on one store do this side by side.

use std::{
    io,
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt as _;
use pier_content::Error;
use pier_store::{Collected, Rest, Store};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Rounds of the collector between two pauses. Measured with 100,000 blobs to remove: some tenths of a second, in which pushes take
/// their turns, since the database is held only for parts of a round.
const ROUNDS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Unfinished transfers are looked for so many times within the time after which they expire, since each look reads folders.
const LOOKS: u32 = 8;

/// The longest time between two looks for unfinished transfers.
const LONGEST_LOOK: Duration = Duration::from_hours(1);

/// How long a turn may take to end when the server stops. What it does not finish the next one finishes.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// When the collector works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// From the end of one run to the next.
    pub(crate) every: Duration,
    /// The shorter of the times after which unfinished transfers expire.
    pub(crate) expiry: Duration,
}

/// What the collector has done since the server started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Runs that came to their end.
    pub(crate) runs: u64,
    /// Runs that failed.
    pub(crate) failures: u64,
    /// What all of them removed.
    pub(crate) removed: Collected,
    /// How long all of them took, their pauses included.
    pub(crate) took: Duration,
    /// When the last one ended.
    pub(crate) last: Option<SystemTime>,
}

/// The running collector. Its drop ends it between two transactions.
#[derive(Debug)]
pub(crate) struct Collection {
    task: JoinHandle<()>,
    stopping: CancellationToken,
    tally: watch::Receiver<Tally>,
}

impl Collection {
    /// Starts it. The first run is at once: what a server left behind when it ended is due.
    pub(crate) fn start(store: Arc<Store>, timing: Timing) -> Self {
        let stopping = CancellationToken::new();
        let (tally, reader) = watch::channel(Tally::default());
        let collector = Collector { store, timing, stopping: stopping.clone(), tally, failing: None };
        Self { task: tokio::spawn(collector.run()), stopping, tally: reader }
    }

    /// What it has done, now and whenever that changes.
    pub(crate) fn tally(&self) -> watch::Receiver<Tally> {
        self.tally.clone()
    }

    /// Lets the turn that is under way end, and waits for that for a bounded time.
    pub(crate) async fn stop(mut self) {
        self.stopping.cancel();
        match timeout(STOP_LIMIT, &mut self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the collector failed; the next server goes on with it");
            }
            Err(_) => {
                tracing::warn!(waited = ?STOP_LIMIT, "a collection did not end; the next server goes on with it");
            }
        }
        let Tally { runs, failures, removed, took, .. } = *self.tally().borrow();
        tracing::debug!(
            runs,
            failures,
            blobs = removed.blobs,
            bytes = removed.bytes,
            ?took,
            "collector stopped"
        );
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task.
#[derive(Debug)]
struct Collector {
    store: Arc<Store>,
    timing: Timing,
    stopping: CancellationToken,
    tally: watch::Sender<Tally>,
    /// The code of the error that the last run ended in.
    failing: Option<&'static str>,
}

impl Collector {
    async fn run(mut self) {
        let between_looks =
            (self.timing.expiry / LOOKS).clamp(self.timing.every, LONGEST_LOOK.max(self.timing.every));
        let mut look_at = Instant::now();
        while !self.stopping.is_cancelled() {
            let started = Instant::now();
            let mut removed = Collected::default();
            let run = async {
                self.work_off(&mut removed).await?;
                if look_at <= Instant::now() {
                    look_at = Instant::now() + between_looks;
                    removed.parts += self.store.expire_parts().await?;
                }
                Ok(())
            };
            // One that panics must not be the last. It leaves nothing that is used again but what it has removed.
            let panicked = |_| Err(Error::io("collect", "", io::Error::other("it panicked")));
            let outcome = AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(panicked);
            self.account(started.elapsed(), removed, outcome);
            self.pause(self.timing.every).await;
        }
    }

    /// Turns until nothing is due any more. What was removed before an error counts too.
    async fn work_off(&self, removed: &mut Collected) -> Result<(), Error> {
        loop {
            let started = Instant::now();
            let turn = self.store.collect_turn(ROUNDS).await?;
            *removed += turn.collected;
            if turn.rest == Rest::Nothing || self.stopping.is_cancelled() {
                return Ok(());
            }
            self.pause(started.elapsed()).await;
        }
    }

    fn account(&mut self, took: Duration, removed: Collected, outcome: Result<(), Error>) {
        self.tally.send_modify(|tally| {
            match outcome {
                Ok(()) => tally.runs += 1,
                Err(_) => tally.failures += 1,
            }
            tally.removed += removed;
            tally.took += took;
            tally.last = Some(SystemTime::now());
        });
        let Collected { blobs, bytes, links, parts } = removed;
        if removed == Collected::default() {
            tracing::debug!(?took, "nothing to collect");
        } else {
            tracing::info!(blobs, bytes, links, parts, ?took, "collected");
        }
        match outcome {
            Ok(()) => {
                if self.failing.take().is_some() {
                    tracing::info!("collecting works again");
                }
            }
            Err(error) if self.failing == Some(error.code()) => {
                tracing::debug!(%error, "collecting still fails");
            }
            Err(error) => {
                tracing::warn!(%error, again_in = ?self.timing.every, "cannot collect; content that nothing names stays until it works");
                self.failing = Some(error.code());
            }
        }
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            () = self.stopping.cancelled() => {}
        }
    }
}
