//! Whether a connection is still worth having.
//!
//! hyper's own timers see one phase of one protocol each, and the time that a client may think between two requests
//! shares its timer with the headers of the next. So they are off, and each connection has a pulse: the socket
//! ([`ObservedSocket`](super::observed::ObservedSocket)) and the exchanges on it say what moves, and [`Pulse::judge`]
//! says what follows. It keeps no clock, so that a test needs none.
//!
//! | the connection | may last |
//! |---|---|
//! | has sent no whole head of a first request, or a part of another's (HTTP/1) | [`Patience::head`] |
//! | waits between requests | [`Patience::keep_alive`] |
//! | has a request in hand | as long as the handler takes, whose waits have bounds of their own |
//! | does not take what is sent | [`Patience::stall`] |
//!
//! Over HTTP/2 pings move bytes for ever, so there only what is taken of bodies counts: a client that takes none of at
//! least 256 KiB in the idle timeout is given up, however alive it is otherwise.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Version;
use tokio::time::Instant;

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the head of a request, and for the handshake of TLS before the first.
    pub(super) head: Duration,
    /// For its next request.
    pub(super) keep_alive: Duration,
    /// To take anything of what is sent to it.
    pub(super) stall: Duration,
}

/// What moves on one connection.
#[derive(Debug)]
pub(super) struct Pulse {
    state: Mutex<State>,
    patience: Patience,
}

/// What follows from a pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing before then.
    Alive { until: Instant },
    /// No request for too long: to be closed as the protocol has it.
    Idle,
    /// The client fails to do its part: to be cut.
    Stuck { why: &'static str },
}

#[derive(Debug)]
struct State {
    protocol: Protocol,
    /// Requests that wait for their answer.
    handled: usize,
    /// Responses whose bodies are not wholly taken.
    sending: usize,
    /// When the client last did its part.
    progress: Instant,
    /// Since when the head of a request is awaited.
    head_since: Option<Instant>,
    /// Since when the socket takes nothing.
    blocked_since: Option<Instant>,
}

/// HTTP/1 is what a connection speaks until a request says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// One request and its response. Ends when dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    pulse: Arc<Pulse>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handled,
    Sending,
}

impl Pulse {
    /// Of a connection that was opened now.
    pub(super) fn new(patience: Patience, now: Instant) -> Self {
        let state = State {
            protocol: Protocol::Http1,
            handled: 0,
            sending: 0,
            progress: now,
            head_since: Some(now),
            blocked_since: None,
        };
        Self { state: Mutex::new(state), patience }
    }

    /// How often to ask for a verdict at least: a connection may get less time than it had when it was judged last.
    pub(super) fn interval(&self) -> Duration {
        self.patience.stall.min(self.patience.head)
    }

    pub(super) fn judge(&self, now: Instant) -> Verdict {
        let Patience { head, keep_alive, stall } = self.patience;
        let state = self.lock();
        let stuck = |why| Verdict::Stuck { why };
        let (deadline, verdict) = if let Some(since) = state.blocked_since {
            (since + stall, stuck("the client takes nothing"))
        } else if state.handled > 0 {
            return Verdict::Alive { until: now + self.interval() };
        } else if state.sending > 0 {
            (state.progress + stall, stuck("the client takes nothing"))
        } else if let Some(since) = state.head_since {
            (since + head, stuck("the client sends no whole request"))
        } else {
            (state.progress + keep_alive, Verdict::Idle)
        };
        if deadline <= now { verdict } else { Verdict::Alive { until: deadline.min(now + self.interval()) } }
    }

    /// Bytes came.
    pub(super) fn read(&self, now: Instant) {
        let mut state = self.lock();
        if state.protocol == Protocol::Http1 && state.handled == 0 && state.sending == 0 {
            state.head_since.get_or_insert(now);
        }
    }

    /// The socket took bytes.
    pub(super) fn wrote(&self, now: Instant) {
        let mut state = self.lock();
        state.blocked_since = None;
        if state.protocol == Protocol::Http1 {
            state.progress = now;
        }
    }

    /// The socket takes nothing.
    pub(super) fn blocked(&self, now: Instant) {
        self.lock().blocked_since.get_or_insert(now);
    }

