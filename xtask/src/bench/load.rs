//! The load generator: HTTP/1.1 over blocking sockets, as few system calls as the work allows, the same for every server.
//!
//! Client and server share the machine's cores, so what the generator spends the server cannot. It therefore does not even copy the body
//! of a blob: the kernel throws the bytes away (`MSG_TRUNC` on TCP). That what was thrown away was right is checked once, before.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::net::{RecvFlags, recv};
use sha2::{Digest as _, Sha256};

use super::content::{Blob, MIB, digest};

/// A server that says nothing for this long has failed.
const PATIENCE: Duration = Duration::from_mins(2);

/// How a chunked body ends.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// One connection, kept alive.
pub(super) struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    /// Bytes read; those behind a head that was parsed belong to its body.
    buffer: Vec<u8>,
    filled: usize,
}

/// A response's first part.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    content_length: u64,
    location: Option<String>,
    etag: Option<String>,
    body: Framing,
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
}

/// How many requests were answered, and in what time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    pub(super) requests: u64,
    pub(super) elapsed: Duration,
}

impl Connection {
    pub(super) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, address, buffer: vec![0; MIB], filled: 0 })
    }

    /// Gets a blob and throws it away; its length is checked.
    pub(super) fn get_and_discard(&mut self, path: &str, size: u64) -> anyhow::Result<()> {
        let left = self.get(path, size)?;
        self.discard(left).with_context(|| format!("`GET {path}` failed"))
    }

    /// Gets a blob and checks every byte of it.
    pub(super) fn get_and_verify(&mut self, path: &str, blob: &Blob<'_>, size: u64) -> anyhow::Result<()> {
        let mut hash = Sha256::new();
        // What came with the head is at the start of the buffer.
        let mut left = self.get(path, size)?;
        hash.update(&self.buffer[..usize::try_from(size - left)?]);
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(MIB).min(MIB);
            let count = self.stream.read(&mut self.buffer[..want])?;
            ensure!(count > 0, "`{path}` ended {left} bytes early");
            hash.update(&self.buffer[..count]);
            left -= count as u64;
        }
        let found = digest(hash);
        ensure!(found == blob.digest(), "`{path}` hashes to {found} and not to {}", blob.digest());
        Ok(())
    }

    /// Pushes a blob as docker does: POST, PATCH with a streamed body, PUT. `sent` is told of each piece, how long it was.
    pub(super) fn push(
        &mut self,
        repository: &str,
        blob: &Blob<'_>,
        sent: impl FnMut(usize) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        self.send(&format!("POST /v2/{repository}/blobs/uploads/"), "Content-Length: 0\r\n")?;
        let upload = self.answer(202)?.location.context("an upload without a Location")?;
        let upload = self.path_of(&upload);

        self.send(
            &format!("PATCH {upload}"),
            "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n",
        )?;
        blob.write_chunked(&self.stream, sent)?;
        let upload = self.answer(202)?.location.context("a PATCH without a Location")?;
        let upload = self.path_of(&upload);

        let query = if upload.contains('?') { '&' } else { '?' };
        self.send(&format!("PUT {upload}{query}digest={}", blob.digest()), "Content-Length: 0\r\n")?;
        self.answer(201).map(drop)
    }

    /// Pushes a small blob in one PUT.
    pub(super) fn push_small(&mut self, repository: &str, bytes: &[u8]) -> anyhow::Result<String> {
        let digest = digest(Sha256::new_with_prefix(bytes));
        self.send(&format!("POST /v2/{repository}/blobs/uploads/"), "Content-Length: 0\r\n")?;
        let upload = self.answer(202)?.location.context("an upload without a Location")?;
        let upload = self.path_of(&upload);
        let query = if upload.contains('?') { '&' } else { '?' };
        self.put(&format!("{upload}{query}digest={digest}"), "application/octet-stream", bytes)?;
        Ok(digest)
    }

    /// PUT with a body, answered with 201.
    pub(super) fn put(&mut self, path: &str, media_type: &str, body: &[u8]) -> anyhow::Result<()> {
        let mut request = head(
            &format!("PUT {path}"),
            self.address,
            &format!("Content-Type: {media_type}\r\nContent-Length: {}\r\n", body.len()),
        );
        request.extend_from_slice(body);
        self.stream.write_all(&request)?;
        self.answer(201).map(drop)
    }

    /// Sends a request that is already in bytes, throws the whole answer away however long it is, and gives its status.
    pub(super) fn ask(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request)?;
        let (head, body) = self.head()?;
        self.buffer.copy_within(body..self.filled, 0);
        self.filled -= body;
        match head.body {
            // The length of what a GET would give.
            _ if head.status == 304 => {}
            Framing::Length => {
                let came = self.filled as u64;
                self.discard(head.content_length.checked_sub(came).context("more than was announced")?)?;
            }
            // Nothing here has line breaks in its content.
            Framing::Chunked => {
                while !self.buffer[..self.filled].ends_with(LAST_CHUNK) {
                    let kept = self.filled.min(LAST_CHUNK.len());
                    self.buffer.copy_within(self.filled - kept..self.filled, 0);
                    self.filled = kept;
                    self.fill()?;
                }
            }
        }
        self.filled = 0;
        Ok(head.status)
    }

    /// The entity tag of what is at a path.
    pub(super) fn etag(&mut self, path: &str, accept: &str) -> anyhow::Result<String> {
        self.send(&format!("GET {path}"), &format!("Accept: {accept}\r\n"))?;
        self.answer(200)?.etag.with_context(|| format!("`{path}` has no ETag"))
    }

    fn discard(&mut self, mut left: u64) -> anyhow::Result<()> {
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(MIB).min(MIB);
            let (_, dropped) = recv(&self.stream, &mut self.buffer[..want], RecvFlags::TRUNC)?;
            ensure!(dropped > 0, "a body ended {left} bytes early");
            left -= dropped as u64;
        }
        Ok(())
    }

    /// Sends a GET and gives how much of the body is still to be read; the rest is at the start of the buffer.
    fn get(&mut self, path: &str, size: u64) -> anyhow::Result<u64> {
        self.send(&format!("GET {path}"), "")?;
        let (head, body) = self.head()?;
        ensure!(head.body == Framing::Length, "`{path}` comes in chunks");
        ensure!(head.status == 200, "`GET {path}` was answered with {}", head.status);
        ensure!(head.content_length == size, "`{path}` has {} bytes and not {size}", head.content_length);
        self.buffer.copy_within(body..self.filled, 0);
        let came = (self.filled - body) as u64;
        self.filled = 0;
        size.checked_sub(came).context("more bytes than the answer announced")
    }

    fn send(&mut self, line: &str, headers: &str) -> anyhow::Result<()> {
        Ok(self.stream.write_all(&head(line, self.address, headers))?)
    }

    /// Reads a whole small answer.
    fn answer(&mut self, expected: u16) -> anyhow::Result<Head> {
        let (head, body) = self.head()?;
        ensure!(head.body == Framing::Length, "a small answer in chunks");
        let end = body + usize::try_from(head.content_length)?;
        ensure!(
            end <= self.buffer.len(),
            "an answer of {} bytes where a small one was expected",
            head.content_length
        );
        while self.filled < end {
            self.fill()?;
        }
        self.filled = 0;
        if head.status != expected {
            bail!(
                "answered with {} and not {expected}: {}",
                head.status,
                String::from_utf8_lossy(&self.buffer[body..end])
            );
        }
        Ok(head)
    }

    /// The next head, and where in the buffer its body starts.
    fn head(&mut self) -> anyhow::Result<(Head, usize)> {
        loop {
            if let Some(end) = find_end(&self.buffer[..self.filled]) {
                return Ok((Head::parse(&self.buffer[..end])?, end));
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        ensure!(self.filled < self.buffer.len(), "a head without an end");
        let count = self.stream.read(&mut self.buffer[self.filled..])?;
        ensure!(count > 0, "the server closed the connection");
        self.filled += count;
        Ok(())
    }

    /// A Location may be a path or a whole URL of this server.
    fn path_of(&self, location: &str) -> String {
        location.strip_prefix(&format!("http://{}", self.address)).unwrap_or(location).to_owned()
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let text = str::from_utf8(bytes).context("a head that is not text")?;
        let mut lines = text.split("\r\n");
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let status = status.context("no status line")?;
        let mut head = Self { status, content_length: 0, location: None, etag: None, body: Framing::Length };
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("content-length") {
                head.content_length = value.parse().context("a Content-Length that is not a number")?;
            } else if name.eq_ignore_ascii_case("location") {
                head.location = Some(value.to_owned());
            } else if name.eq_ignore_ascii_case("etag") {
                head.etag = Some(value.to_owned());
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                ensure!(value == "chunked", "an answer with `Transfer-Encoding: {value}`");
                head.body = Framing::Chunked;
            }
        }
        Ok(head)
    }
}

