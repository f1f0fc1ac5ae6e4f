//! Who gave which content.
//!
//! Behind a [`Source`](crate::Source) may be mirrors and a registry, and what its name says is only who might have answered. Whoever reports
//! where bytes came from listens to [`Event::Given`] here. Whose bytes were thrown away ([`Event::Discarded`]) has given nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use pier_oci::Digest;

use crate::{Event, Progress};

/// The givers of content, by digest. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<Mutex<BTreeMap<Digest, BTreeSet<String>>>>);

impl Origins {
    /// Notes who gave what, and hands everything on to `progress`. To be given to whatever makes the source.
    pub fn listening(&self, progress: &Progress) -> Progress {
        let (origins, progress) = (self.clone(), progress.clone());
        Progress::to(move |event| {
            match &event {
                Event::Given { digest, origin } => origins.note(*digest, origin),
                Event::Discarded(digest) => origins.forget(digest),
                _ => {}
            }
            progress.emit(|| event);
        })
    }

    /// Who gave it; several when one went on where another had stopped. `None` when nobody is known to.
    pub fn of(&self, digest: &Digest) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(digest).map(|names| names.iter().cloned().collect::<Vec<_>>().join(", "))
    }

    fn note(&self, digest: Digest, origin: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(digest).or_default().insert(origin.to_owned());
    }

    fn forget(&self, digest: &Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }
}
