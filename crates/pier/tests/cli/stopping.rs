//! SIGTERM while a client is in the middle of a request.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::pier::Store;
use crate::registry::{Registry, digest};

/// Far longer than any of this takes.
const LIMIT: Duration = Duration::from_secs(20);

/// An upload's request that the server has begun to read, and of which half has been sent.
struct Halfway {
    stream: TcpStream,
    location: String,
}

impl Halfway {
    #[track_caller]
    fn start(registry: &Registry) -> Self {
        let host = format!("Host: {}\r\n", registry.address());
        let location = registry.send("POST", "/v2/app/blobs/uploads/", &host, b"").header("location");
        let mut stream = TcpStream::connect(registry.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        write!(
            stream,
            "PATCH {location} HTTP/1.1\r\n{host}Expect: 100-continue\r\nContent-Length: 10\r\n\r\n"
        )
        .unwrap();
        // The server says this when it starts to read the body, so from here on the request is under way.
        let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"first").unwrap();
        Self { stream, location }
    }

    /// What the server answers when nothing more is sent.
    #[track_caller]
    fn answer(mut self) -> String {
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[track_caller]
pub(crate) fn terminate(registry: &mut Registry) {
    let id = registry.process().id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status().unwrap().success());
}

/// Sends SIGTERM and waits until the server has taken note of it.
#[track_caller]
fn ask_to_stop(registry: &mut Registry) {
    terminate(registry);
    let deadline = Instant::now() + LIMIT;
    while !registry.process().stderr().contains("stopping") {
        assert!(Instant::now() < deadline, "the server took no note of SIGTERM");
        std::thread::yield_now();
    }
}

#[test]
fn a_request_under_way_finishes_and_no_other_begins() {
    let store = Store::empty();
    let mut registry = Registry::start(&store);
    let mut halfway = Halfway::start(&registry);
    ask_to_stop(&mut registry);
    assert!(TcpStream::connect(registry.address()).is_err());
    halfway.stream.write_all(b"-last").unwrap();
    let location = halfway.location.clone();
    let answer = halfway.answer();
    assert!(answer.starts_with("HTTP/1.1 202 ") && answer.contains("range: 0-9\r\n"), "{answer}");
    assert_eq!(registry.process().wait(LIMIT).unwrap().code(), Some(0));

    // The next server goes on with the same upload.
    let registry = Registry::start(&store);
    let name = digest(b"first-last");
    let host = format!("Host: {}\r\n", registry.address());
    assert_eq!(registry.send("PUT", &format!("{location}?digest={name}"), &host, b"").status, 201);
    assert_eq!(registry.get(&format!("/v2/app/blobs/{name}")).body, b"first-last");
}

#[test]
fn a_second_signal_ends_at_once_and_the_upload_is_kept() {
    let store = Store::empty();
    let mut registry = Registry::start(&store);
    let halfway = Halfway::start(&registry);
    ask_to_stop(&mut registry);
    terminate(&mut registry);
    assert_eq!(registry.process().wait(LIMIT).unwrap().code(), Some(3));
    let registry = Registry::start(&store);
    assert_eq!(registry.get(&halfway.location).status, 204);
}

#[test]
fn requests_that_do_not_finish_in_time_are_cut() {
    let store = Store::empty();
    let arguments = ["--listen", "127.0.0.1:0", "--drain-timeout", "50ms"];
    let mut registry = Registry::start_with(&store.data(), &arguments);
    let _halfway = Halfway::start(&registry);
    assert_eq!(registry.process().terminate(LIMIT).unwrap().code(), Some(3));
    let log = registry.process().stderr();
    assert!(log.contains("some requests did not finish; unfinished uploads are kept"), "{log}");
}

#[test]
fn a_client_that_falls_silent_is_given_up() {
    let store = Store::empty();
    let file = crate::pier::write(&store, "pier.toml", "[serve]\nidle-timeout = \"1s\"\n");
    let arguments = ["--listen", "127.0.0.1:0", "--config", crate::pier::text(&file)];
    let registry = Registry::start_with(&store.data(), &arguments);
    let halfway = Halfway::start(&registry);
    let location = halfway.location.clone();
    let answer = halfway.answer();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("BLOB_UPLOAD_INVALID"), "{answer}");
    // What had arrived is kept.
    assert_eq!(registry.get(&location).header("range"), "0-4");
}