/// A GET, to be asked many times.
pub(super) fn get_request(address: SocketAddr, path: &str, headers: &str) -> Vec<u8> {
    head(&format!("GET {path}"), address, headers)
}

/// Asks the same on several connections at once, each waiting for its answer before it asks again, for about this long.
pub(super) fn many_gets(
    address: SocketAddr,
    request: &[u8],
    status: u16,
    connections: usize,
    lasting: Duration,
) -> anyhow::Result<Answered> {
    many(address, connections, lasting, |connection, _, _| {
        let found = connection.ask(request)?;
        ensure!(found == status, "answered with {found} and not {status}");
        Ok(())
    })
}

/// The same with PUTs; `path_and_body` gets the connection's number and the request's.
pub(super) fn many_puts(
    address: SocketAddr,
    media_type: &str,
    connections: usize,
    lasting: Duration,
    path_and_body: impl Fn(usize, u64) -> (String, Vec<u8>) + Sync,
) -> anyhow::Result<Answered> {
    many(address, connections, lasting, |connection, number, request| {
        let (path, body) = path_and_body(number, request);
        connection.put(&path, media_type, &body)
    })
}

/// So many PUTs, shared by several connections; `path_and_body` gets the number of each.
pub(super) fn all_puts(
    address: SocketAddr,
    media_type: &str,
    connections: usize,
    count: usize,
    path_and_body: impl Fn(usize) -> (String, Vec<u8>) + Sync,
) -> anyhow::Result<()> {
    let mut open = (0..connections).map(|_| Connection::open(address)).collect::<anyhow::Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        let path_and_body = &path_and_body;
        let workers: Vec<_> = open
            .iter_mut()
            .enumerate()
            .map(|(first, connection)| {
                scope.spawn(move || {
                    (first..count).step_by(connections).try_for_each(|number| {
                        let (path, body) = path_and_body(number);
                        connection.put(&path, media_type, &body)
                    })
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().map_err(|_| anyhow::anyhow!("a connection's thread panicked"))?
        })
    })
}

