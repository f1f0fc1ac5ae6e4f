//! The contract's suite holds for a store that takes bytes only at the end of what is there.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pier_content::{
    Blob, BlobInfo, BlobStore, ByteRange, Commit, Error, Filling, Ingest, IngestKey, Memory, Order, Result,
    Subject,
    suite::{Harness, Stores},
};
use pier_oci::Digest;

/// A store in memory whose writers refuse gaps.
#[derive(Debug, Default)]
struct InOrder(Memory);

#[derive(Debug)]
struct Appending {
    inner: Box<dyn Filling>,
    subject: Subject,
}

#[async_trait]
impl BlobStore for InOrder {
    async fn stat(&self, digest: &Digest) -> Result<Option<BlobInfo>> {
        self.0.stat(digest).await
    }

    async fn open(&self, digest: &Digest) -> Result<Blob> {
        self.0.open(digest).await
    }

    async fn ingest(&self, key: IngestKey) -> Result<Ingest> {
        let subject = match &key {
            IngestKey::Blob { digest, .. } => Subject::Blob(*digest),
            IngestKey::NewUpload(session) | IngestKey::Upload(session) => Subject::Upload(*session),
        };
        Ok(match self.0.ingest(key).await? {
            Ingest::Filling(inner) => Ingest::Filling(Box::new(Appending { inner, subject })),
            other => other,
        })
    }

    async fn delete(&self, digest: &Digest) -> Result<()> {
        self.0.delete(digest).await
    }

    async fn walk(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<BlobInfo>> {
        self.0.walk(after, limit).await
    }
}

#[async_trait]
impl Filling for Appending {
    fn order(&self) -> Order {
        Order::FrontToBack
    }

    fn missing(&self) -> Vec<ByteRange> {
        self.inner.missing()
    }

    fn size(&self) -> Option<u64> {
        self.inner.size()
    }

    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()> {
        match self.missing().first() {
            Some(hole) if hole.start < offset => {
                Err(Error::OutOfRange { subject: self.subject.clone(), offset, expected: hole.start })
            }
            _ => self.inner.write_at(offset, data).await,
        }
    }

    async fn commit(&self, commit: Commit) -> Result<Blob> {
        self.inner.commit(commit).await
    }

    async fn reset(&self) -> Result<()> {
        self.inner.reset().await
    }

    async fn abort(&self) -> Result<()> {
        self.inner.abort().await
    }
}

struct InOrderHarness(Arc<InOrder>);

impl Harness for InOrderHarness {
    fn fresh() -> Self {
        Self(Arc::default())
    }

    fn stores(&self) -> Stores {
        let blobs = Arc::clone(&self.0) as Arc<dyn BlobStore>;
        Stores { blobs, catalog: Arc::new(self.0.0.clone()) }
    }

    fn reopened(self) -> Option<Self> {
        None
    }

    fn second(&self) -> Option<Stores> {
        None
    }
}

pier_content::blob_store_suite!(InOrderHarness);
