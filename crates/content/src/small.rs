//! Small content as a whole: configs, and whatever else is read rather than stored.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pier_oci::{Descriptor, Digest};

use crate::{
    Blob, Body, ByteRange, Commit, Error, Filling, Order, Origin, Progress, Result, Subject, fill_and_commit,
};

/// A blob's bytes, of the size and the digest that its descriptor says. They come as all content does: resumed where a line broke, and
/// fetched once more from one source alone when somebody sent wrong ones.
///
/// # Errors
/// [`Invalid`](Error::Invalid) when it would have more than `limit` bytes; [`Size`](Error::Size) and [`Integrity`](Error::Integrity)
/// when it is not what it was announced as.
pub async fn read_small(
    origin: Origin<'_>,
    descriptor: &Descriptor,
    limit: u64,
    progress: &Progress,
) -> Result<Bytes> {
    if descriptor.size > limit {
        let reason = format!("it has {} bytes, more than {limit}", descriptor.size);
        return Err(Error::Invalid { subject: Subject::Blob(descriptor.digest), reason });
    }
    let part = Small { descriptor, bytes: Mutex::default(), committed: AtomicBool::new(false) };
    let commit = Commit { digest: descriptor.digest, link: None };
    let blob = fill_and_commit(&part, origin, descriptor, commit, progress).await?;
    match blob.body {
        Body::Memory(bytes) => Ok(bytes),
        _ => Err(Error::Unsupported { what: "content that is not in memory" }),
    }
}

/// A part in memory that takes bytes front to back.
#[derive(Debug)]
struct Small<'a> {
    descriptor: &'a Descriptor,
    bytes: Mutex<BytesMut>,
    committed: AtomicBool,
}

impl Small<'_> {
    fn bytes(&self) -> MutexGuard<'_, BytesMut> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subject(&self) -> Subject {
        Subject::Blob(self.descriptor.digest)
    }

    fn held(&self) -> Result<()> {
        if self.committed.load(SeqCst) {
            return Err(Error::Invalid { subject: self.subject(), reason: "it is committed".to_owned() });
        }
        Ok(())
    }
}

#[async_trait]
impl Filling for Small<'_> {
    fn order(&self) -> Order {
        Order::FrontToBack
    }

    fn missing(&self) -> Vec<ByteRange> {
        let there = self.bytes().len() as u64;
        if there == self.descriptor.size { Vec::new() } else { vec![(there..self.descriptor.size).into()] }
    }

    fn size(&self) -> Option<u64> {
        Some(self.descriptor.size)
    }

    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()> {
        self.held()?;
        let mut bytes = self.bytes();
        let mut position = offset;
        for chunk in data {
            let there = bytes.len() as u64;
            let end = position + chunk.len() as u64;
            if position > there {
                return Err(Error::OutOfRange { subject: self.subject(), offset: position, expected: there });
            }
            if end > self.descriptor.size {
                let (expected, actual) = (self.descriptor.size, end);
                return Err(Error::Size { subject: self.subject(), expected, actual, origin: None });
            }
            let known = usize::try_from(there - position).unwrap_or(chunk.len()).min(chunk.len());
            bytes.extend_from_slice(&chunk[known..]);
            position = end;
        }
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<Blob> {
        self.held()?;
        if !self.missing().is_empty() {
            let reason = "some of it is missing".to_owned();
            return Err(Error::Invalid { subject: self.subject(), reason });
        }
        let mut bytes = self.bytes();
        let actual = Digest::of(commit.digest.algorithm(), &bytes);
        let content = std::mem::take(&mut *bytes).freeze();
        if actual != commit.digest {
            return Err(Error::Integrity { expected: commit.digest, actual, origin: None });
        }
        self.committed.store(true, SeqCst);
        Ok(Blob { digest: actual, size: self.descriptor.size, body: Body::Memory(content) })
    }

    async fn reset(&self) -> Result<()> {
        self.held()?;
        self.bytes().clear();
        Ok(())
    }

    async fn abort(&self) -> Result<()> {
        self.reset().await
    }
}