fn many(
    address: SocketAddr,
    connections: usize,
    lasting: Duration,
    work: impl Fn(&mut Connection, usize, u64) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Answered> {
    let mut open = (0..connections).map(|_| Connection::open(address)).collect::<anyhow::Result<Vec<_>>>()?;
    let together = Barrier::new(connections + 1);
    std::thread::scope(|scope| {
        let (together, work) = (&together, &work);
        let workers: Vec<_> = open
            .iter_mut()
            .enumerate()
            .map(|(number, connection)| {
                scope.spawn(move || {
                    together.wait();
                    let started = Instant::now();
                    let mut requests = 0;
                    while started.elapsed() < lasting {
                        work(connection, number, requests)?;
                        requests += 1;
                    }
                    anyhow::Ok(requests)
                })
            })
            .collect();
        together.wait();
        let started = Instant::now();
        let mut requests = 0;
        for worker in workers {
            requests += worker.join().map_err(|_| anyhow::anyhow!("a connection's thread panicked"))??;
        }
        Ok(Answered { requests, elapsed: started.elapsed() })
    })
}

fn head(line: &str, address: SocketAddr, headers: &str) -> Vec<u8> {
    let mut text = String::with_capacity(256);
    // Writing to a String does not fail.
    let _ = write!(text, "{line} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    text.into_bytes()
}

/// Where the body starts, when the whole head is there.
fn find_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_head() {
        let bytes = b"HTTP/1.1 202 Accepted\r\ncontent-LENGTH: 12\r\nLocation: /v2/a?b=c\r\n\r\nbody";
        let end = find_end(bytes).unwrap();
        assert_eq!(&bytes[end..], b"body");
        let location = Some("/v2/a?b=c".to_owned());
        let expected = Head { status: 202, content_length: 12, location, etag: None, body: Framing::Length };
        assert_eq!(Head::parse(&bytes[..end]).unwrap(), expected);
        assert_eq!(find_end(b"HTTP/1.1 200 OK\r\nA: b\r\n"), None);
    }
}
