//! Following a part that another task fills.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::part::{Part, Phase};
use crate::{Blob, ByteRange, ByteStream, Following, Result};

/// A reader of a part. Outlives the writer.
#[derive(Debug)]
pub(super) struct Reader {
    part: Arc<Part>,
    epoch: u64,
}

impl Reader {
    pub(super) fn new(part: Arc<Part>) -> Self {
        let epoch = part.state().epoch;
        Self { part, epoch }
    }
}

#[async_trait]
impl Following for Reader {
    fn size(&self) -> Option<u64> {
        self.part.state().size
    }

    fn present(&self) -> Vec<Range<u64>> {
        self.part.state().content.present.iter().collect()
    }

    fn read(&self, range: ByteRange) -> ByteStream {
        let cursor = Cursor { part: Arc::clone(&self.part), epoch: self.epoch, range };
        stream::try_unfold(cursor, |mut cursor| async move {
            Ok(cursor.next().await?.map(|bytes| (bytes, cursor)))
        })
        .boxed()
    }

    async fn committed(&self) -> Result<Blob> {
        let mut changes = self.part.changes();
        loop {
            {
                let state = self.part.state();
                self.part.check_epoch(&state, self.epoch)?;
                match &state.phase {
                    Phase::Committed(blob) => return Ok(blob.clone()),
                    Phase::Abandoned => return Err(self.part.abandoned()),
                    Phase::Filling | Phase::Committing => {}
                }
            }
            changes.changed().await.map_err(|_| self.part.abandoned())?;
        }
    }
}

struct Cursor {
    part: Arc<Part>,
    epoch: u64,
    range: ByteRange,
}

impl Cursor {
    /// The next bytes, `None` behind the last.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut changes = self.part.changes();
        loop {
            if self.range.is_empty() {
                return Ok(None);
            }
            {
                let state = self.part.state();
                self.part.check_epoch(&state, self.epoch)?;
                if let Some(mut bytes) = state.content.at(self.range.start) {
                    if let Some(left) = self.range.len() {
                        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    }
                    self.range.start += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                match state.phase {
                    Phase::Committed(_) => return Ok(None),
                    Phase::Abandoned => return Err(self.part.abandoned()),
                    Phase::Filling | Phase::Committing => {}
                }
            }
            changes.changed().await.map_err(|_| self.part.abandoned())?;
        }
    }
}
