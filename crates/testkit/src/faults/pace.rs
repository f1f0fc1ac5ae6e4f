//! A line that is slow: so many bytes a second, and a delay.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How slow a connection is, each of its directions for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The most body bytes a second. `None` for as many as come.
    pub bytes_per_second: Option<u64>,
    /// Between a connection and its first request, and between a request and the first byte of its answer: a round trip.
    pub delay: Duration,
}

impl Pace {
    /// As fast as the machine.
    pub const FREE: Self = Self { bytes_per_second: None, delay: Duration::ZERO };
}

/// What may pass by now in one direction of one connection.
///
/// It keeps the moment at which everything that has passed would have passed at the right speed. A direction that was idle has nothing
/// saved up, so that there are no bursts.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    due: Option<Instant>,
}

/// Passed on at once on a paced line: 3 ms at 20 MB/s, about what the timer can tell apart.
pub(super) const PACED_BYTES: usize = 64 << 10;

impl Pacer {
    /// Waits until `bytes` more have passed.
    pub(super) async fn pass(&mut self, pace: Pace, bytes: usize) {
        let Some(rate) = pace.bytes_per_second else { return };
        let due = due(self.due, Instant::now(), rate, bytes);
        self.due = Some(due);
        sleep_until(due).await;
    }
}

/// A wait that was a little too long is made up for; idle time is not.
fn due(before: Option<Instant>, now: Instant, rate: u64, bytes: usize) -> Instant {
    let earliest = now.checked_sub(Duration::from_millis(5)).unwrap_or(now);
    let from = before.map_or(now, |before| before.max(earliest));
    let nanoseconds = (bytes as u128 * 1_000_000_000) / u128::from(rate.max(1));
    from + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time_and_idleness_saves_nothing() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(due(None, now, 1000, 1000), now + second);
        assert_eq!(due(Some(now + second), now, 1000, 500), now + second + second / 2);
        // Late by 2 ms, which is made up for.
        let late = now.checked_sub(Duration::from_millis(2)).unwrap();
        assert_eq!(due(Some(late), now, 1000, 1000), late + second);
        // Idle for ten seconds, which is not.
        let idle = now.checked_sub(10 * second).unwrap();
        assert_eq!(due(Some(idle), now, 1000, 1000), now + second - Duration::from_millis(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept() {
        let pace = Pace { bytes_per_second: Some(20_000_000), delay: Duration::ZERO };
        let (started, mut pacer) = (Instant::now(), Pacer::default());
        for _ in 0..320 {
            pacer.pass(pace, 62_500).await;
        }
        let took = started.elapsed();
        assert!((Duration::from_millis(990)..=Duration::from_millis(1010)).contains(&took), "{took:?}");
    }
}
