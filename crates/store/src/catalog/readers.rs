//! Connections that read, and what is remembered of what they read.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use pier_content::Result;
use rusqlite::{Connection, ErrorCode};

use super::database::{self, During as _};
use crate::store::lock;

/// Idle connections that are kept. More readers at once open more and close them again.
const KEPT: usize = 4;

/// Lends connections to blocking threads.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default() }
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
/// `PRAGMA data_version` of a connection changes when any *other* connection commits, also one of another process.
/// It reads one page of shared memory, about a microsecond, so it can be asked on the reactor.
#[derive(Debug)]
pub(crate) struct Epoch(Mutex<Counter>);

#[derive(Debug)]
struct Counter {
    connection: Connection,
    seen: i64,
    epoch: u64,
}

impl Epoch {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let connection = database::open_reader(path)?;
        // It is asked on the reactor, so it never waits.
        connection.busy_timeout(Duration::ZERO).during("set busy timeout")?;
        Ok(Self(Mutex::new(Counter { connection, seen: 0, epoch: 0 })))
    }

    /// The number of the present state. What was read after an answer of `n` may be used while the answer is `n`.
    pub(crate) fn now(&self) -> Result<u64> {
        let mut counter = lock(&self.0);
        let version = counter
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)));
        match version {
            Ok(version) if version == counter.seen => {}
            Ok(version) => {
                counter.seen = version;
                counter.epoch += 1;
            }
            // Another process recovers the log after a crash. Nothing that is remembered counts until it is done.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => counter.epoch += 1,
            Err(error) => return Err(error).during("read the data version"),
        }
        Ok(counter.epoch)
    }
}
