//! Bodies: bounded when they are read whole, watched when they flow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use pier_content::{ByteStream, Error, Result};
use pier_sendfile::FileQueue;
use tokio::time::{error::Elapsed, sleep, timeout};

use super::{Response, Timeouts, failure::Stalled, unreachable};

/// A body that was read whole, as far as it was wanted.
#[derive(Debug)]
pub(crate) enum Read {
    /// All of it.
    Whole(Bytes),
    /// It is longer than what was allowed; these are its first bytes.
    TooLong(Bytes),
}

/// Bytes a second that come of a small body at least. Somebody who sends them one by one is never silent for long.
const SLOWEST: u64 = 64 << 10;

impl Response {
    /// Reads the body, up to `limit` bytes, in the time that so many may take.
    pub(crate) async fn read(self, limit: u64, operation: &'static str) -> Result<Read> {
        let bound = self.stall.saturating_add(Duration::from_secs(limit / SLOWEST));
        let origin = self.origin.clone();
        let Ok(read) = timeout(bound, self.read_to_end(limit, operation)).await else {
            let reason = format!("its answer did not end within {} s", bound.as_secs());
            let source = Some(reason.into());
            return Err(Error::Unavailable { origin, operation, retry_after: None, source });
        };
        read
    }

    async fn read_to_end(self, limit: u64, operation: &'static str) -> Result<Read> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut stream = self.stream(operation);
        let mut whole = BytesMut::new();
        while let Some(bytes) = stream.next().await {
            let bytes = bytes?;
            let room = limit - whole.len();
            whole.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if bytes.len() > room {
                return Ok(Read::TooLong(whole.freeze()));
            }
        }
        Ok(Read::Whole(whole.freeze()))
    }

    /// The first `limit` bytes of a body that is only advice, such as an error's; what cannot be read is left out.
    pub(crate) async fn excerpt(self, limit: u64) -> Bytes {
        match self.read(limit, "read an error").await {
            Ok(Read::Whole(bytes) | Read::TooLong(bytes)) => bytes,
            Err(_) => Bytes::new(),
        }
    }

    /// The body as it arrives. Ends in an error when nothing arrives for the time that a body may stall.
    pub(crate) fn stream(self, operation: &'static str) -> ByteStream {
        stream::try_unfold(Some(self), move |state| async move {
            let Some(mut answer) = state else { return Ok(None) };
            match timeout(answer.stall, answer.inner.chunk()).await {
                Ok(Ok(Some(bytes))) => Ok(Some((bytes, Some(answer)))),
                Ok(Ok(None)) => {
                    drop(answer.slot.take());
                    Ok(None)
                }
                Ok(Err(error)) => Err(unreachable(&answer.origin, operation, error)),
                Err(_) => Err(stalled(answer.origin.clone(), operation, answer.stall)),
            }
        })
        .boxed()
    }
}

fn stalled(origin: String, operation: &'static str, stall: Duration) -> Error {
    Error::Unavailable { origin, operation, retry_after: None, source: Some(Stalled(stall).into()) }
}

/// Watches a body on its way out. A connection that takes nothing any more fails no write: its buffer is full and stays so.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    /// Pieces that the connection was given.
    pieces: Arc<AtomicU64>,
    /// The connection's, where it sends files: it takes them in pieces that are long on a slow way.
    files: Option<FileQueue>,
}

impl Stalls {
    /// For a connection that sends files.
    pub(super) fn of(files: FileQueue) -> Self {
        Self { pieces: Arc::default(), files: Some(files) }
    }

    /// Counts each piece that the connection takes.
    pub(super) fn watch(
        &self,
        stream: ByteStream,
    ) -> impl Stream<Item = Result<Bytes>> + Send + use<> + 'static {
        let pieces = Arc::clone(&self.pieces);
        stream.inspect(move |_| {
            pieces.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Waits for an answer for as long as pieces are taken, and after the last of them for an answer's time.
    pub(super) async fn bound<F: Future>(&self, timeouts: Timeouts, answer: F) -> Result<F::Output, Elapsed> {
        let patience = timeouts.answer.max(timeouts.stall);
        tokio::pin!(answer);
        loop {
            let before = self.taken();
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                () = sleep(patience) => {}
            }
            if self.taken() == before {
                return timeout(Duration::ZERO, answer).await;
            }
        }
    }

    /// Grows for as long as the connection takes anything.
    fn taken(&self) -> u64 {
        let files = self.files.as_ref().map_or(0, FileQueue::sent);
        files.wrapping_add(self.pieces.load(Ordering::Relaxed))
    }
}
