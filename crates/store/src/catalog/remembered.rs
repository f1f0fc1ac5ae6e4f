//! Answers of the database that are still true.

use std::{collections::HashMap, sync::Arc};

use pier_oci::{Digest, Manifest, RepositoryName, Selector};

use super::blob_rows::Link;

/// Bytes of manifests that are remembered at most. Beyond it everything is forgotten at once: a working set that
/// fits is never evicted, and one that does not fit would gain little from a cleverer order.
const MAX_BYTES: usize = 24 << 20;

/// Links and sizes that are remembered at most, at some 150 bytes each.
const MAX_ENTRIES: usize = 50_000;

/// What has been read in one state of the database; emptied when that state is over.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    epoch: u64,
    bytes: usize,
    entries: usize,
    manifests: HashMap<RepositoryName, HashMap<Selector, Arc<Manifest>>>,
    links: HashMap<RepositoryName, HashMap<Digest, Link>>,
    sizes: HashMap<Digest, u64>,
}

impl Remembered {
    /// The manifest, when it was read in this state.
    pub(crate) fn manifest(
        &mut self,
        epoch: u64,
        repository: &RepositoryName,
        selector: &Selector,
    ) -> Option<Arc<Manifest>> {
        self.enter(epoch);
        self.manifests.get(repository)?.get(selector).cloned()
    }

    /// Keeps a manifest that was read in the state `epoch`.
    pub(crate) fn keep_manifest(
        &mut self,
        epoch: u64,
        repository: RepositoryName,
        selector: Selector,
        manifest: Arc<Manifest>,
    ) {
        // The parsed view weighs about as much as the bytes, and the maps a little.
        let weight = 2 * manifest.bytes().len() + 512;
        if !self.make_room(epoch, weight) {
            return;
        }
        self.manifests.entry(repository).or_default().insert(selector, manifest);
    }

    /// A blob as a repository shows it.
    pub(crate) fn link(&mut self, epoch: u64, repository: &RepositoryName, digest: &Digest) -> Option<Link> {
        self.enter(epoch);
        self.links.get(repository)?.get(digest).copied()
    }

    /// Keeps a link that was read in the state `epoch`.
    pub(crate) fn keep_link(&mut self, epoch: u64, repository: RepositoryName, digest: Digest, link: Link) {
        if self.make_room(epoch, 0) {
            self.links.entry(repository).or_default().insert(digest, link);
        }
    }

    /// The size of a committed blob.
    pub(crate) fn size(&mut self, epoch: u64, digest: &Digest) -> Option<u64> {
        self.enter(epoch);
        self.sizes.get(digest).copied()
    }

    /// Keeps a size that was read in the state `epoch`.
    pub(crate) fn keep_size(&mut self, epoch: u64, digest: Digest, size: u64) {
        if self.make_room(epoch, 0) {
            self.sizes.insert(digest, size);
        }
    }

    fn enter(&mut self, epoch: u64) {
        if epoch > self.epoch {
            *self = Self { epoch, ..Self::default() };
        }
    }

    /// Whether an answer from the state `epoch` may be kept; an answer of an older state is not.
    fn make_room(&mut self, epoch: u64, weight: usize) -> bool {
        self.enter(epoch);
        if epoch < self.epoch {
            return false;
        }
        if self.bytes + weight > MAX_BYTES || self.entries >= MAX_ENTRIES {
            *self = Self { epoch, ..Self::default() };
        }
        self.bytes += weight;
        self.entries += 1;
        weight <= MAX_BYTES
    }
}
