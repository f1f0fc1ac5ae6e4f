//! `pier serve` as a process among others: limits, signals, logs, and browsers that are tricked.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use pier_testkit::process::PierProcess;
use sha2::{Digest as _, Sha256};

/// The program under test.
const PIER: &str = env!("CARGO_BIN_EXE_pier");

/// Far longer than an idle server needs to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);

fn start(data: &Path) -> PierProcess {
    let arguments = ["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    PierProcess::start(Path::new(PIER), arguments, [("PIER_LOG", "info".to_owned())]).unwrap()
}

/// The status of the answer to a request with these headers.
#[track_caller]
fn status(address: SocketAddr, request: &str, headers: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A POST that pushes `hello`.
fn push() -> String {
    let hex = Sha256::digest(b"hello").iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("POST /v2/app/blobs/uploads/?digest=sha256:{hex}")
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_may_be() {
    let data = tempfile::tempdir().unwrap();
    let script = "ulimit -Sn 200; ulimit -Hn 800; exec \"$0\" serve --listen 127.0.0.1:0 --data \"$1\"";
    let arguments = ["-c", script, PIER, data.path().to_str().unwrap()];
    let mut server =
        PierProcess::start(Path::new("/bin/sh"), arguments, [("PIER_LOG", "info".to_owned())]).unwrap();
    // Answered only once the server runs, so the limit is what it made of it.
    assert_eq!(status(server.address(), "GET /v2/", "", ""), 200);
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let files: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3..5], ["800", "800"]);
    assert_eq!(server.terminate(STOP_LIMIT).unwrap().code(), Some(0));
    let log = server.stderr();
    assert!(
        log.contains("the limit of open files allows fewer connections") && log.contains("max=224"),
        "{log}"
    );
}

#[test]
fn whoever_reads_the_address_can_stop_the_server_as_it_should_be() {
    let data = tempfile::tempdir().unwrap();
    // A stdout that takes nothing holds the server at the line.
    let (mut reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    loop {
        match writer.write(&[b'\n'; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    writer.set_nonblocking(false).unwrap();
    let mut server = Command::new(PIER)
        .args(["serve", "--listen", "127.0.0.1:0", "--data", data.path().to_str().unwrap()])
        .env("PIER_LOG", "info")
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(writer))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("serving") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0);
    }
    let id = server.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status().unwrap().success());
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
    assert!(said.trim_start().starts_with("listening on http://127.0.0.1:"));
}

#[test]
fn the_log_names_writes_and_failures_and_no_query() {
    let data = tempfile::tempdir().unwrap();
    let mut server = start(data.path());
    let address = server.address();
    assert_eq!(status(address, "GET /v2/", "", ""), 200);
    assert_eq!(status(address, "HEAD /v2/quiet/manifests/1", "", ""), 404);
    assert_eq!(status(address, &push(), "", "hello"), 201);
    assert_eq!(status(address, "GET /v2/loud/tags/list?n=secret", "", ""), 400);
    server.terminate(STOP_LIMIT).unwrap();
    let log = server.stderr();
    let requests: Vec<&str> = log.lines().filter(|line| line.contains("request{")).collect();
    let [push, refused] = requests[..] else { panic!("{log}") };
    assert!(
        push.contains("POST") && push.contains("/v2/app/blobs/uploads/") && push.contains("201"),
        "{log}"
    );
    assert!(
        refused.contains("GET") && refused.contains("/v2/loud/tags/list") && refused.contains("400"),
        "{log}"
    );
    assert!(!log.contains("secret") && !log.contains("sha256:"), "{log}");
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path());
    for headers in ["Origin: http://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        assert_eq!(status(server.address(), &push(), headers, "hello"), 403, "{headers}");
    }
    let own = format!("Origin: http://{}\r\n", server.address());
    assert_eq!(status(server.address(), &push(), &own, "hello"), 201);
}
