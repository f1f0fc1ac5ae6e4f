//! HTTP/1.1 as a plain client speaks it: one connection that is kept, bounds on every wait.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A header's value; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The path of the `Location`.
    pub(crate) fn location(&self) -> String {
        self.header("location").unwrap().to_owned()
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Response> {
        self.send("GET", path, &[], b"")
    }

    /// Asks and waits for the answer. A connection that the server has closed while it was idle is replaced.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let outcome = self.exchange(method, path, headers, body);
        let closes = |response: &Response| response.header("connection") == Some("close");
        if outcome.as_ref().map_or(true, closes) {
            self.connection = None;
        }
        outcome
    }

    /// Sends the beginning of a request whose body will have `length` bytes, and no more for now.
    pub(crate) fn begin(&mut self, method: &str, path: &str, length: usize, body: &[u8]) -> io::Result<()> {
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {length}\r\n\r\n", self.address);
        let stream = self.connection()?.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)
    }

    /// Sends more of the body that was begun.
    pub(crate) fn go_on(&mut self, body: &[u8]) -> io::Result<()> {
        self.connection()?.get_mut().write_all(body)
    }

    /// Waits for the answer to what was begun.
    pub(crate) fn finish(&mut self, method: &str) -> io::Result<Response> {
        read_response(self.connection()?, method)
    }

    /// Waits for the head of the answer alone; the body is read by [`read`](Self::read).
    pub(crate) fn read_head(&mut self) -> io::Result<u16> {
        read_head(self.connection()?).map(|(status, _)| status)
    }

    /// The next `length` bytes of an answer's body.
    pub(crate) fn read(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.connection()?.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "content-length: {}\r\n\r\n", body.len()).unwrap();
        let connection = self.connection()?;
        let sent = connection.get_mut().write_all(&[head.as_bytes(), body].concat());
        match read_response(connection, method) {
            Ok(response) => Ok(response),
            // The first failure says more than what follows from it.
            Err(error) => sent.and(Err(error)),
        }
    }

    fn connection(&mut self) -> io::Result<&mut BufReader<TcpStream>> {
        if self.connection.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            self.connection = Some(BufReader::new(stream));
        }
        self.connection.as_mut().ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

fn read_response(connection: &mut BufReader<TcpStream>, method: &str) -> io::Result<Response> {
    let (status, headers) = read_head(connection)?;
    let mut response = Response { status, headers, body: Vec::new() };
    if method != "HEAD" && status != 204 && status != 304 {
        let length = response.header("content-length").and_then(|length| length.parse().ok());
        let length: usize = length.ok_or_else(|| invalid("an answer without a length"))?;
        response.body = vec![0; length];
        connection.read_exact(&mut response.body)?;
    }
    Ok(response)
}

fn read_head(connection: &mut BufReader<TcpStream>) -> io::Result<(u16, Vec<(String, String)>)> {
    let first = line(connection)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| invalid("no status line"))?;
    let mut headers = Vec::new();
    loop {
        let line = line(connection)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("no header line"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn line(connection: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
