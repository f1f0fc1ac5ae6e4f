//! Connections that are there and ask nothing.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::server::Server;

const CONNECTIONS: usize = 10_000;

/// What one connection that has been used may cost, in bytes of memory.
const EACH: u64 = 32 << 10;

#[test]
fn ten_thousand_idle_connections_hold_nobody_up() {
    let server =
        Server::start_with_files(4 * CONNECTIONS, &format!("max-connections = {}", CONNECTIONS + 100));
    // Three descriptors for each is what the server counts with. Without the privilege to have so many there are fewer.
    let connections = CONNECTIONS.min(server.files() / 3 - 200);
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
