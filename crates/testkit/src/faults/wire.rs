//! HTTP/1.1 as it is on the wire: heads as text, bodies as they are framed.
//!
//! Not hyper, which rightly refuses to send what this has to send: lengths that are not true, and more bytes than were announced.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// No head that clients and registries send is nearly as long.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Read from a socket at once.
const READ_BYTES: usize = 128 << 10;

/// The first line and the fields of a request or a response, in their order.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) line: String,
    fields: Vec<(String, String)>,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    /// With the connection; responses only.
    Close,
}

/// One side of a connection, with what was read of it and not used yet.
#[derive(Debug)]
pub(super) struct Reader<R> {
    stream: R,
    buffer: BytesMut,
}

/// What is left to read of a body.
#[derive(Debug)]
pub(super) struct Body {
    framing: Framing,
    /// Of the body, or of its current chunk.
    left: u64,
    ended: bool,
}

impl Head {
    pub(super) fn new(line: impl Into<String>) -> Self {
        Self { line: line.into(), fields: Vec::new() }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let line = lines.next()?.to_owned();
        let fields = lines.filter(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        });
        Some(Self { line, fields: fields.collect::<Option<_>>()? })
    }

    /// A word of the first line, counted from 0.
    pub(super) fn word(&self, index: usize) -> &str {
        self.line.split(' ').nth(index).unwrap_or_default()
    }

    /// The first value of a field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let is_it = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.fields.iter().find(is_it).map(|(_, value)| value.as_str())
    }

    /// Whether a field has this word among others.
    pub(super) fn says(&self, name: &str, word: &str) -> bool {
        self.field(name)
            .is_some_and(|value| value.split(',').any(|one| one.trim().eq_ignore_ascii_case(word)))
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.fields.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Replaces a field, or adds it.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.add(name, value);
    }

    /// Adds a field, whether there is one of this name or not.
    pub(super) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.fields.push((name.to_owned(), value.into()));
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.fields {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// Where the body of a request with this head ends.
    pub(super) fn request_framing(&self) -> io::Result<Framing> {
        Ok(self.framing()?.unwrap_or(Framing::Length(0)))
    }

    /// Where the body of a response with this head ends, if it answers `method`.
    pub(super) fn response_framing(&self, method: &str) -> io::Result<Framing> {
        let status = self.word(1);
        if method == "HEAD" || status == "204" || status == "304" {
            return Ok(Framing::Length(0));
        }
        Ok(self.framing()?.unwrap_or(Framing::Close))
    }

    fn framing(&self) -> io::Result<Option<Framing>> {
        if self.says("transfer-encoding", "chunked") {
            return Ok(Some(Framing::Chunked));
        }
        let Some(length) = self.field("content-length") else { return Ok(None) };
        length
            .parse()
            .map(Framing::Length)
            .map(Some)
            .map_err(|_| invalid("a Content-Length that is no number"))
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The next head. None when the connection ended before it.
    pub(super) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                let text = std::str::from_utf8(&head).map_err(|_| invalid("a head that is not text"))?;
                return Head::parse(text)
                    .map(Some)
                    .ok_or_else(|| invalid("a head with a line that is no field"));
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(invalid("a head without an end"));
            }
            // TLS's greeting never ends as a head does, and whoever greets so waits for an answer.
            if self.buffer.first().is_some_and(|first| !first.is_ascii_alphabetic()) {
                return Err(invalid("what is not HTTP"));
            }
            if !self.fill().await? {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Waits until the other side has closed or reset the connection. What it sends meanwhile is kept, up to a bound.
    pub(super) async fn closed(&mut self) {
        while self.buffer.len() <= MAX_HEAD_BYTES && matches!(self.fill().await, Ok(true)) {}
    }

    /// Throws away all that comes until the other side closes the connection.
    pub(super) async fn discard(&mut self) {
        while matches!(self.fill().await, Ok(true)) {
            self.buffer.clear();
        }
    }

    /// Reads more. False when there is no more.
    async fn fill(&mut self) -> io::Result<bool> {
        self.buffer.reserve(READ_BYTES);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    /// Up to `most` bytes of what comes next, at least one.
    async fn some(&mut self, most: u64) -> io::Result<Option<Bytes>> {
        if self.buffer.is_empty() && !self.fill().await? {
            return Ok(None);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.buffer.len());
        Ok(Some(self.buffer.split_to(most).freeze()))
    }

    /// A line without its end.
    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = self.buffer.split_to(end);
                self.buffer.advance(2);
                return String::from_utf8(line.to_vec()).map_err(|_| invalid("a line that is not text"));
            }
            if self.buffer.len() > MAX_HEAD_BYTES || !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        let left = if let Framing::Length(length) = framing { length } else { 0 };
        Self { framing, left, ended: framing == Framing::Length(0) }
    }

    /// Whether all of it was read.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// What comes next of it. None at its end; an error when the connection ends before.
    pub(super) async fn next<R>(&mut self, reader: &mut Reader<R>) -> io::Result<Option<Bytes>>
    where
        R: AsyncRead + Unpin,
    {
        if self.framing == Framing::Chunked && self.left == 0 && !self.ended {
            let line = reader.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            self.left = u64::from_str_radix(size, 16).map_err(|_| invalid("a chunk of no size"))?;
            if self.left == 0 {
                while !reader.line().await?.is_empty() {}
                self.ended = true;
            }
        }
        if self.ended {
            return Ok(None);
        }
        let most = if self.framing == Framing::Close { u64::MAX } else { self.left };
        let Some(bytes) = reader.some(most).await? else {
            self.ended = self.framing == Framing::Close;
            return if self.ended { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        };
        if self.framing != Framing::Close {
            self.left -= bytes.len() as u64;
        }
        match self.framing {
            Framing::Length(_) => self.ended = self.left == 0,
            Framing::Chunked if self.left == 0 => drop(reader.line().await?),
            Framing::Chunked | Framing::Close => {}
        }
        Ok(Some(bytes))
    }
}

/// Writes a part of a body as its framing asks.
pub(super) async fn write_part<W>(writer: &mut W, framing: Framing, bytes: &[u8]) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    if framing != Framing::Chunked {
        return writer.write_all(bytes).await;
    }
    writer.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
    writer.write_all(bytes).await?;
    writer.write_all(b"\r\n").await
}

