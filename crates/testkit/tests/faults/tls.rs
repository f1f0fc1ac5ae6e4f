//! The faulty proxy behind TLS: who is let in, and whom a client believes.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use pier_testkit::faults::{Fault, FaultyProxy, Kind, Script, When};
use pier_testkit::test_registry::{Options, Storage, TestRegistry};
use pier_testkit::tls::{Authority, Clients, Identity};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::{Answer, exchange_on, get};

/// Connects as a client that was configured with these texts.
async fn connect(
    address: SocketAddr,
    name: &str,
    ca: &str,
    identity: Option<&Identity>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

async fn ping(stream: TlsStream<TcpStream>, address: SocketAddr) -> Answer {
    exchange_on(stream, address, &get("/v2/", "")).await
}

async fn registry() -> TestRegistry {
    TestRegistry::start_with(Options { storage: Storage::Memory, ..Options::default() }).await.unwrap()
}

#[tokio::test]
async fn whoever_knows_the_authority_is_served_by_name_and_address() {
    let (registry, authority) = (registry().await, Authority::new().unwrap());
    let script = Script::new().rule(When::on(Method::GET, Kind::Base).skip(2), Fault::Truncate { after: 1 });
    let proxy =
        FaultyProxy::start_tls(registry.address(), script, &authority, Clients::Anyone).await.unwrap();
    assert_eq!(proxy.url(), format!("https://{}", proxy.address()));
    for name in ["localhost", "127.0.0.1"] {
        let stream = connect(proxy.address(), name, &authority.pem(), None).await.unwrap();
        let answer = ping(stream, proxy.address()).await;
        assert_eq!((answer.status(), answer.body.as_slice()), (200, &b"{}"[..]));
    }
    // Faults are the same as without.
    let stream = connect(proxy.address(), "localhost", &authority.pem(), None).await.unwrap();
    let answer = ping(stream, proxy.address()).await;
    assert_eq!((answer.length(), answer.body.as_slice()), (Some(2), &b"{"[..]));
}

#[tokio::test]
async fn whoever_trusts_another_authority_hangs_up() {
    let (registry, authority) = (registry().await, Authority::new().unwrap());
    let proxy =
        FaultyProxy::start_tls(registry.address(), Script::new(), &authority, Clients::Anyone).await.unwrap();
    let other = Authority::new().unwrap();
    let error = connect(proxy.address(), "localhost", &other.pem(), None).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
    let error = connect(proxy.address(), "example.com", &authority.pem(), None).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
    assert!(proxy.requests().is_empty());
}

#[tokio::test]
async fn clients_without_a_certificate_stay_outside() {
    let (registry, authority) = (registry().await, Authority::new().unwrap());
    let proxy = FaultyProxy::start_tls(registry.address(), Script::new(), &authority, Clients::Certified)
        .await
        .unwrap();
    let (ours, others) =
        (authority.client("ours").unwrap(), Authority::new().unwrap().client("theirs").unwrap());
    for (identity, is_served) in [(None, false), (Some(&others), false), (Some(&ours), true)] {
        // In TLS 1.3 a client learns of it only once it reads.
        let answer = match connect(proxy.address(), "localhost", &authority.pem(), identity).await {
            Ok(stream) => ping(stream, proxy.address()).await.head,
            Err(_) => String::new(),
        };
        assert_eq!(answer.starts_with("HTTP/1.1 200 OK\r\n"), is_served, "{answer}");
    }
    assert_eq!(proxy.requests().len(), 1);
}
