//! Who is at work on what in this process.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use pier_content::Subject;
use pier_oci::{Algorithm, Digest, SessionId};

use super::{hashing::Hashing, shared::Shared};
use crate::store::lock;

/// Hashes of parts that are between two requests, at some 300 bytes each.
const PARKED: usize = 4096;

/// What a part is to become.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PartKey {
    Blob(Digest),
    Upload(SessionId),
}

impl PartKey {
    pub(crate) fn subject(&self) -> Subject {
        match self {
            Self::Blob(digest) => Subject::Blob(*digest),
            Self::Upload(session) => Subject::Upload(*session),
        }
    }

    /// What its bytes are hashed with until somebody says otherwise. For an upload it is what nearly everybody pushes
    /// under; another algorithm that nobody has announced costs one more read at commit.
    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Blob(digest) => digest.algorithm(),
            Self::Upload(_) => Algorithm::Sha256,
        }
    }
}

/// The parts that a task of this process holds, and how far the hashes of those had come that none holds.
#[derive(Debug, Default)]
pub(crate) struct PartTable {
    live: Mutex<HashMap<PartKey, Arc<Shared>>>,
    parked: Mutex<Parked>,
}

/// The answer of [`PartTable::join`].
pub(crate) enum Joined {
    /// Nobody holds it: the caller does now.
    New(Registration),
    /// Somebody does.
    Existing(Arc<Shared>),
}

impl PartTable {
    /// Registers the caller as the one who holds a part, unless somebody is.
    pub(crate) fn join(self: &Arc<Self>, key: &PartKey, size: Option<u64>) -> Joined {
        match lock(&self.live).entry(key.clone()) {
            Entry::Occupied(entry) => Joined::Existing(Arc::clone(entry.get())),
            Entry::Vacant(entry) => {
                let shared = Arc::new(Shared::new(key.clone(), size));
                entry.insert(Arc::clone(&shared));
                Joined::New(Registration { table: Arc::clone(self), shared })
            }
        }
    }

    /// Keeps the hash of a part that is let go, so that the next request need not read it all again.
    pub(super) fn park(&self, data: PathBuf, hashing: Hashing) {
        let mut parked = lock(&self.parked);
        if parked.hashes.insert(data.clone(), hashing).is_none() {
            parked.order.push_back(data);
        }
        while parked.order.len() > PARKED {
            if let Some(oldest) = parked.order.pop_front() {
                parked.hashes.remove(&oldest);
            }
        }
    }

    /// The hash that was kept for a data file. Its name is random, so it cannot be another file's.
    pub(super) fn unpark(&self, data: &Path) -> Option<Hashing> {
        let mut parked = lock(&self.parked);
        let hashing = parked.hashes.remove(data)?;
        parked.order.retain(|kept| kept != data);
        Some(hashing)
    }
}

#[derive(Debug, Default)]
struct Parked {
    hashes: HashMap<PathBuf, Hashing>,
    order: VecDeque<PathBuf>,
}

/// The right to hold a part in this process. Its drop tells everybody that the part is free.
#[derive(Debug)]
pub(crate) struct Registration {
    table: Arc<PartTable>,
    pub(super) shared: Arc<Shared>,
}

impl Registration {
    pub(super) fn table(&self) -> &PartTable {
        &self.table
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Out of the table first: who wakes up and asks again must not find this entry.
        lock(&self.table.live).remove(&self.shared.key);
        self.shared.let_go();
    }
}
