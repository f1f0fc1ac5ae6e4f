//! Bodies on their way through, and what is done to them.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;

use super::exchange::Next;
use super::log::Entry;
use super::pace::{PACED_BYTES, Pacer};
use super::wire::{Body, Framing, Head, Reader, write_end, write_part};
use super::{Fault, Pace};

/// What follows bodies that are too long.
static ZEROS: [u8; PACED_BYTES] = [0; PACED_BYTES];

/// A request's body on its way to the registry.
pub(super) struct Upload<'a, R, W> {
    pub(super) reader: &'a mut Reader<R>,
    pub(super) to: &'a mut W,
    /// After so many bytes it is cut.
    pub(super) limit: u64,
    pub(super) pacer: &'a mut Pacer,
    pub(super) pace: Pace,
    pub(super) entry: &'a Entry<'a>,
}

/// How sending a request's body to the registry ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Uploaded {
    Whole,
    /// By the script, or because the client is gone.
    Cut,
    /// The registry takes no more; it may still answer.
    Refused,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Upload<'_, R, W> {
    pub(super) async fn send(self, framing: Framing) -> Uploaded {
        let Self { reader, to, mut limit, pacer, pace, entry } = self;
        let mut body = Body::new(framing);
        loop {
            let mut bytes = match body.next(reader).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(_) => return Uploaded::Cut,
            };
            while !bytes.is_empty() {
                let piece = piece(&mut bytes, pace, limit);
                pacer.pass(pace, piece.len()).await;
                if !piece.is_empty() && write_part(to, framing, &piece).await.is_err() {
                    return Uploaded::Refused;
                }
                entry.update(|seen| seen.uploaded += piece.len() as u64);
                limit -= piece.len() as u64;
                // The last byte alone is not worth a cut: the registry would have it all.
                if limit == 0 && !(bytes.is_empty() && body.ended()) {
                    return Uploaded::Cut;
                }
            }
        }
        if write_end(to, framing).await.is_err() { Uploaded::Refused } else { Uploaded::Whole }
    }
}

/// The registry's answer as the client is to see it.
pub(super) struct Answer {
    pub(super) head: Head,
    body: Body,
    /// How the body is sent.
    framing: Framing,
    fault: Option<Fault>,
    next: Next,
}

impl Answer {
    /// Does to the head what the fault says.
    pub(super) fn new(mut head: Head, request: &Head, fault: Option<Fault>) -> io::Result<Self> {
        let framing = head.response_framing(request.word(0))?;
        let is_last = framing == Framing::Close || request.says("connection", "close");
        let mut answer = Self {
            body: Body::new(framing),
            framing,
            next: if is_last || head.says("connection", "close") { Next::Close } else { Next::Another },
            fault: None,
            head: Head::new(""),
        };
        let length: Option<u64> = head.field("Content-Length").and_then(|length| length.parse().ok());
        match &fault {
            Some(Fault::TooLong { extra }) => {
                if let Some(length) = length {
                    head.set("Content-Length", (length + extra).to_string());
                }
            }
            Some(Fault::BeyondLength { .. }) => answer.next = Next::Close,
            Some(Fault::WrongLength { by }) => {
                answer.next = Next::Close;
                if let Some(length) = length {
                    head.set("Content-Length", length.saturating_add_signed(*by).to_string());
                }
            }
            Some(Fault::NoLength) => {
                head.remove("Content-Length");
                head.remove("Transfer-Encoding");
                head.set("Connection", "close");
                (answer.framing, answer.next) = (Framing::Close, Next::Close);
            }
            Some(Fault::LyingDigest(digest)) => head.set("Docker-Content-Digest", digest.to_string()),
            Some(Fault::Field { name, value }) => head.set(name, value.clone()),
            Some(Fault::NoField(name)) => head.remove(name),
            Some(Fault::ClaimsGzip) => head.set("Content-Encoding", "gzip"),
            Some(Fault::WrongLocation(location)) if head.field("Location").is_some() => {
                head.set("Location", location.clone());
            }
            _ => {}
        }
        Ok(Self { head, fault, ..answer })
    }
}

