//! Sets of byte positions, as ranges.

use std::{collections::BTreeMap, fmt, ops::Range};

/// A set of byte positions, kept as ranges that neither overlap nor touch.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RangeSet(BTreeMap<u64, u64>);

impl RangeSet {
    /// Adds every position of `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // Ranges that touch or overlap the new one become part of it. The last that begins at or before its end
        // is the only one that can reach beyond it.
        while let Some((&other_start, &other_end)) = self.0.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            start = start.min(other_start);
            end = end.max(other_end);
            self.0.remove(&other_start);
        }
        self.0.insert(start, end);
    }

    /// Removes every position of `range`.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        while let Some((&start, &end)) = self.0.range(..range.end).next_back() {
            if end <= range.start {
                break;
            }
            self.0.remove(&start);
            if start < range.start {
                self.0.insert(start, range.start);
            }
            if end > range.end {
                self.0.insert(range.end, end);
            }
        }
    }

    /// What of `within` is not in the set, in order.
    pub fn holes(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let mut holes = Vec::new();
        let mut position = within.start.max(self.run_end(within.start));
        while position < within.end {
            let (next_start, next_end) = match self.0.range(position..within.end).next() {
                Some((&start, &end)) => (start, end),
                None => (within.end, within.end),
            };
            holes.push(position..next_start);
            position = next_end;
        }
        holes
    }

    /// The end of the run that `position` is in; `position` itself when it is in none.
    pub fn run_end(&self, position: u64) -> u64 {
        match self.0.range(..=position).next_back() {
            Some((_, &end)) if end > position => end,
            _ => position,
        }
    }

    /// How far the set reaches without a hole from the first position on.
    pub fn prefix_end(&self) -> u64 {
        self.run_end(0)
    }

    /// One past the last position; zero when there is none.
    pub fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, &end)| end)
    }

    /// Whether there is no position in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many positions are in it.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(&start, &end)| start..end)
    }
}

impl fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Positions that the model knows.
    const WORLD: u64 = 40;

    fn at(position: u64) -> usize {
        usize::try_from(position).unwrap()
    }

    fn range() -> impl Strategy<Value = Range<u64>> {
        (0..WORLD, 0..=WORLD).prop_map(|(start, end)| start..end)
    }

    proptest! {
        #[test]
        fn agrees_with_a_bitmap(steps in prop::collection::vec((any::<bool>(), range()), 0..30), within in range()) {
            let mut set = RangeSet::default();
            let mut bitmap = vec![false; at(WORLD)];
            for (add, range) in steps {
                for position in range.clone() {
                    bitmap[at(position)] = add;
                }
                if add { set.insert(range) } else { set.remove(range) }
            }
            let inside = |position: u64| bitmap.get(at(position)).copied().unwrap_or(false);

            let ranges: Vec<_> = set.iter().collect();
            prop_assert!(ranges.iter().all(|range| range.start < range.end));
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{ranges:?}");
            for position in 0..WORLD {
                prop_assert_eq!(ranges.iter().any(|range| range.contains(&position)), inside(position));
                let end = (position..=WORLD).find(|&next| !inside(next)).unwrap();
                prop_assert_eq!(set.run_end(position), end);
            }
            let holes = set.holes(within.clone());
            for position in 0..WORLD {
                let hole = within.contains(&position) && !inside(position);
                prop_assert_eq!(holes.iter().any(|range| range.contains(&position)), hole);
            }
            prop_assert_eq!(set.total(), bitmap.iter().filter(|&&bit| bit).count() as u64);
        }
    }
}
