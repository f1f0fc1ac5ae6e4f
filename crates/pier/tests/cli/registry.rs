//! A `pier serve` of one's own, and as much of HTTP as it takes to push an image to it: a connection for each request.
//!
//! Not one of the usual clients, because some requests here no client would send.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use pier_testkit::process::PierProcess;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::pier::{PIER, Store, text};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A running registry over a store; it ends when dropped.
pub(crate) struct Registry {
    process: PierProcess,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

/// An image of one layer, as it is pushed.
pub(crate) struct Image {
    pub(crate) config: Vec<u8>,
    pub(crate) layer: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

impl Registry {
    #[track_caller]
    pub(crate) fn start(store: &Store) -> Self {
        Self::start_with(&store.data(), &["--listen", "127.0.0.1:0"])
    }

    #[track_caller]
    pub(crate) fn start_with(data: &Path, arguments: &[&str]) -> Self {
        let arguments = [&["serve", "--data", text(data)], arguments].concat();
        let environment = [("PIER_LOG", "info".to_owned())];
        Self { process: PierProcess::start(Path::new(PIER), arguments, environment).unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address()
    }

    pub(crate) fn process(&mut self) -> &mut PierProcess {
        &mut self.process
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &format!("Host: {}\r\n", self.address()), b"")
    }

    /// Sends a request whose headers, `Host` among them, are what is given.
    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        send_to(self.address(), method, path, headers, body)
    }

    #[track_caller]
    pub(crate) fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let reply = self.send("POST", &path, &format!("Host: {}\r\n", self.address()), bytes);
        assert_eq!(reply.status, 201, "{reply:?}");
        digest
    }

    #[track_caller]
    pub(crate) fn push_manifest(&self, repository: &str, selector: &str, bytes: &[u8]) -> String {
        let media_type = serde_json::from_slice::<Value>(bytes).unwrap()["mediaType"].clone();
        let headers =
            format!("Host: {}\r\nContent-Type: {}\r\n", self.address(), media_type.as_str().unwrap());
        let reply = self.send("PUT", &format!("/v2/{repository}/manifests/{selector}"), &headers, bytes);
        assert_eq!(reply.status, 201, "{reply:?}");
        digest(bytes)
    }

    /// Pushes an image under a tag and gives its digest.
    #[track_caller]
    pub(crate) fn push(&self, repository: &str, tag: &str, image: &Image) -> String {
        self.push_blob(repository, &image.config);
        self.push_blob(repository, &image.layer);
        self.push_manifest(repository, tag, &image.manifest)
    }
}

/// Sends a request to any server; see [`Registry::send`].
#[track_caller]
pub(crate) fn send_to(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head, body: answer[end + 4..].to_vec() }
}

impl Reply {
    /// The value of a header that has to be there, named as the server writes it.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> String {
        let value = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap().to_owned()
    }

    /// The code of the specification's error body.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

impl Image {
    pub(crate) fn new(layer: &[u8]) -> Self {
        let config = br#"{"architecture":"amd64","os":"linux"}"#.to_vec();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        });
        Self { config, layer: layer.to_vec(), manifest: manifest.to_string().into_bytes() }
    }

    /// Bytes of everything that it consists of.
    pub(crate) fn size(&self) -> usize {
        self.config.len() + self.layer.len() + self.manifest.len()
    }
}

/// An index of these manifests.
pub(crate) fn index(manifests: &[&[u8]]) -> Vec<u8> {
    let manifests: Vec<Value> = manifests.iter().map(|bytes| descriptor(MANIFEST, bytes)).collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string().into_bytes()
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("sha256:{hex}")
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}
