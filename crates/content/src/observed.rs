//! A part that tells a listener how it fills.

use async_trait::async_trait;
use bytes::Bytes;
use pier_oci::{Algorithm, Digest};

use crate::{Blob, ByteRange, Commit, Event, Filling, Order, Progress, Result};

/// Emits [`Event::Advanced`] for each write, whoever makes it: one stream, several ranges or a swarm.
#[derive(Debug)]
pub(crate) struct Observed<'a> {
    pub(crate) filling: &'a dyn Filling,
    pub(crate) digest: Digest,
    pub(crate) progress: &'a Progress,
}

#[async_trait]
impl Filling for Observed<'_> {
    fn order(&self) -> Order {
        self.filling.order()
    }

    fn missing(&self) -> Vec<ByteRange> {
        self.filling.missing()
    }

    fn size(&self) -> Option<u64> {
        self.filling.size()
    }

    fn hash_as(&self, algorithm: Algorithm) {
        self.filling.hash_as(algorithm);
    }

    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()> {
        let bytes = data.iter().map(|part| part.len() as u64).sum();
        self.filling.write_at(offset, data).await?;
        self.progress.emit(|| Event::Advanced { digest: self.digest, bytes });
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<Blob> {
        self.filling.commit(commit).await
    }

    async fn reset(&self) -> Result<()> {
        self.filling.reset().await
    }

    async fn abort(&self) -> Result<()> {
        self.filling.abort().await
    }
}
