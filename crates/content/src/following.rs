//! Reading content while somebody else writes it.

use std::{fmt::Debug, ops::Range};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{Blob, ByteRange, ByteStream, Error, Result};

/// A reader of a part that another task of this process fills.
///
/// Dropping it changes nothing for the writer or for other readers.
#[async_trait]
pub trait Following: Debug + Send + Sync {
    /// The size, when it was announced.
    fn size(&self) -> Option<u64>;

    /// What can be read without waiting, in order, without overlaps.
    fn present(&self) -> Vec<Range<u64>>;

    /// The bytes of `range`, *not yet verified*, as they become present. Good for readers that verify
    /// themselves or act in a staging place; a response to a client goes through [`Withheld`].
    ///
    /// Ends with [`Abandoned`](crate::Error::Abandoned) when the writer goes away without a commit, and with
    /// [`Integrity`](crate::Error::Integrity) or [`Size`](crate::Error::Size) when the content turns out wrong.
    fn read(&self, range: ByteRange) -> ByteStream;

    /// Waits for the commit. Ends with the same errors as [`read`](Self::read).
    async fn committed(&self) -> Result<Blob>;
}

/// What a reader who cannot check the content is not given before the commit, in bytes.
const HELD_BACK: u64 = 64 << 10;

/// Follows a part on behalf of a client that cannot check what it gets.
#[derive(Debug)]
pub struct Withheld {
    following: Box<dyn Following>,
    size: u64,
}

impl Withheld {
    /// Wraps a following whose size is known. Without a size no response with a length can be made from it.
    pub fn new(following: Box<dyn Following>) -> Result<Self, Box<dyn Following>> {
        match following.size() {
            Some(size) => Ok(Self { following, size }),
            None => Err(following),
        }
    }

    /// The size of the whole content in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of `range` for a client that may act on what it got.
    ///
    /// The whole content flows while it arrives, but for its last 64 KiB, which follow the commit. A part of
    /// the content waits for the commit, because its receiver has no digest to check it with. On a mismatch
    /// the stream ends in an error before its length is reached, so the client sees a broken response.
    pub fn read(self, range: ByteRange) -> ByteStream {
        let whole = range.start == 0 && range.end.is_none_or(|end| end >= self.size);
        let streamed = if whole { self.size.saturating_sub(HELD_BACK) } else { 0 };
        let end = range.end.unwrap_or(self.size).min(self.size);
        let rest = ByteRange { start: if whole { streamed } else { range.start.min(end) }, end: Some(end) };
        let head =
            if streamed > 0 { self.following.read((0..streamed).into()) } else { stream::empty().boxed() };
        let tail = stream::once(async move {
            let blob = self.following.committed().await?;
            blob.read(rest).await
        })
        .try_flatten();
        // A head that failed must not be followed by a tail: the receiver would count the bytes as content.
        stop_at_error(head.chain(tail).boxed())
    }
}

/// Ends a stream behind its first error.
fn stop_at_error(stream: ByteStream) -> ByteStream {
    stream::try_unfold(Some(stream), |state| async move {
        let Some(mut stream) = state else { return Ok::<_, Error>(None) };
        match stream.next().await {
            Some(Ok(bytes)) => Ok(Some((bytes, Some(stream)))),
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    })
    .boxed()
}
