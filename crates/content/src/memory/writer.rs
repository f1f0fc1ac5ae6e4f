//! The one writer of a part.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use pier_oci::Digest;

use super::{
    World, lock,
    part::{Part, PartKey, Phase, Rejected},
};
use crate::{Blob, Body, ByteRange, Commit, Error, Filling, Order, Result};

/// The one writer of a part. Its drop keeps the bytes and frees the part.
#[derive(Debug)]
pub(super) struct Writer {
    world: Arc<Mutex<World>>,
    part: Arc<Part>,
}

impl Writer {
    pub(super) fn new(world: Arc<Mutex<World>>, part: Arc<Part>) -> Self {
        Self { world, part }
    }

    /// Checks the content and closes the part to writes. What does not match is thrown away.
    fn verify(&self, expected: Digest) -> Result<Bytes> {
        if let PartKey::Blob(digest) = self.part.key
            && digest != expected
        {
            return Err(self.part.invalid(format!("it cannot be committed as `{expected}`")));
        }
        let mut state = self.part.state();
        if !matches!(state.phase, Phase::Filling) {
            return Err(self.part.invalid("it cannot be committed twice"));
        }
        let there = state.content.present.prefix_end();
        let whole = state.size.unwrap_or(there);
        if there != whole || state.content.present.end() != there {
            return Err(self
                .part
                .invalid(format!("{there} of {whole} bytes are there from the beginning on")));
        }
        let actual = state.content.digest(expected.algorithm());
        if actual != expected {
            drop(state);
            self.part.reset(Rejected::Digest { expected, actual });
            return Err(Error::Integrity { expected, actual, origin: None });
        }
        state.phase = Phase::Committing;
        Ok(state.content.joined())
    }
}

#[async_trait]
impl Filling for Writer {
    fn order(&self) -> Order {
        Order::Any
    }

    fn missing(&self) -> Vec<ByteRange> {
        self.part.state().missing()
    }

    fn size(&self) -> Option<u64> {
        self.part.state().size
    }

    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()> {
        let length: u64 = data.iter().map(|bytes| bytes.len() as u64).sum();
        let end = offset.checked_add(length).ok_or_else(|| Error::OutOfRange {
            subject: self.part.key.subject(),
            offset,
            expected: u64::MAX - length,
        })?;
        {
            let mut state = self.part.state();
            if !matches!(state.phase, Phase::Filling) {
                return Err(self.part.invalid("it takes no more bytes"));
            }
            if let Some(size) = state.size.filter(|&size| end > size) {
                let subject = self.part.key.subject();
                return Err(Error::Size { subject, expected: size, actual: end, origin: None });
            }
            let mut position = offset;
            for bytes in &data {
                state.content.fill(position, bytes);
                position += bytes.len() as u64;
            }
        }
        self.part.notify();
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<Blob> {
        let Commit { digest, link } = commit;
        let bytes = self.verify(digest)?;
        let size = bytes.len() as u64;
        let blob = {
            let mut world = lock(&self.world);
            // Another session may have committed the same content: then these bytes are not needed.
            let bytes = world.blobs.entry(digest).or_insert(bytes).clone();
            if let Some(repository) = link {
                world.names.link(&repository, &digest, size);
            }
            world.forget(&self.part);
            Blob { digest, size, body: Body::Memory(bytes) }
        };
        self.part.set_phase(Phase::Committed(blob.clone()));
        Ok(blob)
    }

    async fn reset(&self) -> Result<()> {
        self.part.reset(Rejected::Reset);
        Ok(())
    }

    async fn abort(&self) -> Result<()> {
        lock(&self.world).forget(&self.part);
        self.part.set_phase(Phase::Abandoned);
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.part.is_held() {
            self.part.set_phase(Phase::Abandoned);
        }
    }
}
