//! Following a part that another task of this process fills.

use std::{ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use pier_content::{Blob, ByteRange, ByteStream, Error, Following, Result};

use super::shared::{Phase, SharedPart};
use crate::sys::At as _;

/// Bytes that are read at once.
const READ_BYTES: u64 = 1 << 20;

/// A reader of a part. Holds no lock and outlives the writer.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: SharedPart,
    epoch: u64,
}

impl Reader {
    pub(crate) fn new(shared: SharedPart) -> Self {
        let epoch = shared.state().epoch;
        Self { shared, epoch }
    }
}

#[async_trait]
impl Following for Reader {
    fn size(&self) -> Option<u64> {
        self.shared.state().size
    }

    fn present(&self) -> Vec<Range<u64>> {
        self.shared.state().present.iter().collect()
    }

    fn read(&self, range: ByteRange) -> ByteStream {
        let cursor = Cursor { shared: Arc::clone(&self.shared), epoch: self.epoch, range };
        stream::try_unfold(cursor, |mut cursor| async move {
            Ok(cursor.next().await?.map(|bytes| (bytes, cursor)))
        })
        .boxed()
    }

    async fn committed(&self) -> Result<Blob> {
        let mut changes = self.shared.changes();
        loop {
            {
                let state = self.shared.state();
                if state.epoch != self.epoch {
                    return Err(state.rejection(&self.shared.key));
                }
                match &state.phase {
                    Phase::Committed(blob) => return Ok(blob.clone()),
                    Phase::Abandoned => return Err(abandoned(&self.shared)),
                    Phase::Filling | Phase::Committing | Phase::Aborted => {}
                }
            }
            changes.changed().await.map_err(|_| abandoned(&self.shared))?;
        }
    }
}

struct Cursor {
    shared: SharedPart,
    epoch: u64,
    range: ByteRange,
}

impl Cursor {
    /// The next bytes, `None` behind the last.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut changes = self.shared.changes();
        loop {
            if self.range.is_empty() {
                return Ok(None);
            }
            let step = {
                let state = self.shared.state();
                if state.epoch != self.epoch {
                    return Err(state.rejection(&self.shared.key));
                }
                let start = self.range.start;
                let run = state.present.run_end(start).min(self.range.end.unwrap_or(u64::MAX));
                match (&state.data, &state.phase) {
                    (Some(data), _) if run > start => Step::Read(data.clone(), run.min(start + READ_BYTES)),
                    (_, Phase::Committed(_)) => Step::End,
                    (_, Phase::Abandoned) => return Err(abandoned(&self.shared)),
                    _ => Step::Wait,
                }
            };
            match step {
                Step::End => return Ok(None),
                Step::Wait => changes.changed().await.map_err(|_| abandoned(&self.shared))?,
                Step::Read(data, end) => {
                    let start = self.range.start;
                    let length = usize::try_from(end - start).unwrap_or(0);
                    let bytes = crate::store::blocking(move || {
                        let mut buffer = vec![0; length];
                        data.file.read_exact_at(&mut buffer, start).at("read", &data.path)?;
                        Ok(Bytes::from(buffer))
                    })
                    .await?;
                    self.range.start = end;
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

enum Step {
    Read(super::folder::Data, u64),
    Wait,
    End,
}

fn abandoned(shared: &SharedPart) -> Error {
    Error::Abandoned { subject: shared.key.subject() }
}
