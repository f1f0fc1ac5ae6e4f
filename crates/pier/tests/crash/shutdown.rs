//! Stopping in good order, and at once when asked twice.

use std::{
    io::ErrorKind,
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    client::Client,
    material::{digest, piece},
    push::{self, Style},
    server::{self, Server},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn signal(server: &Server) {
    let id = Pid::from_raw(i32::try_from(server.0.id()).unwrap()).unwrap();
    kill_process(id, Signal::TERM).unwrap();
}

/// Waits until new connections are refused, as they are once the server has begun to stop.
fn refuses_connections(server: &Server) {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(server.0.address()) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
            _ => assert!(begun.elapsed() < PATIENCE, "connections are still taken"),
        }
    }
}

#[test]
fn requests_in_flight_finish_and_new_connections_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (slow, large) = (piece(1, 300_000), piece(2, 16 << 20));
    let mut server = Server::start(folder.path());
    let mut pusher = server.client();
    assert_eq!(push::blob(&mut pusher, "a", &large, Style::Post).unwrap().status, 201);
    let location = pusher.send("POST", "/v2/a/blobs/uploads/", &[], b"").unwrap().location();
    pusher.begin("PATCH", &location, slow.bytes.len(), &slow.bytes[..100_000]).unwrap();
    // Larger than what the socket's buffers hold, so it is in flight for as long as nobody reads it.
    let mut puller = server.client();
    puller.begin("GET", &format!("/v2/a/blobs/{}", large.digest), 0, b"").unwrap();
    assert_eq!(puller.read_head().unwrap(), 200);
    let mut begun = puller.read(1_000).unwrap();
    has_arrived(&server, folder.path(), 0);

    signal(&server);
    refuses_connections(&server);
    pusher.go_on(&slow.bytes[100_000..]).unwrap();
    let patched = pusher.finish("PATCH").unwrap();
    assert_eq!((patched.status, patched.header("range")), (202, Some("0-299999")));
    begun.extend(puller.read(large.bytes.len() - 1_000).unwrap());
    assert_eq!(digest(&begun), large.digest);
    assert!(server.0.wait(PATIENCE).unwrap().success());

    let server = Server::start(folder.path());
    let done = push::put(&mut server.client(), &location, &slow.digest, b"").unwrap();
    assert_eq!(done.status, 201, "{done:?}");
    server.has_not_failed();
    drop(server);
    server::all_is_well(folder.path());
}

/// Waits until the server works on the session, which it does once more than `before` bytes are in its file.
fn has_arrived(server: &Server, data: &std::path::Path, before: u64) {
    let begun = Instant::now();
    let arrived = || {
        let session = std::fs::read_dir(data.join("uploads")).unwrap().next()?.unwrap();
        let files = std::fs::read_dir(session.path()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).max()
    };
    while arrived().unwrap_or(0) <= before {
        assert!(begun.elapsed() < PATIENCE, "nothing arrives: {}", server.0.stderr());
        std::thread::yield_now();
    }
}

#[test]
fn a_second_signal_ends_at_once_and_unfinished_uploads_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let slow = piece(1, 300_000);
    let mut server = Server::start(folder.path());
    let mut client: Client = server.client();
    let location = client.send("POST", "/v2/a/blobs/uploads/", &[], b"").unwrap().location();
    assert_eq!(client.send("PATCH", &location, &[], &slow.bytes[..50_000]).unwrap().status, 202);
    client.begin("PATCH", &location, 250_000, &slow.bytes[50_000..60_000]).unwrap();
    // A request that has not come yet is none that is in flight.
    has_arrived(&server, folder.path(), 50_000);
    signal(&server);
    refuses_connections(&server);
    signal(&server);
    let status = server.0.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(3), "what was in flight did not finish: {}", server.0.stderr());

    let server = Server::start(folder.path());
    let mut client = server.client();
    let status = client.get(&location).unwrap();
    let there: usize =
        status.header("range").unwrap().strip_prefix("0-").unwrap().parse::<usize>().unwrap() + 1;
    assert!((50_000..=60_000).contains(&there), "{status:?}");
    let done = push::put(&mut client, &location, &slow.digest, &slow.bytes[there..]).unwrap();
    assert_eq!(done.status, 201, "{done:?}");
}
