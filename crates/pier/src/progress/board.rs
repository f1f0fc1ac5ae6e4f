//! What has happened and what is under way, as numbers.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pier_content::Event;
use pier_oci::Digest;

/// Notes that wait to be told. Whoever is not listening loses the later ones, and no memory.
const NOTES: usize = 1 << 16;

/// Where those who move bytes note what they do.
#[derive(Debug, Default)]
pub(super) struct Board {
    state: Mutex<State>,
    noted: Condvar,
}

#[derive(Debug, Default)]
struct State {
    journeys: Vec<Trip>,
    notes: VecDeque<(Arc<str>, Note)>,
    /// Whether nobody reads the notes.
    mute: bool,
    ended: bool,
}

/// One image on its way.
#[derive(Debug)]
struct Trip {
    name: Arc<str>,
    began: Instant,
    tally: Tally,
    planned: u64,
    work: BTreeMap<Digest, Moving>,
}

/// A blob on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving {
    pub(super) size: u64,
    /// Bytes that are at the destination.
    pub(super) done: u64,
    /// Bytes that moved.
    moved: u64,
}

/// What it took to bring an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Blobs of which bytes moved.
    pub(crate) moved_blobs: u64,
    /// Bytes that moved, those included that were wrong and moved again.
    pub(crate) moved_bytes: u64,
    /// Blobs that the destination showed from another of its repositories.
    pub(crate) mounted_blobs: u64,
    /// Bytes of those.
    pub(crate) mounted_bytes: u64,
    /// Bytes that were there, or that others brought meanwhile.
    pub(crate) present_bytes: u64,
}

/// Something to tell.
#[derive(Clone, Debug)]
pub(super) enum Note {
    /// As it came from the library; never [`Event::Advanced`], which is seen by looking.
    Event(Box<Event>),
    /// An image has arrived.
    Arrived { digest: Digest, tally: Tally, elapsed: Duration },
}

/// What is under way.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) ended: bool,
    /// Blobs in work, with the name of the image that each belongs to.
    pub(super) moving: Vec<(Arc<str>, Digest, Moving)>,
    /// Bytes that are where they have to be, of all images.
    pub(super) done: u64,
    /// Bytes that have to be there in the end, as far as is known.
    pub(super) planned: u64,
}

impl Board {
    pub(super) fn keep_no_notes(&self) {
        self.state().mute = true;
    }

    /// A further image. Gives its number.
    pub(super) fn add(&self, name: &str) -> usize {
        let mut state = self.state();
        state.journeys.push(Trip {
            name: name.into(),
            began: Instant::now(),
            tally: Tally::default(),
            planned: 0,
            work: BTreeMap::new(),
        });
        state.journeys.len() - 1
    }

    pub(super) fn note(&self, number: usize, event: Event) {
        let mut state = self.state();
        let Some(trip) = state.journeys.get_mut(number) else { return };
        trip.take_in(&event);
        if !matches!(event, Event::Advanced { .. }) {
            let name = Arc::clone(&trip.name);
            state.tell(name, Note::Event(Box::new(event)));
            self.noted.notify_one();
        }
    }

    pub(super) fn arrived(&self, number: usize, digest: Digest) -> Tally {
        let mut state = self.state();
        let Some(trip) = state.journeys.get(number) else { return Tally::default() };
        let (name, tally, elapsed) = (Arc::clone(&trip.name), trip.tally, trip.began.elapsed());
        state.tell(name, Note::Arrived { digest, tally, elapsed });
        self.noted.notify_one();
        tally
    }

    /// Nothing more will happen to this image: what had not arrived is not waited for.
    pub(super) fn leave(&self, number: usize) {
        let mut state = self.state();
        if let Some(trip) = state.journeys.get_mut(number) {
            trip.work.clear();
            trip.planned = trip.done();
        }
    }

    pub(super) fn end(&self) {
        self.state().ended = true;
        self.noted.notify_one();
    }

    /// Waits for a note, at most for `patience`, and gives all notes that were not given before.
    pub(super) fn look(&self, patience: Duration) -> (Vec<(Arc<str>, Note)>, Looked) {
        let state = self.state();
        let idle = |state: &mut State| state.notes.is_empty() && !state.ended;
        let (mut state, _) =
            self.noted.wait_timeout_while(state, patience, idle).unwrap_or_else(PoisonError::into_inner);
        let notes = state.notes.drain(..).collect();
        (notes, state.looked())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers may be a little off after a panic elsewhere, and nothing depends on them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, name: Arc<str>, note: Note) {
        if !self.mute && self.notes.len() < NOTES {
            self.notes.push_back((name, note));
        }
    }

    fn looked(&self) -> Looked {
        let moving = self.journeys.iter().flat_map(|trip| {
            trip.work.iter().map(|(digest, moving)| (Arc::clone(&trip.name), *digest, *moving))
        });
        let sum = |number: fn(&Trip) -> u64| self.journeys.iter().map(number).fold(0, u64::saturating_add);
        Looked {
            ended: self.ended,
            moving: moving.collect(),
            done: sum(Trip::done),
            planned: sum(|trip| trip.planned),
        }
    }
}

