//! A request's body as a stream that cannot stall, cannot trickle and cannot outgrow its limit.

use std::{error::Error as StdError, fmt, net::IpAddr, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt as _;
use pier_content::{ByteStream, Error, Result, Subject, error::BoxError};
use tokio::time::{Instant, timeout};

/// What a client is called in errors; who it is belongs to the access log.
const CLIENT: &str = "the client";

/// What has to come of a body in the time that it may be silent. A client that sent a byte now and then would else hold
/// its place among the uploads for ever; one on the slowest link that images go over sends this much in a second.
const PROGRESS_BYTES: usize = 16 << 10;

/// A body that was not read at all is read up to here after a refusal, so that a client that writes first and reads
/// then gets the answer and not a reset connection.
const DRAINED_BYTES: usize = 1 << 20;

/// How long that may take.
const DRAINING: Duration = Duration::from_secs(2);

/// Why a body does not come to its end: what [`Error::Unavailable`] about the client has as its source.
#[derive(Debug)]
pub(crate) enum Interruption {
    /// The client sends nothing, or next to nothing, for too long.
    Idle,
    /// The client is gone.
    Broken(BoxError),
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "nothing came for too long",
            Self::Broken(_) => "the connection broke",
        })
    }
}

impl StdError for Interruption {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Idle => None,
            Self::Broken(error) => Some(&**error),
        }
    }
}

/// A request's body.
pub(crate) struct RequestBody {
    body: Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>,
    /// Whose it is, for those that are told apart.
    host: Option<IpAddr>,
    idle: Duration,
    /// How long the client was waited for, and what came of it, since it last made progress.
    waited: Duration,
    came: usize,
    /// The client waits for a `100 Continue` and has sent nothing.
    is_withheld: bool,
}

impl RequestBody {
    pub(crate) fn new<B>(body: B, headers: &HeaderMap, host: Option<IpAddr>, idle: Duration) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let is_withheld = headers.contains_key(header::EXPECT);
        let body = Box::pin(body.map_err(Into::into));
        Self { body, host, idle, waited: Duration::ZERO, came: 0, is_withheld }
    }

    /// Who sends it, for those that are told apart.
    pub(crate) fn host(&self) -> Option<IpAddr> {
        self.host
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
            // Only the client's time counts, not what we do with what it sends.
            let asked = Instant::now();
            let left = self.idle.saturating_sub(self.waited);
            let frame =
                timeout(left, self.body.frame()).await.map_err(|_| interrupted(Interruption::Idle))?;
            self.waited += asked.elapsed();
            match frame {
                None => return Ok(None),
                // Trailers carry nothing for us.
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.note(bytes.len());
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => return Err(interrupted(Interruption::Broken(error))),
            }
        }
    }

    fn note(&mut self, bytes: usize) {
        self.came += bytes;
        if self.came >= PROGRESS_BYTES {
            (self.waited, self.came) = (Duration::ZERO, 0);
        }
    }
}

fn interrupted(why: Interruption) -> Error {
    let operation = "send a body";
    Error::Unavailable { origin: CLIENT.to_owned(), operation, retry_after: None, source: Some(why.into()) }
}

fn too_large(subject: Subject, limit: u64) -> Error {
    Error::Size { subject, expected: limit, actual: limit.saturating_add(1), origin: None }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::StreamBody;
    use pier_oci::SessionId;

    use super::*;

    const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

    /// How many pieces of `bytes` bytes are taken, when there are ten and each comes after `pause`.
    async fn taken(bytes: usize, pause: Duration) -> usize {
        let pieces = stream::iter(0..10).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![0; bytes])))
        });
        let body = RequestBody::new(StreamBody::new(pieces), &HeaderMap::new(), None, IDLE_TIMEOUT);
        let stream = body.into_stream(u64::MAX, Subject::Upload(SessionId::from_bits(1)));
        stream.take_while(|piece| std::future::ready(piece.is_ok())).count().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_ends_as_one_that_stands_still() {
        assert_eq!(taken(1, Duration::from_secs(25)).await, 2);
        assert_eq!(taken(1, Duration::from_secs(61)).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_makes_progress_may_take_as_long_as_it_likes() {
        assert_eq!(taken(PROGRESS_BYTES, Duration::from_secs(59)).await, 10);
        assert_eq!(taken(1, Duration::from_secs(5)).await, 10);
    }
}
