//! A place that keeps verified blobs.

use std::fmt::Debug;

use async_trait::async_trait;
use pier_oci::{Digest, SessionId};

use crate::{Blob, Filling, Following, Result};

/// Keeps blobs by the digest that their bytes hash to.
///
/// Guarantees, for every implementation:
/// - Nothing is visible through [`open`](Self::open) or [`stat`](Self::stat) before its commit returned or
///   another process's commit was durable.
/// - What a commit acknowledged survives `kill -9` and, unless the implementation says otherwise, power loss.
/// - At any time a part has one writer, across tasks and processes; everyone else follows it or waits for it.
/// - A call that is dropped at any await leaves the store as consistent as if it had not been made.
///
/// Which repository may see a blob is the [`Catalog`](crate::Catalog)'s business.
#[async_trait]
pub trait BlobStore: Debug + Send + Sync {
    /// The blob's size, or `None` when it is not committed.
    async fn stat(&self, digest: &Digest) -> Result<Option<BlobInfo>>;

    /// The committed blob. [`Error::NotFound`](crate::Error::NotFound) when there is none.
    async fn open(&self, digest: &Digest) -> Result<Blob>;

    /// Joins the making of a blob or of an upload: it is already there, or the caller is its one writer, or
    /// another writer of this process is at work and can be followed.
    ///
    /// When another process holds the part this waits for it, with a bound, and then gives
    /// [`Error::Busy`](crate::Error::Busy). An upload is never followed: it belongs to one request at a time.
    async fn ingest(&self, key: IngestKey) -> Result<Ingest>;

    /// Removes a blob that nothing links, leases or pins.
    /// [`Error::InUse`](crate::Error::InUse) when something does, `NotFound` when it is not there.
    async fn delete(&self, digest: &Digest) -> Result<()>;

    /// Up to `limit` committed blobs in digest order, those after `after`.
    async fn walk(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<BlobInfo>>;
}

/// A committed blob, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// What its bytes hash to.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// What is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IngestKey {
    /// A blob whose digest is known before its bytes are.
    Blob {
        /// What the bytes have to hash to.
        digest: Digest,
        /// Bytes, when somebody announced them.
        size: Option<u64>,
    },
    /// A new upload session; its size and digest are unknown until commit.
    NewUpload(SessionId),
    /// An upload session that exists. `NotFound` when it does not.
    Upload(SessionId),
}

/// The answer to [`BlobStore::ingest`].
#[derive(Debug)]
pub enum Ingest {
    /// It is committed already.
    Present(Blob),
    /// The caller is its one writer.
    Filling(Box<dyn Filling>),
    /// Somebody else in this process writes it.
    Following(Box<dyn Following>),
}
