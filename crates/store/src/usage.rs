//! How much there is, and how much room is left.

use pier_content::{Error, Result};
use rusqlite::Connection;
use rustix::fs::StatVfsMountFlags;

use crate::{
    Store,
    catalog::{columns, database::During as _},
    store::blocking,
};

/// What a store holds, and the disk that it lies on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blobs.
    pub blobs: u64,
    /// Bytes of all blobs.
    pub bytes: u64,
    /// Manifests, each counted once.
    pub manifests: u64,
    /// Repositories that show something, or whose tags are remembered.
    pub repositories: u64,
    /// Digests that the collector looks at, now or when their leases end.
    pub reviews: u64,
    /// Bytes of the disk that are free for this process.
    pub free: u64,
    /// Bytes of the disk.
    pub disk: u64,
}

/// The disk that a store lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that are free for this process.
    pub free: u64,
    /// Bytes that there are.
    pub disk: u64,
    /// The kernel takes no writes: so it was mounted, or an error of the device made it so.
    pub is_read_only: bool,
}

impl Store {
    /// Counts what is there. Takes some milliseconds for each hundred thousand blobs, and holds nobody up.
    pub async fn usage(&self) -> Result<Usage> {
        let counted = self.context.catalog.read(count).await?;
        let Room { free, disk, .. } = self.room().await?;
        Ok(Usage { free, disk, ..counted })
    }

    /// Whether the store answers and could take a write: a look into the catalog, a transaction that changes nothing, and the disk.
    /// Counts nothing, syncs nothing, and takes a fraction of a millisecond when all is well.
    ///
    /// # Errors
    /// What a read or a write would fail with. A writer that holds the catalog makes it wait as long as a write would.
    pub async fn probe(&self) -> Result<Room> {
        let look = |connection: &Connection| {
            connection
                .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM setting LIMIT 1)")
                .and_then(|mut statement| statement.query_row([], |_| Ok(())))
                .during("look into the catalog")
        };
        self.context.catalog.read(look).await?;
        self.context.catalog.write("see whether the catalog can be written", |_| Ok(())).await?;
        self.room().await
    }

    async fn room(&self) -> Result<Room> {
        let root = self.context.dir.root().to_owned();
        blocking(move || {
            let disk = rustix::fs::statvfs(&root)
                .map_err(|error| Error::io("look at the disk of", &root, error.into()))?;
            Ok(Room {
                free: disk.f_bavail * disk.f_frsize,
                disk: disk.f_blocks * disk.f_frsize,
                is_read_only: disk.f_flag.contains(StatVfsMountFlags::RDONLY),
            })
        })
        .await
    }
}

fn count(connection: &Connection) -> Result<Usage> {
    connection
        .prepare_cached(
            "SELECT (SELECT count(*) FROM blob), (SELECT coalesce(sum(size), 0) FROM blob),
                    (SELECT count(*) FROM manifest), (SELECT count(*) FROM repository), (SELECT count(*) FROM review)",
        )
        .and_then(|mut statement| {
            statement.query_row([], |row| {
                Ok(Usage {
                    blobs: columns::size(row, 0)?,
                    bytes: columns::size(row, 1)?,
                    manifests: columns::size(row, 2)?,
                    repositories: columns::size(row, 3)?,
                    reviews: columns::size(row, 4)?,
                    ..Usage::default()
                })
            })
        })
        .during("count what is there")
}
