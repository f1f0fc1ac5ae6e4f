//! HTTP/1.1 as a plain client speaks it, to whichever of the servers is chosen; and what is known of their lives.

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long a server may be silent, and how long it may take to be started again.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often it is looked whether a server has been started again.
const LOOK: Duration = Duration::from_millis(5);

/// A client of one server, through all of that server's lives.
#[derive(Debug)]
pub(super) struct Client {
    /// The file in which the supervisor says where the server listens and how often it was started.
    notice: PathBuf,
    address: SocketAddr,
    life: u64,
    connection: Option<BufReader<TcpStream>>,
}

/// What the server answered.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// A header's value; its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// Says where a server listens, to clients in other processes.
pub(super) fn announce(notice: &Path, life: u64, address: SocketAddr) -> io::Result<()> {
    let fresh = notice.with_extension("new");
    fs::write(&fresh, format!("{life} {address}"))?;
    fs::rename(fresh, notice)
}

impl Client {
    pub(super) fn new(notice: PathBuf) -> io::Result<Self> {
        let (life, address) = read_notice(&notice)?;
        Ok(Self { notice, address, life, connection: None })
    }

    /// One request. `Ok(None)`: the server was killed meanwhile, and has been started again.
    pub(super) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Option<Response>> {
        match self.exchange(method, path, headers, body) {
            Ok(response) => {
                if response.header("connection") == Some("close") {
                    self.connection = None;
                }
                Ok(Some(response))
            }
            Err(error) => {
                self.connection = None;
                self.next_life(&error).map(|()| None)
            }
        }
    }

    /// Waits for the server's next life, which has to come: nothing but its end excuses a request that failed.
    fn next_life(&mut self, error: &io::Error) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let (life, address) = read_notice(&self.notice)?;
            if life != self.life {
                (self.life, self.address) = (life, address);
                return Ok(());
            }
            thread::park_timeout(LOOK);
        }
        Err(io::Error::other(format!("a request failed and the server was not killed: {error}")))
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
            // Writing to a String does not fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
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

fn read_notice(notice: &Path) -> io::Result<(u64, SocketAddr)> {
    let text = fs::read_to_string(notice)?;
    text.split_once(' ')
        .and_then(|(life, address)| Some((life.parse().ok()?, address.parse().ok()?)))
        .ok_or_else(|| invalid("no notice of a server"))
}

fn read_response(connection: &mut BufReader<TcpStream>, method: &str) -> io::Result<Response> {
    let first = line(connection)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| invalid("no status line"))?;
    let mut headers = Vec::new();
    loop {
        let line = line(connection)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("no header line"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut response = Response { status, headers, body: Vec::new() };
    if method != "HEAD" && status != 204 && status != 304 {
        let length = response.header("content-length").and_then(|length| length.parse().ok());
        let length: usize = length.ok_or_else(|| invalid("an answer without a length"))?;
        response.body = vec![0; length];
        connection.read_exact(&mut response.body)?;
    }
    Ok(response)
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
