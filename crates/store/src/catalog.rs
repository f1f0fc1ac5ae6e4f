//! The catalog on disk: one SQLite database, one writer thread, readers beside it, and what is remembered.

pub(crate) mod blob_rows;
pub(crate) mod columns;
pub(crate) mod database;
pub(crate) mod leftovers;
pub(crate) mod manifest_rows;
pub(crate) mod name_rows;
mod readers;
mod remembered;
mod wal_index;
mod writer;

use std::{path::PathBuf, sync::Arc, sync::Mutex};

use pier_content::Result;
use pier_oci::{Digest, Manifest, RepositoryName, Selector};
use rusqlite::{Connection, OptionalExtension as _};

use self::{
    blob_rows::Link,
    database::During as _,
    readers::{Epoch, Readers},
    remembered::Remembered,
    wal_index::WalIndex,
    writer::{Undo, Writer},
};
use crate::store::{blocking, lock};

/// The database and its ways in.
#[derive(Debug)]
pub(crate) struct CatalogFile {
    writer: Writer,
    readers: Arc<Readers>,
    epoch: Epoch,
    remembered: Mutex<Remembered>,
}

impl CatalogFile {
    /// Opens the database, makes it if need be.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let index = WalIndex::share(&path)?;
        let writer = Writer::start(path.clone(), index.clone())?;
        index.open()?;
        let readers = Arc::new(Readers::new(path, index.clone()));
        Ok(Self { writer, readers, epoch: Epoch::new(index), remembered: Mutex::default() })
    }

    /// Runs a command in a transaction and returns when it is durable. See [`Writer::write`].
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        command: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.write(operation, Undo::Alone, command).await
    }

    /// The same for a command that checks all that it wants to know before it changes anything, which is cheaper. See [`Undo::WithAll`].
    pub(crate) async fn write_checked<T: Send + 'static>(
        &self,
        operation: &'static str,
        command: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.write(operation, Undo::WithAll, command).await
    }

    /// Runs a query on a blocking thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let readers = Arc::clone(&self.readers);
        blocking(move || readers.read(query)).await
    }

    /// A manifest; from memory, without a hop to another thread, when it was read since the last change.
    pub(crate) async fn manifest(
        &self,
        repository: &RepositoryName,
        selector: &Selector,
    ) -> Result<Arc<Manifest>> {
        let epoch = self.epoch.now();
        if let Some(manifest) = lock(&self.remembered).manifest(epoch, repository, selector) {
            return Ok(manifest);
        }
        let key = (repository.clone(), selector.clone());
        let (manifest, (repository, selector)) = self
            .read(move |connection| {
                manifest_rows::resolve(connection, &key.0, &key.1).map(|manifest| (manifest, key))
            })
            .await?;
        lock(&self.remembered).keep_manifest(epoch, repository, selector, Arc::clone(&manifest));
        Ok(manifest)
    }

    /// A blob as a repository shows it, with the lease that the database has now: nobody has written to it since that was
    /// read, or it is read again.
    pub(crate) async fn linked(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<Link>> {
        let epoch = self.epoch.now();
        if let Some(link) = lock(&self.remembered).link(epoch, repository, digest) {
            return Ok(Some(link));
        }
        let (name, digest) = (repository.clone(), *digest);
        let link = self.read(move |connection| blob_rows::linked(connection, &name, &digest)).await?;
        if let Some(link) = link {
            let mut remembered = lock(&self.remembered);
            remembered.keep_link(epoch, repository.clone(), digest, link);
            remembered.keep_size(epoch, digest, link.size);
        }
        Ok(link)
    }

    /// The size of a committed blob.
    pub(crate) async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let epoch = self.epoch.now();
        if let Some(size) = lock(&self.remembered).size(epoch, digest) {
            return Ok(Some(size));
        }
        let digest = *digest;
        let size = self.read(move |connection| blob_rows::size(connection, &digest)).await?;
        if let Some(size) = size {
            lock(&self.remembered).keep_size(epoch, digest, size);
        }
        Ok(size)
    }

    /// A secret of this store, made when it is first asked for. Every process that has the store gets the same.
    pub(crate) async fn secret(&self, name: &'static str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        self.write("make a secret", move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
                )
                .and_then(|mut statement| statement.execute(rusqlite::params![name, fresh]))
                .during("write a secret")?;
            connection
                .prepare_cached("SELECT value FROM setting WHERE name = ?1")
                .and_then(|mut statement| {
                    statement.query_row([name], |row| row.get::<_, [u8; 32]>(0)).optional()
                })
                .during("read a secret")?
                .ok_or_else(|| database::damaged("read a secret", "it is not there after being written"))
        })
        .await
    }
}
