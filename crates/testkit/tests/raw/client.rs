//! A client that shows what came, byte for byte: no redirects, no retries, no opinion.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than any answer takes; a client that waits for ever would hide a proxy that does.
const LIMIT: Duration = Duration::from_secs(20);

/// An answer, as far as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("{self:?}"))
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The length that was announced.
    pub(crate) fn length(&self) -> Option<u64> {
        self.field("Content-Length")?.parse().ok()
    }
}

/// A request's text without `Host`, which [`exchange`] adds, and without a body.
pub(crate) fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{fields}\r\n")
}

/// A request with a body.
pub(crate) fn put(method: &str, path: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
}

/// Connects, sends, and reads until the connection ends; the answer is without a head where none came.
pub(crate) async fn exchange(address: std::net::SocketAddr, request: &str) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    exchange_on(stream, address, request).await
}

/// The same on a connection that is there.
pub(crate) async fn exchange_on<S>(mut stream: S, host: std::net::SocketAddr, request: &str) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request.replacen("\r\n", &format!("\r\nHost: {host}\r\n"), 1);
    // A side that takes no more may have answered all the same.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut all = Vec::new();
    // A connection that was reset ends the answer as one that was closed does.
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut all)).await.expect("the answer did not end");
    let end = all.windows(4).position(|window| window == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
    let body = all.split_off(end);
    Answer { head: String::from_utf8(all).unwrap(), body }
}
