//! Clients that do not do their part, over real sockets in paused time: it runs ahead whenever everybody waits.

use std::sync::Arc;

use pier_content::Memory;
use pier_registry::{SessionKey, Settings};
use pier_store::{Store, StoreOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
};

use super::*;
use crate::serve::collection::Tally;

const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const KEEP_ALIVE: Duration = Duration::from_mins(2);

const PING: &[u8] = b"GET /v2/ HTTP/1.1\r\nhost: localhost\r\n\r\n";
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A server with one connection, and its client's end.
async fn connect() -> (Connections, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let store = Arc::new(Memory::default());
    let registry = Registry::new(store.clone(), store, Settings::new(SessionKey::new([1; 32])));
    let folder = tempfile::tempdir().unwrap();
    let watched = Arc::new(Store::open(folder.path(), StoreOptions::default()).unwrap());
    let monitor = Monitor::new(watched, registry.clone(), watch::channel(Tally::default()).1);
    let served = Served { registry, monitor, ids: Arc::new(RequestIds::new()) };
    let entrance = Entrance { tls: None, access: Access::open() };
    let section = ServeSection::default();
    let mut connections = Connections::new(served, address, entrance, &section, NonZeroUsize::MIN);
    let client = TcpStream::connect(address).await.unwrap();
    connections.start(listener.accept().await.unwrap());
    assert!(!connections.has_room());
    (connections, client)
}

/// Seconds until the server ends the connection.
async fn seconds_to_the_end(connections: &mut Connections) -> u64 {
    let started = Instant::now();
    connections.one_ended().await;
    assert!(connections.has_room());
    started.elapsed().as_secs()
}

/// Sends a request and reads its answer to the end.
async fn ping(client: &mut TcpStream) {
    client.write_all(PING).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n{}") {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_sends_no_whole_request_ends() {
    for sent in [&b""[..], &HTTP_2[..5], HTTP_2, &[HTTP_2, SETTINGS].concat(), &PING[..20]] {
        let (mut connections, mut client) = connect().await;
        client.write_all(sent).await.unwrap();
        assert_eq!(seconds_to_the_end(&mut connections).await, HEAD_TIMEOUT.as_secs(), "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_rest_between_requests_longer_than_clients_keep_it() {
    let (mut connections, mut client) = connect().await;
    ping(&mut client).await;
    tokio::time::advance(KEEP_ALIVE * 5 / 6).await;
    ping(&mut client).await;
    assert_eq!(seconds_to_the_end(&mut connections).await, KEEP_ALIVE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_was_begun_is_finished_soon() {
    let (mut connections, mut client) = connect().await;
    ping(&mut client).await;
    client.write_all(&PING[..20]).await.unwrap();
    let seconds = seconds_to_the_end(&mut connections).await;
    assert_eq!(seconds, HEAD_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_given_up() {
    let (mut connections, client) = connect().await;
    // Answers fill the sockets' buffers, then requests do.
    let (_reader, mut writer) = client.into_split();
    let requests = PING.repeat(1000);
    let writing = tokio::spawn(async move { while writer.write_all(&requests).await.is_ok() {} });
    let seconds = seconds_to_the_end(&mut connections).await;
    let stall = ServeSection::default().idle_timeout.as_secs();
    assert!((stall..2 * stall).contains(&seconds), "{seconds}");
    writing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_waits_for_what_a_cut_connection_left_in_hand() {
    let (mut connections, client) = connect().await;
    drop(client);
    connections.one_ended().await;
    let (end, ends) = tokio::sync::oneshot::channel::<()>();
    connections.server.streams.execute(async {
        let _ = ends.await;
    });
    assert!(timeout(HEAD_TIMEOUT, connections.drain()).await.is_err());
    drop(end);
    connections.drain().await;
}
