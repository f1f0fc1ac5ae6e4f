//! What a response carries: nothing, bytes, a file or a stream.
//!
//! Every body that holds content knows its exact size, so hyper announces it and a client sees a connection that was
//! cut where a body ended early.

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pier_content::{Blob, ByteStream, Error, Result, Subject};
use pier_oci::Digest;
use pier_sendfile::{FileBody, FileQueue};

/// The body of every response.
#[derive(Debug)]
pub struct ResponseBody(Kind);

#[derive(Debug)]
enum Kind {
    Bytes(Bytes),
    File(Digest, FileBody),
    Stream(SizedStream),
}

impl ResponseBody {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self::bytes(Bytes::new())
    }

    /// Bytes in memory. Public for servers that answer something themselves.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Bytes(bytes.into()))
    }

    /// A range of a blob. `queue` is the connection's, when it can send files by itself.
    ///
    /// # Errors
    /// Those of opening the range; none of a file or of memory.
    pub(crate) async fn blob(blob: Blob, range: Range<u64>, queue: Option<FileQueue>) -> Result<Self> {
        Ok(match blob.body {
            pier_content::Body::File(file) => {
                Self(Kind::File(blob.digest, FileBody::new(file, range, queue)))
            }
            _ => Self(Kind::Stream(SizedStream {
                digest: blob.digest,
                left: range.end - range.start,
                stream: blob.read(range.into()).await?,
            })),
        })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Kind::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::File(digest, file) => Pin::new(file)
                .poll_frame(cx)
                .map_err(|error| Error::io("read blob", digest.to_string(), error)),
            Kind::Stream(stream) => stream.poll_chunk(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl ResponseBody {
    fn left(&self) -> u64 {
        match &self.0 {
            Kind::Bytes(bytes) => bytes.len() as u64,
            Kind::File(_, file) => file.left(),
            Kind::Stream(stream) => stream.left,
        }
    }
}

/// A stream of content whose length was announced.
struct SizedStream {
    digest: Digest,
    stream: ByteStream,
    left: u64,
}

impl SizedStream {
    /// Gives no more than was announced, and an error instead of less.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(match ready!(self.stream.as_mut().poll_next(cx)) {
            Some(Ok(mut bytes)) => {
                bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= bytes.len() as u64;
                Ok(bytes)
            }
            Some(Err(error)) => Err(error),
            None => Err(Error::Unavailable {
                origin: Subject::Blob(self.digest).to_string(),
                operation: "read to the announced end",
                retry_after: None,
                source: None,
            }),
        }))
    }
}

impl std::fmt::Debug for SizedStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SizedStream({} bytes left)", self.left)
    }
}
