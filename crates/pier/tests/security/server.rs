//! The server under attack and requests byte by byte, since no client library would send most of these.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use pier_oci::Digest;
use pier_testkit::process::PierProcess;
use tempfile::TempDir;

/// The longest that any answer is waited for.
const LIMIT: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: PierProcess,
    /// The folder around the data folder.
    pub(crate) around: TempDir,
}

/// A status and all that followed.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Server {
    /// A server with these lines in the `[serve]` section of its configuration.
    pub(crate) fn start(section: &str) -> Self {
        Self::start_with_files(0, section)
    }

    /// As [`start`](Self::start), with so many files that it may open, if that can be had.
    pub(crate) fn start_with_files(files: usize, section: &str) -> Self {
        let around = tempfile::tempdir().unwrap();
        let config = around.path().join("pier.toml");
        fs::write(&config, format!("[serve]\nlisten = \"127.0.0.1:0\"\n{section}\n")).unwrap();
        let data = around.path().join("data");
        let raise = if files == 0 { String::new() } else { format!("ulimit -n {files} 2>/dev/null; ") };
        let script = raise + "exec \"$0\" serve --config \"$1\" --data \"$2\"";
        let pier = env!("CARGO_BIN_EXE_pier");
        let arguments = ["-c", &script, pier, config.to_str().unwrap(), data.to_str().unwrap()];
        let level = [("PIER_LOG", "error".to_owned())];
        let process = PierProcess::start(Path::new("/bin/sh"), arguments, level).unwrap();
        Self { process, around }
    }

    /// How many files it may open.
    pub(crate) fn files(&self) -> usize {
        // Whoever is answered knows that the server has set its limit.
        assert_eq!(self.get("/v2/").status, 200);
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.process.id())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        line.split_whitespace().nth(3).unwrap().parse().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Sends a request on a connection of its own. `headers` are whole lines.
    pub(crate) fn ask(&self, line: &str, headers: &str, body: &[u8]) -> Reply {
        let mut stream = self.connect();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n",
            self.address(),
            body.len()
        );
        // A server that says no early may close while we still write; what counts is what it says.
        drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)));
        read(&mut stream)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path}"), "", b"")
    }

    /// Pushes a blob in one request.
    pub(crate) fn push(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = Digest::sha256(content);
        let line = format!("POST /v2/{repository}/blobs/uploads/?digest={digest}");
        assert_eq!(self.ask(&line, "", content).status, 201);
        digest
    }

    /// Pushes a manifest under a tag or a digest.
    pub(crate) fn put(&self, repository: &str, selector: &str, media_type: &str, manifest: &[u8]) -> Reply {
        let line = format!("PUT /v2/{repository}/manifests/{selector}");
        self.ask(&line, &format!("Content-Type: {media_type}\r\n"), manifest)
    }

    /// The path of a new upload session.
    pub(crate) fn session(&self, repository: &str) -> String {
        let reply = self.ask(&format!("POST /v2/{repository}/blobs/uploads/"), "", b"");
        assert_eq!(reply.status, 202);
        let line = reply.text.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
        line.trim().to_owned()
    }
}

/// The answer that a connection gives until it is closed.
pub(crate) fn read(stream: &mut TcpStream) -> Reply {
    let mut answer = Vec::new();
    // A connection that was reset after the answer has given the answer.
    drop(stream.read_to_end(&mut answer));
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, text }
}
