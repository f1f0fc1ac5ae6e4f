//! The one writer of a part.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use pier_oci::{Algorithm, Digest, RepositoryName};

use crate::{Blob, ByteRange, Result};

/// The one writer of a part, across tasks and processes.
///
/// Dropping it keeps the bytes and frees the part: whoever asks next finds the same holes. It can be written to
/// from several tasks at once through a shared reference, which is what a swarm does.
///
/// Bytes that are present are never overwritten, because their hash may have been taken already: a write keeps
/// only what falls into holes that no other write has claimed.
#[async_trait]
pub trait Filling: Debug + Send + Sync {
    /// In which order it accepts bytes.
    fn order(&self) -> Order;

    /// What is missing, in order, without overlaps. The last may be open-ended when the size is unknown;
    /// empty when everything is there. What a concurrent write has claimed still counts as missing.
    fn missing(&self) -> Vec<ByteRange>;

    /// The size, when it was announced.
    fn size(&self) -> Option<u64>;

    /// Says under which algorithm it will be committed, where that is known before the first byte. A store that hashes what
    /// it receives then does so once. Later it changes nothing, and a commit under another algorithm succeeds all the same.
    fn hash_as(&self, _algorithm: Algorithm) {}

    /// Writes `data` one behind the other from `offset` on. When it returns, the bytes survive the end of the
    /// process and followers see them.
    ///
    /// Each call costs a hop to a blocking thread: hand over a mebibyte or so at once ([`pump`](crate::pump()) does).
    ///
    /// # Errors
    /// [`OutOfRange`](crate::Error::OutOfRange) for a gap where the order is front to back,
    /// [`Size`](crate::Error::Size) beyond the announced size, [`StorageFull`](crate::Error::StorageFull)
    /// when there is no room: what was present stays, and the write can be repeated.
    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()>;

    /// Verifies the content and publishes it: afterwards it is durable, visible, linked and leased.
    ///
    /// # Errors
    /// [`Integrity`](crate::Error::Integrity) or [`Size`](crate::Error::Size) when the bytes are not what was
    /// asked for: then the part is empty again and still held, so that it can be filled anew.
    /// [`Invalid`](crate::Error::Invalid) while something is missing, while a write is under way, or after a commit
    /// has come to its end. After any other error the commit can be repeated once [`missing`](Self::missing) is
    /// empty: the bytes are kept unless the device failed to make them durable.
    async fn commit(&self, commit: Commit) -> Result<Blob>;

    /// Empties the part and keeps it, so that what two sources sent is not mixed. Followers of what was there
    /// are told that it was abandoned. Refused with [`Invalid`](crate::Error::Invalid) during and after a commit.
    async fn reset(&self) -> Result<()>;

    /// Throws the part away. Followers are told that it was abandoned. Refused with
    /// [`Invalid`](crate::Error::Invalid) during and after a commit.
    async fn abort(&self) -> Result<()>;
}

/// How a [`Filling`] accepts bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Anywhere.
    Any,
    /// Only at the end of what is there: object storage and streaming copies.
    FrontToBack,
}

/// What a commit asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// What the bytes have to hash to. For a part that was asked for by digest it has to be that digest.
    pub digest: Digest,
    /// The repository that shows the blob from then on.
    pub link: Option<RepositoryName>,
}
