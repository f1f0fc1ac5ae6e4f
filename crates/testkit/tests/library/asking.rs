//! A client of a few lines, so that nothing of Pier's own client stands between a test and what the registry says.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pier_testkit::image::BuiltImage;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(mut bytes: Vec<u8>) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body }
    }

    /// A field that has to be there, named in lower case.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> String {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.next().unwrap().1.to_owned()
    }

    /// The code of the specification's error body.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

/// The field that logs in.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
}

fn head(address: SocketAddr, method: &str, path: &str, fields: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{fields}Connection: close\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// One request, the connection closed after it. `fields` end each with a line break.
#[track_caller]
pub(crate) fn exchange(address: SocketAddr, method: &str, path: &str, fields: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head(address, method, path, fields, body.len()).as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    Answer::parse(bytes)
}

/// A GET over TLS, for who trusts one authority.
pub(crate) async fn over_tls(
    address: SocketAddr,
    ca_pem: &str,
    path: &str,
    fields: &str,
) -> std::io::Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(head(address, "GET", path, fields, 0).as_bytes()).await?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes).await {
        // Servers seldom say goodbye in TLS's way.
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    Ok(Answer::parse(bytes))
}

/// Pushes an image as clients do: blobs, manifests, the tag last.
#[track_caller]
pub(crate) fn push(address: SocketAddr, login: &str, repository: &str, tag: &str, image: &BuiltImage) {
    for blob in &image.blobs {
        let digest = blob.descriptor.digest;
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = exchange(address, "POST", &path, login, &blob.content.bytes().unwrap());
        assert_eq!(answer.status, 201, "{path}");
    }
    for manifest in &image.manifests {
        let digest = manifest.descriptor.digest.to_string();
        let last = manifest.descriptor.digest == image.root.digest;
        let path = format!("/v2/{repository}/manifests/{}", if last { tag } else { &digest });
        let fields = format!("{login}Content-Type: {}\r\n", manifest.descriptor.media_type);
        assert_eq!(exchange(address, "PUT", &path, &fields, &manifest.bytes).status, 201, "{path}");
    }
}
