//! A socket and bodies that tell what moves: the [pulse](super::pulse), and the counters.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    rt::{Read, ReadBufCursor, Write},
};
use pier_registry::ResponseBody;
use tokio::time::Instant;

use super::{
    monitor::{ByteCounter, Measured},
    pulse::{Exchange, Pulse},
};

/// A socket whose traffic is noted: what the client's machine takes and sends, so beneath TLS.
#[derive(Debug)]
pub(super) struct ObservedSocket<S> {
    pub(super) socket: S,
    pub(super) pulse: Arc<Pulse>,
}

/// A response's body, with the exchange that it ends.
#[derive(Debug)]
pub(super) struct ObservedBody {
    body: ResponseBody,
    exchange: Exchange,
    /// Bytes that it had when it began.
    announced: u64,
    /// Counts how long the exchange took, by being dropped with it.
    measured: Measured,
}

/// A request's body whose bytes are counted as they come.
#[derive(Debug)]
pub(super) struct CountedBody {
    body: Incoming,
    /// `None` for a body that has no bytes, as most have.
    came: Option<ByteCounter>,
}

impl ObservedBody {
    pub(super) fn new(body: ResponseBody, exchange: Exchange, measured: Measured) -> Self {
        let announced = body.size_hint().lower();
        Self { body, exchange, announced, measured }
    }
}

impl CountedBody {
    pub(super) fn new(body: Incoming, measured: &Measured) -> Self {
        let came = (!body.is_end_stream()).then(|| measured.received());
        Self { body, came }
    }
}

impl<S> ObservedSocket<S> {
    fn note_write(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Ready(Ok(_)) => self.pulse.wrote(Instant::now()),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.pulse.blocked(Instant::now()),
        }
    }
}

impl<S: Read + Unpin> Read for ObservedSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if let Poll::Ready(Ok(())) = outcome {
            self.pulse.read(Instant::now());
        }
        outcome
    }
}

impl<S: Write + Unpin> Write for ObservedSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, buffer);
        self.note_write(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.note_write(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Body for ObservedBody {
    type Data = <ResponseBody as Body>::Data;
    type Error = <ResponseBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.exchange.taken(Instant::now());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ObservedBody {
    fn drop(&mut self) {
        // The body knows what is left of it, so its bytes are counted at once and not piece by piece.
        self.measured.sent(self.announced.saturating_sub(self.body.size_hint().lower()));
    }
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Some(came), Poll::Ready(Some(Ok(frame)))) = (&self.came, &polled)
            && let Some(bytes) = frame.data_ref()
        {
            came.inc_by(bytes.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
