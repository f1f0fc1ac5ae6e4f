//! Clients that do not do their part, over TLS: what they hold up, and for how long.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::Instant,
};

use sha2::{Digest as _, Sha256};

use crate::server::{LIMIT, Server, Site, ask, connect};

/// A server with TLS that has little patience.
#[track_caller]
fn impatient(site: &Site) -> Server {
    impatient_logging("info", site)
}

#[track_caller]
fn impatient_logging(level: &str, site: &Site) -> Server {
    site.write("pier.toml", "[serve]\nhead-timeout = '1s'\nkeep-alive = '1s'\nidle-timeout = '1s'\n");
    site.serve_logging(level, "--config @pier.toml --tls-cert @tls.crt --tls-key @tls.key")
}

/// Reads to the end of a connection; being cut is an end as well.
fn to_the_end(stream: &mut impl std::io::Read) -> usize {
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(read) => bytes += read,
            Err(error) => {
                assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                return bytes;
            }
        }
    }
}

#[test]
fn a_handshake_that_does_not_come_is_not_waited_for() {
    let site = Site::new();
    let server = impatient(&site);
    let started = Instant::now();
    for sent in [&b""[..], &[22], &[22, 3, 1, 0, 200, 1]] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(sent).unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
    }
    assert!((3..20).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[test]
fn a_request_that_does_not_come_is_not_waited_for() {
    let site = Site::new();
    let server = impatient(&site);
    let client = site.client(&["http/1.1"]);
    for sent in [&b""[..], b"GET /v2/ HTTP/1.1\r\nHost: local"] {
        let mut stream = connect(server.address(), &client);
        stream.write_all(sent).unwrap();
        let started = Instant::now();
        assert_eq!(to_the_end(&mut stream), 0);
        assert!(started.elapsed() < LIMIT / 2);
    }
    // Between two requests as well.
    let mut stream = connect(server.address(), &client);
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(to_the_end(&mut stream) > 0);
}

#[test]
fn an_upload_that_stands_still_keeps_what_came() {
    let site = Site::new();
    let server = impatient(&site);
    let client = site.client(&["http/1.1"]);
    let begun = ask(&mut connect(server.address(), &client), "POST /v2/app/blobs/uploads/", &[], b"");
    let location = begun.header("location").unwrap().to_owned();
    let mut stream = connect(server.address(), &client);
    let head = format!("PATCH {location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[b'x'; 5000]).unwrap();
    let mut answer = Vec::new();
    // It is told, or just cut; either way it ends.
    let _ = stream.read_to_end(&mut answer);
    let status = ask(&mut connect(server.address(), &client), &format!("GET {location}"), &[], b"");
    assert_eq!((status.status, status.header("range")), (204, Some("0-4999")));
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let site = Site::new();
    let server = impatient_logging("debug", &site);
    let client = site.client(&["http/1.1"]);
    let blob = vec![7; 64 << 20];
    let hex = Sha256::digest(&blob).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let push = format!("POST /v2/app/blobs/uploads/?digest=sha256:{hex}");
    assert_eq!(ask(&mut connect(server.address(), &client), &push, &[], &blob).status, 201);
    let mut stream = connect(server.address(), &client);
    let get = format!("GET /v2/app/blobs/sha256:{hex} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(get.as_bytes()).unwrap();
    // Nothing is read here until the server says that it has given up.
    server.process.wait_for_stderr("the client takes nothing", LIMIT).unwrap();
    assert!(to_the_end(&mut stream) < blob.len());
}

#[test]
fn patience_is_configured() {
    let site = Site::new();
    site.write("pier.toml", "[serve]\nhead-timeout = '0s'\n");
    assert_eq!(
        site.refused("--config @pier.toml"),
        "error: `pier.toml` is not a configuration of Pier: line 2: a duration longer than `0s` is needed here\n\
         hint: docs/reference/config.md lists every key\n"
    );
}
