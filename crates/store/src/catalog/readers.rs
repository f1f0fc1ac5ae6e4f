//! Connections that read, and what is remembered of what they read.

use std::{path::PathBuf, sync::Mutex};

use pier_content::Result;
use rusqlite::Connection;

use super::{
    database,
    wal_index::{Header, WalIndex},
};
use crate::store::lock;

/// Idle connections that are kept. More readers at once open more and close them again.
const KEPT: usize = 4;

/// Lends connections to blocking threads.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// Dropped after them.
    _index: WalIndex,
}

impl Readers {
    pub(super) fn new(path: PathBuf, index: WalIndex) -> Self {
        Self { path, idle: Mutex::default(), _index: index }
    }

    /// Runs `query` on a connection. Blocks: for blocking threads only.
    pub(crate) fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = lock(&self.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => database::open_reader(&self.path)?,
        };
        let outcome = query(&connection);
        let mut idle = lock(&self.idle);
        if idle.len() < KEPT {
            idle.push(connection);
        }
        outcome
    }
}

/// Counts the states of the database that this process has seen, whoever changed it.
///
/// A state is told by the head of the [WAL index](WalIndex), which is one small read of memory that waits for nobody, so it can be asked on the
/// reactor.
#[derive(Debug)]
pub(crate) struct Epoch {
    index: WalIndex,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    header: Option<Header>,
    epoch: u64,
}

impl Epoch {
    /// Over an index that is open.
    pub(super) fn new(index: WalIndex) -> Self {
        Self { index, seen: Mutex::new(Seen { header: None, epoch: 0 }) }
    }

    /// The number of the present state. What was read after an answer of `n` may be used while the answer is `n`.
    pub(crate) fn now(&self) -> u64 {
        // Read before the lock is taken. One that was read earlier may come here later: that makes one state more, and what is read in it
        // is newer than what is asked for.
        let header = self.index.header();
        let mut seen = lock(&self.seen);
        // Without a header somebody is at work on it. Nothing that is remembered counts until it is done.
        if header.is_none() || header != seen.header {
            *seen = Seen { header, epoch: seen.epoch + 1 };
        }
        seen.epoch
    }
}