impl Trip {
    fn take_in(&mut self, event: &Event) {
        let Self { tally, work, .. } = self;
        match event {
            Event::Planned { bytes, .. } => self.planned = *bytes,
            Event::Present(descriptor) => {
                work.remove(&descriptor.digest);
                tally.present_bytes += descriptor.size;
            }
            Event::Mounted { descriptor, .. } => {
                tally.mounted_blobs += 1;
                tally.mounted_bytes += descriptor.size;
            }
            Event::Started { descriptor, done } => {
                let fresh = Moving { size: descriptor.size, done: 0, moved: 0 };
                work.entry(descriptor.digest).or_insert(fresh).done = *done;
            }
            Event::Advanced { digest, bytes } => {
                tally.moved_bytes += bytes;
                if let Some(moving) = work.get_mut(digest) {
                    moving.done = moving.done.saturating_add(*bytes).min(moving.size);
                    moving.moved = moving.moved.saturating_add(*bytes);
                }
            }
            Event::Discarded(digest) => {
                if let Some(moving) = work.get_mut(digest) {
                    moving.done = 0;
                }
            }
            Event::Committed(descriptor) => {
                let moved = work.remove(&descriptor.digest).map_or(0, |moving| moving.moved);
                tally.moved_blobs += u64::from(moved > 0);
                tally.present_bytes += descriptor.size.saturating_sub(moved);
            }
            _ => {}
        }
    }

    /// Bytes that are where they have to be.
    fn done(&self) -> u64 {
        let Tally { mounted_bytes, present_bytes, moved_bytes, .. } = self.tally;
        let before: u64 = self.work.values().map(|moving| moving.done.saturating_sub(moving.moved)).sum();
        (mounted_bytes + present_bytes + moved_bytes + before).min(self.planned)
    }
}

#[cfg(test)]
mod tests {
    use pier_oci::{Descriptor, MediaType};

    use super::*;

    fn blob(size: u64) -> Descriptor {
        let digest = Digest::sha256(size.to_string().as_bytes());
        Descriptor::new(MediaType::OCI_LAYER, digest, size)
    }

    #[test]
    fn what_moved_is_told_from_what_was_there() {
        let board = Board::default();
        let number = board.add("app");
        let (there, fetched, resumed, followed) = (blob(1), blob(20), blob(300), blob(4000));
        for event in [
            Event::Planned { blobs: 4, bytes: 4321 },
            Event::Present(there),
            Event::Started { descriptor: fetched.clone(), done: 0 },
            Event::Advanced { digest: fetched.digest, bytes: 20 },
            Event::Committed(fetched.clone()),
            Event::Started { descriptor: resumed.clone(), done: 200 },
            Event::Advanced { digest: resumed.digest, bytes: 100 },
            Event::Committed(resumed),
            Event::Started { descriptor: followed.clone(), done: 0 },
            Event::Committed(followed),
        ] {
            board.note(number, event);
        }
        let tally = board.arrived(number, fetched.digest);
        let expected = Tally { moved_blobs: 2, moved_bytes: 120, present_bytes: 4201, ..Tally::default() };
        assert_eq!(tally, expected);
    }

    #[test]
    fn what_is_under_way_is_seen_and_advances_are_no_notes() {
        let board = Board::default();
        let number = board.add("app");
        let layer = blob(100);
        board.note(number, Event::Planned { blobs: 1, bytes: 100 });
        board.note(number, Event::Started { descriptor: layer.clone(), done: 40 });
        board.note(number, Event::Advanced { digest: layer.digest, bytes: 10 });
        let (notes, looked) = board.look(Duration::ZERO);
        assert_eq!(notes.len(), 2);
        assert_eq!((looked.done, looked.planned, looked.ended), (50, 100, false));
        assert_eq!((looked.moving[0].1, looked.moving[0].2.done), (layer.digest, 50));

        // Wrong content moves once more, and counts both times.
        board.note(number, Event::Discarded(layer.digest));
        board.note(number, Event::Advanced { digest: layer.digest, bytes: 100 });
        let (_, looked) = board.look(Duration::ZERO);
        assert_eq!((looked.done, looked.moving[0].2.done), (100, 100));
        board.note(number, Event::Committed(layer.clone()));
        let tally = board.arrived(number, layer.digest);
        assert_eq!((tally.moved_bytes, tally.present_bytes), (110, 0));
    }

    #[test]
    fn what_will_not_arrive_is_not_waited_for() {
        let board = Board::default();
        let number = board.add("app");
        let layer = blob(100);
        board.note(number, Event::Planned { blobs: 1, bytes: 100 });
        board.note(number, Event::Started { descriptor: layer.clone(), done: 0 });
        board.note(number, Event::Advanced { digest: layer.digest, bytes: 10 });
        board.leave(number);
        let (_, looked) = board.look(Duration::ZERO);
        assert_eq!((looked.done, looked.planned, looked.moving.len()), (10, 10, 0));
    }

    #[test]
    fn a_look_ends_at_the_end_without_waiting() {
        let board = Board::default();
        board.end();
        assert!(board.look(Duration::MAX).1.ended);
    }
}
