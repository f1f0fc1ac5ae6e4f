//! What SQLite alone can do on this disk: durable rows in transactions as large as clients that wait for them allow.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};

use super::load::Answered;

const SCHEMA: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE manifest (digest BLOB PRIMARY KEY, content BLOB NOT NULL);
    CREATE TABLE tag (name TEXT PRIMARY KEY, digest BLOB NOT NULL);";

/// Stores manifests with a tag each for about this long, `clients` of them in one transaction: the most that a server can
/// commit together when every client waits for its answer.
pub(super) fn store_manifests(
    path: &Path,
    clients: usize,
    lasting: Duration,
    tag_and_manifest: impl Fn(u64) -> (String, Vec<u8>),
) -> anyhow::Result<Answered> {
    let mut connection = Connection::open(path).context("cannot make a database")?;
    connection.execute_batch(SCHEMA).context("cannot make tables")?;
    let started = Instant::now();
    let mut stored = 0;
    while started.elapsed() < lasting {
        let transaction = connection.transaction()?;
        for _ in 0..clients {
            let (tag, manifest) = tag_and_manifest(stored);
            let digest: [u8; 32] = Sha256::digest(&manifest).into();
            transaction
                .prepare_cached("INSERT INTO manifest VALUES (?1, ?2)")?
                .execute(params![digest, manifest])?;
            transaction.prepare_cached("INSERT INTO tag VALUES (?1, ?2)")?.execute(params![tag, digest])?;
            stored += 1;
        }
        transaction.commit().context("cannot commit")?;
    }
    Ok(Answered { requests: stored, elapsed: started.elapsed() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sqlite");
        let row = |number: u64| (format!("t{number}"), number.to_le_bytes().to_vec());
        let Answered { requests, .. } = store_manifests(&path, 3, Duration::from_millis(5), row).unwrap();
        let count = |table: &str| {
            let query = format!("SELECT count(*) FROM {table}");
            let database = Connection::open(&path).unwrap();
            u64::from(database.query_row(&query, [], |row| row.get::<_, u32>(0)).unwrap())
        };
        assert!(requests >= 3);
        assert_eq!((count("manifest"), count("tag")), (requests, requests));
    }
}
