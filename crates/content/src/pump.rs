//! From a stream into a part.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, future::join};
use tokio::time::{Instant, timeout_at};

use crate::{ByteRange, ByteStream, Error, Filling, Result};

/// Bytes that are handed over at once: the hop to a blocking thread (about 35 microseconds) is then a
/// thirtieth of what hashing them costs, and one transfer holds no more than two of these.
const BATCH_BYTES: usize = 1 << 20;

/// How long bytes wait for others before they are written, so that a slow stream is followed closely too.
const BATCH_PATIENCE: Duration = Duration::from_millis(100);

/// Writes the part of `stream` that falls into `hole`, in batches, and reads on while a batch is written.
///
/// `start` is where the stream begins in the content; bytes before and behind the hole are dropped.
/// Gives the position behind the last byte written: below the end of the hole when the stream ended early,
/// which only the caller can judge. Everything received before an error is kept in the part.
///
/// # Errors
/// The stream's own, and those of [`Filling::write_at`].
pub async fn pump(mut stream: ByteStream, start: u64, hole: ByteRange, filling: &dyn Filling) -> Result<u64> {
    let mut cursor = Cursor { position: start, hole };
    let mut batch = cursor.gather(&mut stream).await;
    loop {
        let last = batch.ending.take();
        let offset = batch.offset;
        let end = offset + batch.length as u64;
        let write =
            async { if batch.length == 0 { Ok(()) } else { filling.write_at(offset, batch.data).await } };
        if let Some(ending) = last {
            write.await?;
            ending?;
            return Ok(end);
        }
        let (written, next) = join(write, cursor.gather(&mut stream)).await;
        written?;
        batch = next;
    }
}

/// Where the stream stands in the content.
struct Cursor {
    position: u64,
    hole: ByteRange,
}

/// Bytes that lie one behind the other.
struct Batch {
    offset: u64,
    data: Vec<Bytes>,
    length: usize,
    /// Set when nothing follows: the end of the stream or of the hole, or the stream's error.
    ending: Option<Result<(), Error>>,
}

impl Cursor {
    /// Reads until a batch is full, has waited long enough, or nothing follows.
    async fn gather(&mut self, stream: &mut ByteStream) -> Batch {
        let offset = self.position.max(self.hole.start);
        let mut batch = Batch { offset, data: Vec::new(), length: 0, ending: None };
        let mut deadline = None;
        while batch.length < BATCH_BYTES {
            if self.hole.end.is_some_and(|end| self.position >= end) {
                batch.ending = Some(Ok(()));
                break;
            }
            let next = match deadline {
                None => stream.next().await,
                Some(deadline) => match timeout_at(deadline, stream.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            match next {
                Some(Ok(bytes)) => {
                    let kept = self.keep(&bytes);
                    if !kept.is_empty() {
                        batch.length += kept.len();
                        batch.data.push(kept);
                        deadline.get_or_insert_with(|| Instant::now() + BATCH_PATIENCE);
                    }
                }
                Some(Err(error)) => {
                    batch.ending = Some(Err(error));
                    break;
                }
                None => {
                    batch.ending = Some(Ok(()));
                    break;
                }
            }
        }
        batch
    }

    /// Moves past `bytes` and gives what of them falls into the hole.
    fn keep(&mut self, bytes: &Bytes) -> Bytes {
        let start = self.position;
        let end = start + bytes.len() as u64;
        self.position = end;
        let from = self.hole.start.clamp(start, end);
        let to = self.hole.end.unwrap_or(end).clamp(from, end);
        // Both lie within `bytes`, whose length is a usize.
        #[expect(clippy::cast_possible_truncation, reason = "differences within one buffer")]
        bytes.slice((from - start) as usize..(to - start) as usize)
    }
}
