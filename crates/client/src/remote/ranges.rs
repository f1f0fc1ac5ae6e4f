//! Filling a part over as many connections as help.
//!
//! One connection is often the limit: storage services give each so much and no more. Where it is not, more of them only cost. So a large
//! blob begins with one bounded range; how fast that came decides whether two are tried, and whether those were faster decides about four,
//! and so on. What does not help is taken back, and the rest then comes in one piece.
//!
//! Ranges always have an end: a server that is asked for everything behind a position, by many, sends what nobody reads. A server that
//! ignores ranges answers with the whole blob, and that very answer then fills everything. Where the registry leads to storage by a signed
//! URL, all ranges are asked for at that URL until its time is over.
//!
//! While several ranges are under way, one that fails is asked for again by half as many: a server that is asked too much says so in many
//! ways. One that falls silent while others bring bytes is asked for again and no more, since a blob is stalled when nothing of it comes.
//! Nothing here waits, and what fails alone stays a hole, for the next attempt.

mod pace;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use pier_content::{ByteRange, Error, Filling, Order, Result, Source as _, Subject, pump};
use pier_oci::{Descriptor, Repository};
use tokio::time::Instant;

use self::pace::{Pace, Verdict};
use super::{
    Remote,
    source::{Answered, Shortcut},
};
use crate::transport::is_stalled;

/// Blobs with less than this many missing bytes come over one connection: they are there before a second one could be judged.
const WORTHWHILE: u64 = 32 << 20;

/// The first range, whose speed decides about more.
const PROBE: u64 = 8 << 20;

/// How one range ended.
struct Fetched {
    range: ByteRange,
    bytes: u64,
    outcome: Result<Answered>,
}

impl Remote {
    /// Fills every hole, over one connection or over several.
    pub(super) async fn fill_ranges(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        filling: &dyn Filling,
    ) -> Result<()> {
        let mut todo = Holes::of(filling);
        let known = filling.order() == Order::Any && filling.size() == Some(descriptor.size);
        if !known || todo.bytes() < WORTHWHILE {
            return self.fill_in_order(repository, descriptor, filling).await;
        }
        let shortcut = Shortcut::default();
        let mut pace = Pace::new();
        // Bytes since a range fell silent.
        let mut arrived = 0;
        let mut under_way = FuturesUnordered::new();
        let mut failure = None;
        let mut size = PROBE;
        loop {
            while failure.is_none()
                && under_way.len() < pace.window()
                && let Some(range) = todo.take(size)
            {
                under_way.push(self.fetch(repository, descriptor, range, filling, &shortcut));
            }
            let Some(fetched) = under_way.next().await else { break };
            arrived += fetched.bytes;
            match fetched.outcome {
                Ok(Answered::Range) => match pace.note(fetched.bytes, Instant::now()) {
                    Verdict::Ranges(bytes) => size = bytes,
                    Verdict::OnePiece => size = u64::MAX,
                },
                // The answer to one range has filled everything behind its start.
                Ok(Answered::Whole) => {
                    drop(under_way);
                    return self.fill_in_order(repository, descriptor, filling).await;
                }
                Err(error) if is_stalled(&error) && arrived > 0 => {
                    arrived = 0;
                    todo.give_back(fetched.range, filling);
                }
                // Fewer at once may be what it can bear; whether to wait is decided where waiting is.
                Err(Error::TooManyRequests { .. } | Error::Unavailable { .. }) if pace.halve() => {
                    todo.give_back(fetched.range, filling);
                }
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            // What is under way when one range fails is finished first: those bytes are paid for.
            Some(error) if !filling.missing().is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// One hole after the other, each in one request.
    async fn fill_in_order(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        filling: &dyn Filling,
    ) -> Result<()> {
        let shortcut = Shortcut::default();
        while let Some(hole) = filling.missing().first().copied() {
            let fetched = self.fetch(repository, descriptor, hole, filling, &shortcut).await;
            fetched.outcome?;
            if hole.end.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn fetch(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
        filling: &dyn Filling,
        shortcut: &Shortcut,
    ) -> Fetched {
        let outcome = self.fetch_range(repository, descriptor, range, filling, shortcut).await;
        let (bytes, outcome) = match outcome {
            Ok((bytes, answered)) => (bytes, Ok(answered)),
            Err(error) => (0, Err(error)),
        };
        Fetched { range, bytes, outcome }
    }

    async fn fetch_range(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
        filling: &dyn Filling,
        shortcut: &Shortcut,
    ) -> Result<(u64, Answered)> {
        let (opened, answered) = self.open_range(repository, descriptor, range, shortcut).await?;
        if let Some(actual) = opened.size.filter(|&size| size != descriptor.size) {
            let (subject, expected) =
                (Subject::RemoteBlob(repository.clone(), descriptor.digest), descriptor.size);
            return Err(Error::Size { subject, expected, actual, origin: Some(self.name()) });
        }
        // The whole blob was sent where a range was asked for: all of it is taken.
        let wanted = match answered {
            Answered::Whole if range.end.is_some() => ByteRange::from(range.start..descriptor.size),
            _ => range,
        };
        let reached = pump(opened.stream, opened.start, wanted, filling).await?;
        if wanted.end.is_some_and(|end| reached < end) {
            return Err(Error::Unavailable {
                origin: self.name(),
                operation: "read a blob: the stream ended early",
                retry_after: None,
                source: None,
            });
        }
        Ok((reached - range.start, answered))
    }
}

/// What nobody has begun to fetch, from the front on.
struct Holes(Vec<ByteRange>);

impl Holes {
    fn of(filling: &dyn Filling) -> Self {
        let mut holes = filling.missing();
        holes.reverse();
        Self(holes)
    }

    fn bytes(&self) -> u64 {
        self.0.iter().filter_map(ByteRange::len).sum()
    }

    /// The next range, of at most `size` bytes.
    fn take(&mut self, size: u64) -> Option<ByteRange> {
        let hole = self.0.pop()?;
        let end = hole.end?;
        let cut = end.min(hole.start.saturating_add(size));
        if cut < end {
            self.0.push(ByteRange::from(cut..end));
        }
        Some(ByteRange::from(hole.start..cut))
    }

    /// What is still missing of a range that failed.
    fn give_back(&mut self, range: ByteRange, filling: &dyn Filling) {
        let Some(end) = range.end else { return };
        let missing = filling.missing();
        let within = missing.iter().filter_map(|hole| {
            let cut = hole.start.max(range.start)..hole.end.unwrap_or(end).min(end);
            (!cut.is_empty()).then(|| ByteRange::from(cut))
        });
        self.0.extend(within.collect::<Vec<_>>().into_iter().rev());
    }
}
