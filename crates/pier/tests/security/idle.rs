//! Connections that are there and ask nothing.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use pier_testkit::skip::{Skips, skip};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::server::Server;

const CONNECTIONS: usize = 10_000;

/// What one connection that has been used may cost, in bytes of memory.
const EACH: u64 = 32 << 10;

#[test]
fn ten_thousand_idle_connections_hold_nobody_up() {
    let server = Server::start_with_files(
        4 * CONNECTIONS,
        &format!("max-connections = {0}\nmax-connections-per-address = {0}", CONNECTIONS + 100),
    );
    // The server counts with three descriptors for each connection, and here it is one.
    let (of_server, own) = (server.files(), files_for(CONNECTIONS + 200));
    let connections = CONNECTIONS.min((of_server / 3).min(own).saturating_sub(200));
    let why = format!(
        "{connections} of {CONNECTIONS} connections, since {of_server} files may be open there, {own} here"
    );
    // Half of them are as good a test as all, as long as somebody knows; fewer are none.
    if connections < CONNECTIONS / 2 {
        return skip(Skips::from_environment(), &why);
    }
    if connections < CONNECTIONS {
        tell(&why);
    }
    let before = server.process.resident_bytes().unwrap().now;
    let idle: Vec<TcpStream> = (0..connections)
        .map(|_| {
            let mut stream = server.connect();
            write!(stream, "GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
            stream
        })
        .collect();
    let each = server.process.resident_bytes().unwrap().now.saturating_sub(before) / connections as u64;
    assert!(each < EACH, "{each} bytes for each of {connections} connections");
    let asked = Instant::now();
    assert_eq!(server.get("/v2/").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(10));
    drop(idle);
}

/// Not by the macros, whose output the test harness keeps to itself when a test passes.
fn tell(what: &str) {
    drop(writeln!(io::stderr(), "FEWER: {what}"));
}

/// How many files this process may open, after asking for as many as are wanted.
fn files_for(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let (wanted, current) = (wanted as u64, limit.current.unwrap_or(u64::MAX));
    if current < wanted {
        // More than the hard limit is for the privileged, who may have it.
        let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
    usize::try_from(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)
}