    /// A request came.
    pub(super) fn begin(self: &Arc<Self>, version: Version, now: Instant) -> Exchange {
        let mut state = self.lock();
        state.protocol = if version < Version::HTTP_2 { Protocol::Http1 } else { Protocol::Http2 };
        state.handled += 1;
        state.head_since = None;
        state.progress = now;
        Exchange { pulse: Arc::clone(self), phase: Phase::Handled }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange {
    /// The response has begun.
    pub(super) fn answered(&mut self, now: Instant) {
        let mut state = self.pulse.lock();
        state.handled -= 1;
        state.sending += 1;
        state.progress = now;
        self.phase = Phase::Sending;
    }

    /// A part of the body is taken.
    pub(super) fn taken(&self, now: Instant) {
        self.pulse.lock().progress = now;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.pulse.lock();
        match self.phase {
            Phase::Handled => state.handled -= 1,
            Phase::Sending => state.sending -= 1,
        }
        state.progress = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_mins(1);
    const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
    const KEEP_ALIVE: Duration = Duration::from_mins(2);
    const SECOND: Duration = Duration::from_secs(1);
    const SENDS_NOTHING: Verdict = Verdict::Stuck { why: "the client sends no whole request" };
    const TAKES_NOTHING: Verdict = Verdict::Stuck { why: "the client takes nothing" };

    fn pulse() -> (Arc<Pulse>, Instant) {
        let start = Instant::now();
        let patience = Patience { head: HEAD_TIMEOUT, keep_alive: KEEP_ALIVE, stall: STALL };
        (Arc::new(Pulse::new(patience, start)), start)
    }

    /// Checks that the verdict falls at `deadline` and no earlier.
    #[track_caller]
    fn check(pulse: &Pulse, deadline: Instant, verdict: Verdict) {
        assert_eq!(pulse.judge(deadline - SECOND), Verdict::Alive { until: deadline });
        assert_eq!(pulse.judge(deadline), verdict);
    }

    #[test]
    fn a_first_request_is_awaited_for_the_time_of_a_head() {
        let (pulse, start) = pulse();
        check(&pulse, start + HEAD_TIMEOUT, SENDS_NOTHING);
        // Trickling makes it no longer.
        pulse.read(start + 29 * SECOND);
        check(&pulse, start + HEAD_TIMEOUT, SENDS_NOTHING);
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_a_connection_may_rest_longer_than_a_head_may_take() {
        let (pulse, start) = pulse();
        let mut exchange = pulse.begin(Version::HTTP_11, start);
        exchange.answered(start);
        drop(exchange);
        check(&pulse, start + KEEP_ALIVE, Verdict::Idle);
        let begun = start + 100 * SECOND;
        pulse.read(begun);
        check(&pulse, begun + HEAD_TIMEOUT, SENDS_NOTHING);
        let exchange = pulse.begin(Version::HTTP_11, begun + SECOND);
        let late = begun + 10 * KEEP_ALIVE;
        assert_eq!(pulse.judge(late), Verdict::Alive { until: late + HEAD_TIMEOUT });
        drop(exchange);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (pulse, start) = pulse();
        let mut exchange = pulse.begin(Version::HTTP_11, start);
        exchange.answered(start);
        check(&pulse, start + STALL, TAKES_NOTHING);
        pulse.wrote(start + 50 * SECOND);
        check(&pulse, start + 50 * SECOND + STALL, TAKES_NOTHING);
        // What hyper still holds when the body is taken counts too.
        pulse.blocked(start + 60 * SECOND);
        pulse.blocked(start + 70 * SECOND);
        drop(exchange);
        check(&pulse, start + 60 * SECOND + STALL, TAKES_NOTHING);
        pulse.wrote(start + 80 * SECOND);
        check(&pulse, start + 80 * SECOND + KEEP_ALIVE, Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn pings_keep_no_http_2_connection_alive() {
        let (pulse, start) = pulse();
        let mut exchange = pulse.begin(Version::HTTP_2, start);
        exchange.answered(start);
        exchange.taken(start + 10 * SECOND);
        pulse.read(start + 30 * SECOND);
        pulse.wrote(start + 30 * SECOND);
        check(&pulse, start + 10 * SECOND + STALL, TAKES_NOTHING);
        drop(exchange);
        pulse.read(start + 30 * SECOND);
        pulse.wrote(start + 30 * SECOND);
        check(&pulse, start + KEEP_ALIVE, Verdict::Idle);
    }
}
