//! A `pier serve` with a certificate and users of its own, and a client of one request.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pier_testkit::{
    process::PierProcess,
    tls::{Authority, Identity},
};
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

/// The program under test.
pub(crate) const PIER: &str = env!("CARGO_BIN_EXE_pier");

/// Far longer than a server needs for anything here.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// `hunter2`, at the lowest cost.
pub(crate) const ALICE: &str = "alice:$2b$04$G7qAirenWUk9URSllCgDDeQibPNW0.iV0M5Sv0NnVGohKhowfXxKm";

/// A folder with everything that a server reads.
pub(crate) struct Site {
    folder: TempDir,
    pub(crate) authority: Authority,
}

/// A server that ends when dropped.
pub(crate) struct Server {
    pub(crate) process: PierProcess,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Site {
    /// A certificate and its key, and alice.
    #[track_caller]
    pub(crate) fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap(), authority: Authority::new().unwrap() };
        let identity = site.identity();
        site.write("tls.crt", &identity.certificate);
        site.write("tls.key", &identity.key);
        site.write("ca.crt", &site.authority.pem());
        site.write("htpasswd", &format!("{ALICE}\n"));
        site
    }

    #[track_caller]
    pub(crate) fn identity(&self) -> Identity {
        self.authority.server_identity().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file as careful programs do: by renaming a whole one over it.
    #[track_caller]
    pub(crate) fn write(&self, name: &str, content: &str) {
        let new = self.path("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    /// `pier serve` on a free port, with these arguments; a name in braces is the file's path here.
    pub(crate) fn arguments(&self, arguments: &str) -> Vec<String> {
        let folder = self.folder.path().to_str().unwrap();
        let arguments = format!("serve --listen 127.0.0.1:0 --data {folder}/data {arguments}");
        arguments.split_whitespace().map(|argument| argument.replace('@', &format!("{folder}/"))).collect()
    }

    #[track_caller]
    pub(crate) fn serve(&self, arguments: &str) -> Server {
        self.serve_logging("info", arguments)
    }

    #[track_caller]
    pub(crate) fn serve_logging(&self, level: &str, arguments: &str) -> Server {
        let environment = [("PIER_LOG", level.to_owned())];
        let process = PierProcess::start(Path::new(PIER), self.arguments(arguments), environment).unwrap();
        Server { process }
    }

    /// Runs one that is not to start. Gives what it says, with the folder left out.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &str) -> String {
        let output = Command::new(PIER)
            .args(self.arguments(arguments))
            .env("PIER_LOG", "off")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(2), Vec::new()));
        let folder = format!("{}/", self.folder.path().to_str().unwrap());
        String::from_utf8(output.stderr).unwrap().replace(&folder, "")
    }

    /// What a client believes that trusts the authority, and offers these protocols.
    pub(crate) fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut config = (*trusting(&self.authority.pem())).clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// What a client believes that trusts this certificate, and has nothing to say about protocols.
pub(crate) fn trusting(pem: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A connection whose handshake is done.
pub(crate) type TlsConnection = StreamOwned<ClientConnection, TcpStream>;

#[track_caller]
pub(crate) fn connect(address: SocketAddr, client: &Arc<ClientConfig>) -> TlsConnection {
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    StreamOwned::new(connection, socket)
}

/// Sends one request over a connection and reads the answer to the end of the connection.
#[track_caller]
pub(crate) fn ask(
    stream: &mut (impl Read + Write),
    request: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut head = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head, body: answer[end + 4..].to_vec() }
}

/// The header that logs in.
pub(crate) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// Over plain HTTP.
    #[track_caller]
    pub(crate) fn ask(&self, request: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        ask(&mut TcpStream::connect(self.address()).unwrap(), request, headers, body)
    }

    /// The status of a request over plain HTTP, as this user.
    #[track_caller]
    pub(crate) fn status_as(&self, name: &str, password: &str, request: &str) -> u16 {
        self.ask(request, &[("Authorization", &basic(name, password))], b"").status
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The code of the first error in the body.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}
