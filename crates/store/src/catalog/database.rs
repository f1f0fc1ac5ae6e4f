//! The SQLite file: opening it, its schema, and errors with a name for what was being done.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use pier_content::{Error, Result, Subject};
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, ffi::SQLITE_IOERR_SHMSIZE};

/// The schema's version, in `PRAGMA user_version`: how many steps it has taken.
const SCHEMA_VERSION: u32 = 4;

/// The steps that make the schema, each from the one before. What was released never changes; what is new is one more step.
const STEPS: [&str; SCHEMA_VERSION as usize] = [
    include_str!("schema.sql"),
    include_str!("resolved_names.sql"),
    include_str!("referrers_in_order.sql"),
    include_str!("leftovers.sql"),
];

/// How long a statement waits for a writer of another process. Group commits take milliseconds; a process that
/// is stopped while it writes is the only reason to wait longer.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// Pages of the log beyond which they are copied into the database, and their size, which is SQLite's own.
const LOG_PAGES: i64 = 4000;
const PAGE_BYTES: i64 = 4096;

/// What the writer's cache may take. SQLite has KiB as negative numbers.
const WRITER_CACHE_KIB: i64 = -8192;

/// Between two tries to switch a new file to WAL; another process needs a few syncs for it.
const SWITCH_AGAIN: Duration = Duration::from_millis(5);

/// Attaches what was being done to a database error.
pub(crate) trait During<T> {
    fn during(self, operation: &'static str) -> Result<T>;
}

impl<T> During<T> for rusqlite::Result<T> {
    fn during(self, operation: &'static str) -> Result<T> {
        self.map_err(|error| convert(operation, error))
    }
}

fn convert(operation: &'static str, error: rusqlite::Error) -> Error {
    let full = || Error::StorageFull { operation, path: "catalog.sqlite".into() };
    // SQLite has no word of its own for a disk without room for the index of its log, and reports that it cannot
    // enlarge that file.
    let extended = error.sqlite_error().map(|error| error.extended_code);
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => full(),
        _ if extended == Some(SQLITE_IOERR_SHMSIZE) => full(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Unavailable {
            origin: "the catalog".to_owned(),
            operation,
            retry_after: None,
            source: Some(error.into()),
        },
        _ => Error::Database { operation, source: error.into() },
    }
}

/// A connection that may write. One for each process's writer thread.
pub(crate) fn open_writer(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path).during("open")?;
    configure(&connection)?;
    // WAL lets readers go on beside the writer; FULL syncs the log at each commit, which is what durable means.
    switch_to_wal(&connection).during("switch to WAL")?;
    connection.pragma_update(None, "synchronous", "full").during("set synchronous")?;
    connection.pragma_update(None, "foreign_keys", true).during("set foreign_keys")?;
    // Four times SQLite's own: a page that changes all the time is copied into the database a quarter as often, and everybody waits for that
    // with two syncs. The price is a longer log to read after a crash.
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES).during("set the log's length")?;
    // The log is cut back after a burst instead of keeping its largest size for ever.
    connection.pragma_update(None, "journal_size_limit", LOG_PAGES * PAGE_BYTES).during("limit the log")?;
    // All writes go through this one connection, and what it changes is spread over many indices.
    connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB).during("set cache size")?;
    migrate(&connection)?;
    Ok(connection)
}

/// Of several processes that open a new folder at once, one switches. Each reads the file first and then wants it alone, and where two
/// have read it SQLite tells one of them at once that it is busy, whatever the busy timeout: waiting with a lock held would never end.
/// The failed try has let go of its lock, so another can succeed; a file that was switched meanwhile needs none.
fn switch_to_wal(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())) {
            Err(error) if is_busy(&error) && Instant::now() < deadline => std::thread::sleep(SWITCH_AGAIN),
            outcome => return outcome,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// A connection that cannot write.
pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).during("open")?;
    configure(&connection)?;
    connection.pragma_update(None, "query_only", true).during("set query_only")?;
    Ok(connection)
}

fn configure(connection: &Connection) -> Result<()> {
    connection.busy_timeout(LOCK_WAIT).during("set busy timeout")?;
    connection.set_prepared_statement_cache_capacity(64);
    // Else a statement may be compiled again for each value that it is run with, to choose an index by it: a sixth of what a
    // PUT of a manifest cost.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .during("have plans that do not depend on values")?;
    // KiB; several connections share the operating system's cache behind this one.
    connection.pragma_update(None, "cache_size", -2048).during("set cache size")
}

fn migrate(connection: &Connection) -> Result<()> {
    // IMMEDIATE: two processes that open a new folder must not both create the tables.
    connection.execute_batch("BEGIN IMMEDIATE").during("begin")?;
    let outcome = bring_up_to_date(connection);
    connection.execute_batch(if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).during("finish")?;
    outcome
}

/// Takes the steps that a database has not taken yet.
fn bring_up_to_date(connection: &Connection) -> Result<()> {
    let version: u32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .during("read the schema version")?;
    let Some(steps) = usize::try_from(version).ok().and_then(|taken| STEPS.get(taken..)) else {
        return Err(Error::Database {
            operation: "check the schema version",
            source: format!("the catalog has schema {version}, this version of Pier knows {SCHEMA_VERSION}")
                .into(),
        });
    };
    if steps.is_empty() {
        return Ok(());
    }
    for step in steps {
        connection.execute_batch(step).during("create tables")?;
    }
    connection.pragma_update(None, "user_version", SCHEMA_VERSION).during("note the schema version")
}

/// A fault in what the catalog holds, not in what was asked.
pub(crate) fn damaged(operation: &'static str, what: impl Into<String>) -> Error {
    Error::Database { operation, source: what.into().into() }
}

/// `NotFound`, for `ok_or_else`.
pub(crate) fn not_found(subject: Subject) -> Error {
    Error::NotFound { subject }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    fn version(connection: &Connection) -> u32 {
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    /// SQLite compiles a statement again when it has chosen its plan by a value and gets another.
    #[test]
    fn a_statement_is_compiled_once_for_all_values() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_writer(&folder.path().join("catalog.sqlite")).unwrap();
        let mut statement = connection
            .prepare("SELECT name FROM tag WHERE repository_id = ?1 AND name > ?2 ORDER BY name LIMIT ?3")
            .unwrap();
        for number in 0..10 {
            assert!(!statement.exists(rusqlite::params![number, format!("a{number}"), 100]).unwrap());
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }

    #[test]
    fn a_catalog_of_an_older_version_takes_the_steps_that_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.sqlite");
        let older = Connection::open(&path).unwrap();
        older.execute_batch(STEPS[0]).unwrap();
        older.pragma_update(None, "user_version", 1).unwrap();
        older.execute("INSERT INTO repository (name, created_at) VALUES ('app', 0)", []).unwrap();
        drop(older);

        let connection = open_writer(&path).unwrap();
        assert_eq!(version(&connection), SCHEMA_VERSION);
        let count = |table: &str| -> u32 {
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!((count("repository"), count("resolved_name")), (1, 0));
        // Nobody knows any more what it has lost.
        assert_eq!(count("repository_review"), 1);
    }

    #[test]
    fn a_catalog_of_a_newer_version_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.sqlite");
        let newer = Connection::open(&path).unwrap();
        newer.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
        let error = open_writer(&path).unwrap_err();
        assert!(matches!(error, Error::Database { operation: "check the schema version", .. }), "{error:?}");
        assert_eq!(version(&newer), SCHEMA_VERSION + 1);
    }
}