/// Writes what follows the last part.
pub(super) async fn write_end<W>(writer: &mut W, framing: Framing) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    if framing == Framing::Chunked {
        writer.write_all(b"0\r\n\r\n").await?;
    }
    writer.flush().await
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(framing: Framing, sent: &[u8]) -> (io::Result<Vec<u8>>, Vec<u8>) {
        let mut reader = Reader::new(sent);
        let mut body = Body::new(framing);
        let mut all = Vec::new();
        let outcome = loop {
            match body.next(&mut reader).await {
                Ok(Some(bytes)) => all.extend_from_slice(&bytes),
                Ok(None) => break Ok(all),
                Err(error) => break Err(error),
            }
        };
        assert_eq!(body.ended(), outcome.is_ok());
        (outcome, reader.buffer.to_vec())
    }

    #[tokio::test]
    async fn bodies_end_where_their_framing_says() {
        for (framing, sent, expected, rest) in [
            (Framing::Length(0), &b"next"[..], &b""[..], &b""[..]),
            (Framing::Length(3), b"abcnext", b"abc", b"next"),
            (
                Framing::Chunked,
                b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\nnext",
                b"abc0123456789",
                b"next",
            ),
            (Framing::Chunked, b"0\r\ntrailer: x\r\n\r\n", b"", b""),
            (Framing::Close, b"abc", b"abc", b""),
        ] {
            let (outcome, left) = read(framing, sent).await;
            assert_eq!((outcome.unwrap().as_slice(), left.as_slice()), (expected, rest), "{framing:?}");
        }
    }

    #[tokio::test]
    async fn bodies_that_end_early_are_told() {
        for (framing, sent) in [
            (Framing::Length(4), &b"abc"[..]),
            (Framing::Chunked, b"3\r\nab"),
            (Framing::Chunked, b"3\r\nabc\r\n"),
        ] {
            let (outcome, _) = read(framing, sent).await;
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{framing:?}");
        }
    }

    #[tokio::test]
    async fn heads_are_read_and_written_as_they_came() {
        let sent = b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: Close, x\r\n\r\nbody";
        let mut reader = Reader::new(&sent[..]);
        let mut head = reader.head().await.unwrap().unwrap();
        assert_eq!((head.word(0), head.word(1), head.field("HOST")), ("GET", "/v2/", Some("a")));
        assert!(head.says("connection", "close"));
        assert_eq!(head.to_bytes(), sent[..sent.len() - 4]);
        head.set("host", "b");
        assert_eq!(head.to_bytes(), b"GET /v2/ HTTP/1.1\r\nConnection: Close, x\r\nhost: b\r\n\r\n");
        assert!(Reader::new(&b""[..]).head().await.unwrap().is_none());
    }
}
