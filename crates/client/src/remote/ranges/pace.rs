//! How many ranges at once, and of which size, judged by what they brought. Takes time as an argument.

use tokio::time::{Duration, Instant};

/// Ranges at once, at most.
const MOST: usize = 8;

/// A connection that brings this many bytes a second is not what limits a download.
const FAST: f64 = 400e6;

/// Twice as many connections have to be faster by this, or they are not worth it.
const GAIN: f64 = 1.25;

/// How long one range should take: long enough that the wait for its answer is lost in it.
const RANGE_TIME: Duration = Duration::from_millis(500);

/// Bounds of a range, in bytes.
const LEAST: u64 = 4 << 20;
const LARGEST: u64 = 16 << 20;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Ranges of this many bytes, as many at once as [`Pace::window`] says.
    Ranges(u64),
    /// Everything that is left in one piece.
    OnePiece,
}

/// The number of ranges at once, doubled for as long as that helps.
#[derive(Debug)]
pub(super) struct Pace {
    window: usize,
    /// The most that may still be tried. Falls when more did not help, or when the server complains.
    most: usize,
    /// Bytes a second that half as many connections brought.
    before: Option<f64>,
    /// The measurement under way.
    since: Instant,
    bytes: u64,
    ranges: usize,
    /// Ranges to pass over before a new window is measured: they were begun under the old one.
    settling: usize,
    range_size: u64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            window: 1,
            most: MOST,
            before: None,
            since: Instant::now(),
            bytes: 0,
            ranges: 0,
            settling: 0,
            range_size: LEAST,
        }
    }

    /// Ranges at once.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// Notes a range that came whole.
    pub(super) fn note(&mut self, bytes: u64, now: Instant) -> Verdict {
        if self.settling > 0 {
            self.settling -= 1;
            if self.settling == 0 {
                self.restart(now);
            }
            return self.verdict();
        }
        self.bytes += bytes;
        self.ranges += 1;
        // Two rounds, so that one slow range does not decide; the first range alone is a round.
        let enough = if self.window == 1 { 1 } else { 2 * self.window };
        if self.ranges < enough || self.window >= self.most && self.before.is_none() {
            return self.verdict();
        }
        #[expect(clippy::cast_precision_loss, reason = "a speed, not a position")]
        let speed = self.bytes as f64 / now.duration_since(self.since).as_secs_f64().max(1e-6);
        match self.before {
            // More did not help: back to what did as well with less.
            Some(before) if speed < before * GAIN => {
                self.window = (self.window / 2).max(1);
                self.most = self.window;
                self.before = None;
            }
            _ if self.window == 1 && speed >= FAST => self.most = 1,
            _ if self.window < self.most => {
                self.before = Some(speed);
                self.settling = self.window - 1;
                self.window = (self.window * 2).min(self.most);
                self.resize(speed);
            }
            _ => self.before = None,
        }
        self.restart(now);
        self.verdict()
    }

    /// The server complains: half as many from now on. Whether there is anything left to halve.
    pub(super) fn halve(&mut self) -> bool {
        let more = self.window > 1;
        self.window = (self.window / 2).max(1);
        self.most = self.window;
        self.before = None;
        more
    }

    fn verdict(&self) -> Verdict {
        if self.most == 1 { Verdict::OnePiece } else { Verdict::Ranges(self.range_size) }
    }

    fn restart(&mut self, now: Instant) {
        (self.since, self.bytes, self.ranges) = (now, 0, 0);
    }

    /// One range should take [`RANGE_TIME`] at the speed of one connection.
    fn resize(&mut self, speed: f64) {
        #[expect(clippy::cast_precision_loss, reason = "at most eight")]
        let each = speed / (self.window / 2) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped behind it")]
        let bytes = (each * RANGE_TIME.as_secs_f64()) as u64;
        self.range_size = bytes.clamp(LEAST, LARGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::cast_precision_loss, reason = "numbers of a test")]
    fn seconds(bytes: u64, speed: f64) -> f64 {
        bytes as f64 / speed
    }

    /// Downloads `total` bytes from a server that gives each connection `each` bytes a second and all of them `all`, in virtual time.
    fn download(total: u64, each: f64, all: f64) -> (Duration, usize) {
        let mut pace = Pace::new();
        let start = pace.since;
        let (mut now, mut left, mut size) = (0.0, total, 8 << 20);
        let mut most = 1;
        while left > 0 {
            let window = pace.window();
            most = most.max(window);
            let mut round = Vec::new();
            for _ in 0..window {
                let bytes = left.min(size);
                left -= bytes;
                round.push(bytes);
            }
            let sum: u64 = round.iter().sum();
            let longest = round.iter().copied().max().unwrap_or_default();
            now += seconds(longest, each).max(seconds(sum, all)) + 0.04;
            for bytes in round {
                match pace.note(bytes, start + Duration::from_secs_f64(now)) {
                    Verdict::Ranges(bytes) => size = bytes,
                    Verdict::OnePiece => size = u64::MAX,
                }
            }
        }
        (Duration::from_secs_f64(now), most)
    }

    #[test]
    fn connections_that_are_the_limit_are_multiplied() {
        let (time, most) = download(1 << 30, 20e6, 1e9);
        let alone = Duration::from_secs_f64(seconds(1 << 30, 20e6));
        assert_eq!(most, MOST);
        assert!(time * 4 < alone, "{time:?} against {alone:?}");
    }

    #[test]
    fn a_line_that_is_the_limit_gets_one_connection() {
        let (time, most) = download(1 << 30, 50e6, 50e6);
        let alone = Duration::from_secs_f64(seconds(1 << 30, 50e6) + 0.04);
        assert_eq!(most, 2);
        assert!(time < alone.mul_f64(1.03), "{time:?} against {alone:?}");
    }

    #[test]
    fn a_fast_connection_stays_alone() {
        let mut pace = Pace::new();
        let soon = pace.since + Duration::from_millis(10);
        assert_eq!(pace.note(8 << 20, soon), Verdict::OnePiece);
        assert_eq!(pace.window(), 1);
    }

    #[test]
    fn a_complaint_halves_and_the_last_one_ends_it() {
        let mut pace = Pace::new();
        pace.window = 4;
        assert!(pace.halve());
        assert!(pace.halve());
        assert!(!pace.halve());
        assert_eq!((pace.window(), pace.verdict()), (1, Verdict::OnePiece));
    }
}
