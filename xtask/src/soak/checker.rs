//! Whether some order of one key's steps explains every answer: linearizability, just in time.
//!
//! Beginnings and ends of requests are gone through in the order of their times, with the set of everything that may be the case:
//! a state, and which of the requests under way have happened in it. At the end of a request those stay in which it has
//! happened; of a request that was lost, all stay. When nothing stays, no order explains what was seen. As many requests are under
//! way at once as there are workers, so the sets stay small however long the history is. (Lowe, "Testing for
//! linearizability", 2016, calls the method just-in-time linearization.)

use std::collections::HashSet;

use super::{
    history::{Event, Outcome},
    model::{Key, State, Times},
};

#[cfg(test)]
mod tests;

/// What cannot be explained.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// The place, among the events as they were given, of the one at whose end nothing was left.
    pub(super) at: usize,
    /// What may have been the case before that.
    pub(super) before: Vec<State>,
}

/// A state, and the requests under way that have happened in it: a bit for each place in `active`.
type Possibility = (State, u64);

/// Looks for an order.
pub(super) fn check(key: &Key, events: &[Event], lease: u64) -> Result<(), Violation> {
    let mut moments: Vec<(u64, Moment, usize)> = events
        .iter()
        .enumerate()
        .flat_map(|(place, event)| [(event.start, Moment::Start, place), (event.end, Moment::End, place)])
        .collect();
    // What begins when something else ends may have come before it.
    moments.sort_unstable();
    let mut active: Vec<Option<usize>> = Vec::new();
    let mut possible = HashSet::from([(State::initial(key), 0_u64)]);
    for (now, moment, place) in moments {
        match moment {
            Moment::Start => match active.iter().position(Option::is_none) {
                Some(free) => active[free] = Some(place),
                None => active.push(Some(place)),
            },
            Moment::End => {
                let Some(slot) = active.iter().position(|active| *active == Some(place)) else { continue };
                let bit = 1_u64 << slot;
                let before = possible.iter().map(|(state, _)| *state).collect::<HashSet<_>>();
                possible = reachable(possible, &active, events, now, lease);
                possible = possible
                    .into_iter()
                    .filter(|(_, done)| events[place].outcome == Outcome::Lost || done & bit != 0)
                    .map(|(state, done)| (state, done & !bit))
                    .collect();
                if possible.is_empty() {
                    return Err(Violation { at: place, before: before.into_iter().collect() });
                }
                active[slot] = None;
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Start,
    End,
}

/// Everything that may be the case when any of the requests under way happen, in any order.
fn reachable(
    possible: HashSet<Possibility>,
    active: &[Option<usize>],
    events: &[Event],
    now: u64,
    lease: u64,
) -> HashSet<Possibility> {
    let mut found = possible.clone();
    let mut unexplored: Vec<Possibility> = possible.into_iter().collect();
    while let Some((state, done)) = unexplored.pop() {
        for (slot, place) in active.iter().enumerate() {
            let Some(event) = place.map(|place| &events[place]) else { continue };
            if done & 1 << slot != 0 {
                continue;
            }
            let times = Times { start: event.start, now, lease };
            if let Some(after) = state.after(event.step, times) {
                let next = (after, done | 1 << slot);
                if found.insert(next) {
                    unexplored.push(next);
                }
            }
        }
    }
    found
}

/// The events of a key up to a violation, as a person reads them.
pub(super) fn report(key: &Key, events: &[Event], violation: &Violation) -> String {
    use std::fmt::Write as _;
    const SHOWN: usize = 40;
    let bad = &events[violation.at];
    let mut earlier: Vec<&Event> = events.iter().filter(|event| event.start <= bad.end).collect();
    earlier.sort_by_key(|event| event.end);
    let first = earlier.len().saturating_sub(SHOWN);
    let zero = earlier.first().map_or(0, |event| event.start);
    let milliseconds = |time: u64| {
        let microseconds = time.saturating_sub(zero) / 1000;
        format!("{}.{:03}", microseconds / 1000, microseconds % 1000)
    };
    let mut text = format!("no order explains {key:?}; times in milliseconds, requests by their end:\n");
    for event in &earlier[first..] {
        let mark = if std::ptr::eq(*event, bad) { "=>" } else { "  " };
        let (start, end) = (milliseconds(event.start), milliseconds(event.end));
        let Event { worker, outcome, line, step, .. } = event;
        let _ = writeln!(text, "{mark} {start:>14} {end:>14}  worker {worker}  {outcome:?} {step:?}  {line}");
    }
    let _ = writeln!(text, "before the last of them it may have been: {:?}", violation.before);
    text
}