/// A registry's answer on its way to the client.
pub(super) struct Download<'a, U, R, W> {
    pub(super) from: &'a mut Reader<U>,
    /// The client's side, on which it is noticed that a client is gone.
    pub(super) reader: &'a mut Reader<R>,
    pub(super) writer: &'a mut W,
    pub(super) pacer: &'a mut Pacer,
    pub(super) pace: Pace,
    pub(super) entry: &'a Entry<'a>,
}

impl<U, R, W> Download<'_, U, R, W>
where
    U: AsyncRead + Unpin,
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    pub(super) async fn send(
        mut self,
        answer: Answer,
        releases: &mut watch::Receiver<u64>,
    ) -> io::Result<Next> {
        let Answer { head, mut body, framing, fault, next } = answer;
        self.writer.write_all(&head.to_bytes()).await?;
        self.writer.flush().await?;
        // How many bytes until something happens.
        let mut until = match fault {
            Some(Fault::Truncate { after } | Fault::Stall { after }) => after,
            _ => u64::MAX,
        };
        let mut sent = 0;
        while let Some(mut bytes) = body.next(self.from).await? {
            while !bytes.is_empty() {
                if until == 0 {
                    if matches!(fault, Some(Fault::Truncate { .. })) {
                        return Ok(Next::Close);
                    }
                    if stall(self.reader, releases).await == Next::Cut {
                        return Ok(Next::Cut);
                    }
                    until = u64::MAX;
                }
                let mut piece = piece(&mut bytes, self.pace, until);
                if let Some(Fault::Flip { at }) = fault {
                    piece = flipped(piece, at.checked_sub(sent));
                }
                self.part(framing, &piece).await?;
                sent += piece.len() as u64;
                until -= piece.len() as u64;
            }
        }
        if let Some(Fault::TooLong { extra }) = fault {
            self.zeros(framing, extra).await?;
        }
        write_end(self.writer, framing).await?;
        if let Some(Fault::BeyondLength { extra }) = fault {
            self.zeros(Framing::Close, extra).await?;
            self.writer.flush().await?;
        }
        Ok(next)
    }

    async fn part(&mut self, framing: Framing, bytes: &[u8]) -> io::Result<()> {
        self.pacer.pass(self.pace, bytes.len()).await;
        write_part(self.writer, framing, bytes).await?;
        // TLS keeps the last record back otherwise, and a client would wait for what was counted as sent.
        self.writer.flush().await?;
        self.entry.update(|seen| seen.downloaded += bytes.len() as u64);
        Ok(())
    }

    async fn zeros(&mut self, framing: Framing, mut bytes: u64) -> io::Result<()> {
        while bytes > 0 {
            let length = usize::try_from(bytes).unwrap_or(usize::MAX).min(ZEROS.len());
            self.part(framing, &ZEROS[..length]).await?;
            bytes -= length as u64;
        }
        Ok(())
    }
}

/// Waits until stalls are released, and then the exchange goes on; or until the client is gone.
pub(super) async fn stall<R>(reader: &mut Reader<R>, releases: &mut watch::Receiver<u64>) -> Next
where
    R: AsyncRead + Unpin,
{
    tokio::select! {
        // An error would say that the proxy is gone, which ends this task anyway.
        _ = releases.changed() => Next::Another,
        () = reader.closed() => Next::Cut,
    }
}

/// Takes from the front what may be sent at once.
fn piece(bytes: &mut Bytes, pace: Pace, most: u64) -> Bytes {
    let at_once = if pace.bytes_per_second.is_some() { PACED_BYTES } else { usize::MAX };
    bytes.split_to(bytes.len().min(at_once).min(usize::try_from(most).unwrap_or(usize::MAX)))
}

/// With one bit of byte `at` changed, if it is in there.
fn flipped(piece: Bytes, at: Option<u64>) -> Bytes {
    let Some(at) = at.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < piece.len()) else {
        return piece;
    };
    let mut piece = BytesMut::from(piece);
    piece[at] ^= 1;
    piece.freeze()
}
