//! How the store behind a server is: whether clients should be sent here, and how much there is.
//!
//! Whoever may ask, and however often, the store is asked once at a time, and the log is told what changes.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pier_content::{Error, Result};
use pier_store::{Room, Store, Usage};

use super::shared::Shared;

/// How long the store may take to answer before the server counts as not ready.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// How long an answer about it is good for.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Bytes of free disk below which pushes begin to fail, so that another server should get them.
const LEAST_FREE: u64 = 64 << 20;

/// A store that is watched.
#[derive(Debug)]
pub(super) struct Health {
    store: Arc<Store>,
    trouble: Shared<Option<Trouble>>,
    usage: Shared<Option<Usage>>,
    told: Arc<Told>,
}

/// Why a store should get no clients. What exactly is wrong is for the log and not for whoever may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No answer in time, be it to a read or from the writer.
    Silent,
    /// An error of this code.
    Failing(&'static str),
    /// The kernel takes no writes.
    ReadOnly,
    /// Next to nothing is free.
    Full,
}

/// What the log was told last.
#[derive(Debug, Default)]
struct Told {
    trouble: Mutex<Option<Trouble>>,
    /// Why there is no usage.
    usage: Mutex<Option<Trouble>>,
}

impl Health {
    pub(super) fn new(store: Arc<Store>) -> Self {
        // Numbers are as new as whoever asks for them.
        let usage = Shared::new(Duration::ZERO);
        Self { store, trouble: Shared::new(GOOD_FOR), usage, told: Arc::default() }
    }

    /// What is wrong with the store, if anything is.
    pub(super) async fn trouble(&self) -> Option<Trouble> {
        let look = || {
            let (store, told) = (Arc::clone(&self.store), Arc::clone(&self.told));
            async move {
                let outcome = store.probe().await;
                let trouble = Trouble::of(&outcome);
                told.trouble(trouble, outcome.err().as_ref());
                trouble
            }
        };
        match self.trouble.get(STORE_LIMIT, look).await {
            Some(trouble) => trouble,
            None => {
                self.told.trouble(Some(Trouble::Silent), None);
                Some(Trouble::Silent)
            }
        }
    }

    /// How much there is, if that can be told.
    pub(super) async fn usage(&self) -> Option<Usage> {
        let look = || {
            let (store, told) = (Arc::clone(&self.store), Arc::clone(&self.told));
            async move {
                let outcome = store.usage().await;
                told.usage(outcome.as_ref().err().map(Trouble::from), outcome.as_ref().err());
                outcome.ok()
            }
        };
        match self.usage.get(STORE_LIMIT, look).await {
            Some(usage) => usage,
            None => {
                self.told.usage(Some(Trouble::Silent), None);
                None
            }
        }
    }
}

impl Trouble {
    fn of(outcome: &Result<Room>) -> Option<Self> {
        match outcome {
            Err(error) => Some(error.into()),
            Ok(room) if room.is_read_only => Some(Self::ReadOnly),
            Ok(room) if room.free < LEAST_FREE => Some(Self::Full),
            Ok(_) => None,
        }
    }
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        match error {
            Error::StorageFull { .. } => Self::Full,
            error => Self::Failing(error.code()),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => write!(f, "the store did not answer in {STORE_LIMIT:?}"),
            Self::Failing(code) => write!(f, "the store does not answer: {code}"),
            Self::ReadOnly => f.write_str("the disk takes no writes"),
            Self::Full => write!(f, "less than {} MiB of disk are free", LEAST_FREE >> 20),
        }
    }
}

impl Told {
    fn trouble(&self, trouble: Option<Trouble>, error: Option<&Error>) {
        if !is_new(&self.trouble, trouble) {
            return;
        }
        let error = error.map(tracing::field::display);
        match trouble {
            None => tracing::info!("the store is ready again"),
            Some(reason) => tracing::error!(%reason, error, "not ready"),
        }
    }

    fn usage(&self, trouble: Option<Trouble>, error: Option<&Error>) {
        if !is_new(&self.usage, trouble) {
            return;
        }
        let error = error.map(tracing::field::display);
        match trouble {
            None => tracing::info!("what the store holds is counted again"),
            Some(reason) => {
                tracing::error!(%reason, error, "cannot count what the store holds; /metrics says nothing of it");
            }
        }
    }
}

/// Whether this is not what was told last.
fn is_new(told: &Mutex<Option<Trouble>>, trouble: Option<Trouble>) -> bool {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    mem::replace(&mut *told, trouble) != trouble
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_or_without_writes_is_trouble() {
        let room = |free, is_read_only| Ok(Room { free, disk: 1 << 40, is_read_only });
        for (outcome, trouble) in [
            (room(LEAST_FREE, false), None),
            (room(LEAST_FREE - 1, false), Some(Trouble::Full)),
            (room(LEAST_FREE, true), Some(Trouble::ReadOnly)),
            (Err(Error::StorageFull { operation: "write", path: "x".into() }), Some(Trouble::Full)),
        ] {
            assert_eq!(Trouble::of(&outcome), trouble, "{outcome:?}");
        }
    }

    #[test]
    fn the_log_is_told_what_changes() {
        let told = Mutex::default();
        let (full, silent) = (Some(Trouble::Full), Some(Trouble::Silent));
        let news = [None, full, full, silent, None, None].map(|trouble| is_new(&told, trouble));
        assert_eq!(news, [false, true, false, true, true, false]);
    }
}
