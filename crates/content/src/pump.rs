//! From a stream into a part.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, future::join};
use tokio::time::{Instant, timeout_at};

use crate::{ByteRange, ByteStream, Error, Filling, Result};

/// Bytes that are handed over at once: the hop to a blocking thread (about 35 microseconds) is then a
/// thirtieth of what hashing them costs, and one transfer holds no more than two of these.
///
/// Batches end at multiples of it. The page cache keeps a file in pieces as large as the writes that made them, where
/// these are aligned; a file in large pieces costs a tenth less to send.
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
    let mut cursor = Cursor { position: start, hole, rest: Bytes::new() };
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
    /// Behind what came from the stream, of which `rest` is not in a batch yet.
    position: u64,
    hole: ByteRange,
    /// What came with the last batch and lies behind its end.
    rest: Bytes,
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
        let came = self.hole.end.map_or(self.position, |end| self.position.min(end));
        let offset = (came - self.rest.len() as u64).max(self.hole.start);
        let mut batch = Batch { offset, data: Vec::new(), length: 0, ending: None };
        let full = full_length(offset);
        let mut deadline = None;
        while batch.length < full {
            if !self.rest.is_empty() {
                let fits = self.rest.len().min(full - batch.length);
                batch.data.push(self.rest.split_to(fits));
                batch.length += fits;
                deadline.get_or_insert_with(|| Instant::now() + BATCH_PATIENCE);
                continue;
            }
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
                Some(Ok(bytes)) => self.rest = self.keep(&bytes),
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

/// How many bytes a batch has that begins at `offset` and ends at a multiple of [`BATCH_BYTES`].
fn full_length(offset: u64) -> usize {
    // A remainder is below the divisor, which is a usize.
    #[expect(clippy::cast_possible_truncation, reason = "below BATCH_BYTES")]
    let into = (offset % BATCH_BYTES as u64) as usize;
    BATCH_BYTES - into
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    /// Checks where batches begin and how long they are.
    async fn check(start: u64, chunks: &[usize], hole: ByteRange, expected: &[(u64, usize)]) {
        let chunks: Vec<_> = chunks.iter().map(|&length| Ok(Bytes::from(vec![0; length]))).collect();
        let mut stream: ByteStream = stream::iter(chunks).boxed();
        let mut cursor = Cursor { position: start, hole, rest: Bytes::new() };
        let mut batches = Vec::new();
        loop {
            let batch = cursor.gather(&mut stream).await;
            assert_eq!(batch.data.iter().map(Bytes::len).sum::<usize>(), batch.length);
            if batch.length > 0 {
                batches.push((batch.offset, batch.length));
            }
            if batch.ending.is_some() {
                break;
            }
        }
        assert_eq!(batches, expected);
    }

    #[tokio::test]
    async fn batches_end_at_multiples_of_their_size() {
        const MIB: usize = BATCH_BYTES;
        let mib = MIB as u64;
        check(0, &[700_000; 3], ByteRange::ALL, &[(0, MIB), (mib, MIB), (2 * mib, 2_100_000 - 2 * MIB)])
            .await;
        // One chunk of several batches.
        check(0, &[2 * MIB + 5], ByteRange::ALL, &[(0, MIB), (mib, MIB), (2 * mib, 5)]).await;
        // A hole that begins anywhere, and ends within what came.
        let hole = (mib - 10..mib + 20).into();
        check(0, &[MIB / 2; 4], hole, &[(mib - 10, 10), (mib, 20)]).await;
        check(mib - 1, &[MIB, MIB], ByteRange::ALL, &[(mib - 1, 1), (mib, MIB), (2 * mib, MIB - 1)]).await;
    }
}
