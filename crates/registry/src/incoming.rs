//! A request's body as a stream that cannot stall and cannot outgrow its limit.

use std::{error::Error as StdError, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::Body;
use http_body_util::BodyExt as _;
use pier_content::{ByteStream, Error, Result, Subject};
use tokio::time::timeout;

/// What a client is called in errors; who it is belongs to the access log.
const CLIENT: &str = "the client";

/// The operation in the error of a client that sends nothing for too long.
pub(crate) const IDLE: &str = "send a body: nothing came for too long";

/// The operation in the error of a client that is gone.
pub(crate) const BROKEN: &str = "send a body: the connection broke";

/// A body that was not read at all is read up to here after a refusal, so that a client that writes first and reads
/// then gets the answer and not a reset connection.
const DRAINED_BYTES: usize = 1 << 20;

/// How long that may take.
const DRAINING: Duration = Duration::from_secs(2);

/// A request's body.
pub(crate) struct RequestBody {
    body: Pin<Box<dyn Body<Data = Bytes, Error = Box<dyn StdError + Send + Sync>> + Send>>,
    idle: Duration,
    /// The client waits for a `100 Continue` and has sent nothing.
    is_withheld: bool,
}

impl RequestBody {
    pub(crate) fn new<B>(body: B, headers: &http::HeaderMap, idle: Duration) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let is_withheld = headers.contains_key(http::header::EXPECT);
        Self { body: Box::pin(body.map_err(Into::into)), idle, is_withheld }
    }

    /// The length, if the client announced it.
    pub(crate) fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The bytes as they come. More than `limit` of them end it with [`Error::Size`] about `subject`.
    pub(crate) fn into_stream(self, limit: u64, subject: Subject) -> ByteStream {
        let state = (self, limit, subject);
        stream::try_unfold(state, move |(mut body, left, subject)| async move {
            let Some(bytes) = body.next().await? else { return Ok(None) };
            match left.checked_sub(bytes.len() as u64) {
                Some(left) => Ok(Some((bytes, (body, left, subject)))),
                None => Err(too_large(subject, limit)),
            }
        })
        .boxed()
    }

    /// All of it, at most `limit` bytes.
    pub(crate) async fn collect(self, limit: u64, subject: Subject) -> Result<Bytes> {
        if self.length().is_some_and(|length| length > limit) {
            self.discard().await;
            return Err(too_large(subject, limit));
        }
        let mut collected =
            Vec::with_capacity(self.length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0));
        let mut stream = self.into_stream(limit, subject);
        while let Some(bytes) = stream.next().await {
            collected.extend_from_slice(&bytes?);
        }
        Ok(collected.into())
    }

    /// Reads what is left, within bounds, and forgets it.
    pub(crate) async fn discard(mut self) {
        if self.is_withheld {
            return;
        }
        let drained = async {
            let mut left = DRAINED_BYTES;
            while let Ok(Some(bytes)) = self.next().await {
                left = left.saturating_sub(bytes.len());
                if left == 0 {
                    break;
                }
            }
        };
        // A client that is slower than this gets its answer and a closed connection.
        let _ = timeout(DRAINING, drained).await;
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = timeout(self.idle, self.body.frame()).await.map_err(|_| client_error(IDLE, None))?;
            match frame {
                None => return Ok(None),
                // Trailers carry nothing for us.
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => return Err(client_error(BROKEN, Some(error))),
            }
        }
    }
}

fn client_error(operation: &'static str, source: Option<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::Unavailable { origin: CLIENT.to_owned(), operation, retry_after: None, source }
}

fn too_large(subject: Subject, limit: u64) -> Error {
    Error::Size { subject, expected: limit, actual: limit.saturating_add(1), origin: None }
}
