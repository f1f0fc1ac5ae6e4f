//! TLS: what is spoken, whose certificate is shown, and what happens when it is renewed.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::{HandshakeKind, pki_types::CertificateDer};

use crate::server::{LIMIT, Site, TlsConnection, ask, connect, trusting};

const TLS: &str = "--tls-cert @tls.crt --tls-key @tls.key";

fn certificate(connection: &TlsConnection) -> CertificateDer<'static> {
    connection.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn it_says_https_and_speaks_what_the_client_can() {
    let site = Site::new();
    let server = site.serve(TLS);
    assert_eq!(server.process.stdout(), format!("listening on https://{}\n", server.address()));
    for (offered, chosen) in
        [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
    {
        let mut connection = connect(server.address(), &site.client(offered));
        let spoken = connection.conn.alpn_protocol().map(|spoken| str::from_utf8(spoken).unwrap().to_owned());
        assert_eq!(spoken.as_deref(), chosen);
        if chosen != Some("h2") {
            assert_eq!(ask(&mut connection, "GET /v2/", &[], b"").status, 200);
        }
    }
}

#[test]
fn what_was_pushed_over_tls_comes_back_over_tls() {
    let site = Site::new();
    let server = site.serve(TLS);
    let blob: Vec<u8> =
        (0..3_u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let hex = Sha256::digest(&blob).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let digest = format!("sha256:{hex}");
    let client = site.client(&["http/1.1"]);
    let send = |request: &str, headers: &[(&str, &str)], body: &[u8]| {
        ask(&mut connect(server.address(), &client), request, headers, body)
    };
    let pushed = send(&format!("POST /v2/app/blobs/uploads/?digest={digest}"), &[], &blob);
    assert_eq!(pushed.status, 201);
    let get = format!("GET /v2/app/blobs/{digest}");
    let whole = send(&get, &[], b"");
    assert_eq!((whole.status, whole.body == blob), (200, true));
    let part = send(&get, &[("Range", "bytes=1000000-2999999")], b"");
    assert_eq!((part.status, part.body == blob[1_000_000..3_000_000]), (206, true));
}

#[test]
fn plain_http_to_a_port_with_tls_is_told_so() {
    let site = Site::new();
    let server = site.serve(TLS);
    let reply = server.ask("GET /v2/", &[], b"");
    assert_eq!((reply.status, reply.code().as_str()), (400, "UNSUPPORTED"));
    assert!(String::from_utf8_lossy(&reply.body).contains("ask with https://"), "{reply:?}");
    // A request that is larger than what anybody reads of it, too.
    let reply = server.ask("PUT /v2/app/manifests/1", &[], &vec![0; 300_000]);
    assert_eq!(reply.status, 400);
}

#[test]
fn what_is_neither_tls_nor_http_ends_and_others_go_on() {
    let site = Site::new();
    let server = site.serve(TLS);
    let silent: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    // A handshake of which half comes.
    let mut half = TcpStream::connect(server.address()).unwrap();
    half.write_all(&[22, 3, 1, 0, 200, 1]).unwrap();
    // A record that is none.
    let mut broken = TcpStream::connect(server.address()).unwrap();
    broken.set_read_timeout(Some(LIMIT)).unwrap();
    broken.write_all(&[22, 9, 9, 0, 1, 0]).unwrap();
    let mut alert = Vec::new();
    broken.read_to_end(&mut alert).unwrap();
    assert_eq!(alert.first(), Some(&21), "no TLS alert");
    let mut connection = connect(server.address(), &site.client(&[]));
    assert_eq!(ask(&mut connection, "GET /v2/", &[], b"").status, 200);
    drop(silent);
}

#[test]
fn a_client_that_comes_back_resumes_its_session_also_after_a_renewal() {
    let site = Site::new();
    let server = site.serve(TLS);
    let client = site.client(&[]);
    let kind = |expected| {
        let mut connection = connect(server.address(), &client);
        assert_eq!(connection.conn.handshake_kind(), Some(expected));
        // Tickets come behind the handshake, with the answer.
        assert_eq!(ask(&mut connection, "GET /v2/", &[], b"").status, 200);
    };
    kind(HandshakeKind::Full);
    kind(HandshakeKind::Resumed);
    let renewed = site.identity();
    site.write("tls.crt", &renewed.certificate);
    site.write("tls.key", &renewed.key);
    server.process.hang_up().unwrap();
    server.process.wait_for_stderr("read again", LIMIT).unwrap();
    kind(HandshakeKind::Resumed);
}

#[test]
fn a_renewed_certificate_is_shown_without_anybody_asking() {
    let site = Site::new();
    let server = site.serve(TLS);
    let client = site.client(&[]);
    let mut kept = connect(server.address(), &client);
    let before = certificate(&kept);
    let renewed = site.identity();
    // The certificate first: while there is no key for it, the old pair goes on.
    site.write("tls.crt", &renewed.certificate);
    server.process.wait_for_stderr("does not belong to the certificate", LIMIT).unwrap();
    let fresh = Arc::new((*site.client(&[])).clone());
    assert_eq!(certificate(&connect(server.address(), &fresh)), before);
    site.write("tls.key", &renewed.key);
    server.process.wait_for_stderr("read again", LIMIT).unwrap();
    let after = certificate(&connect(server.address(), &site.client(&[])));
    assert_ne!(after, before);
    // Connections that stand are not disturbed.
    assert_eq!(ask(&mut kept, "GET /v2/", &[], b"").status, 200);
}

#[test]
fn a_renewal_that_makes_no_sense_keeps_the_old_and_says_why_once() {
    let site = Site::new();
    let server = site.serve(TLS);
    let before = certificate(&connect(server.address(), &site.client(&[])));
    let said = |what: &str| {
        server.process.hang_up().unwrap();
        server.process.wait_for_stderr(what, LIMIT).unwrap();
        assert_eq!(certificate(&connect(server.address(), &site.client(&[]))), before, "{what}");
    };
    site.write("tls.crt", "nothing");
    said("has no certificate in it");
    std::fs::remove_file(site.path("tls.crt")).unwrap();
    said("cannot read the TLS certificate or key");
    let identity = site.identity();
    site.write("tls.crt", &identity.certificate);
    said("does not belong to the certificate");
    // What has not changed is not said again.
    server.process.hang_up().unwrap();
    site.write("tls.key", &identity.key);
    server.process.hang_up().unwrap();
    server.process.wait_for_stderr("read again", LIMIT).unwrap();
    assert_ne!(certificate(&connect(server.address(), &site.client(&[]))), before);
    assert_eq!(server.process.stderr().matches("does not belong to the certificate").count(), 1);
}

#[test]
fn certificates_and_keys_that_cannot_be_used_are_refused_with_what_to_do() {
    let site = Site::new();
    let key = site.identity().key;
    site.write("other.key", &key);
    site.write("empty", "");
    site.write("cut.key", &key[..key.len() / 2]);
    site.write("bad.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    site.write(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let pem_key =
        "a key is a PEM file that begins with `-----BEGIN PRIVATE KEY-----`, or with EC or RSA in it";
    let pem_certificate = "a certificate is a PEM file that begins with `-----BEGIN CERTIFICATE-----`; put the server's own first";
    for (certificate, key, error, hint) in [
        (
            "missing.crt",
            "tls.key",
            "cannot read the TLS certificate or key `missing.crt`: No such file or directory (os error 2)",
            "check the path; relative ones start where `pier` was started",
        ),
        ("empty", "tls.key", "`empty` has no certificate in it", pem_certificate),
        ("tls.key", "tls.key", "`tls.key` has no certificate in it", pem_certificate),
        ("bad.crt", "tls.key", "`bad.crt` begins with no X.509 certificate of a server", pem_certificate),
        ("tls.crt", "tls.crt", "`tls.crt` has no private key in it", pem_key),
        ("tls.crt", "cut.key", "`cut.key` is no PEM file: a section has no end", pem_key),
        (
            "tls.crt",
            "locked.key",
            "the key `locked.key` is protected by a passphrase",
            "take the passphrase off with `openssl pkey -in KEY -out NEW`, and let nobody else read the file",
        ),
        (
            "tls.crt",
            "other.key",
            "the key `other.key` does not belong to the certificate `tls.crt`",
            "the first certificate of the file has to be the server's own; those that vouch for it come behind it",
        ),
    ] {
        let said = site.refused(&format!("--tls-cert @{certificate} --tls-key @{key}"));
        assert_eq!(said, format!("error: {error}\nhint: {hint}\n"));
    }
}

/// Certificates that vouch for themselves, each with its key in one of the forms that keys come in. Nothing else believes them.
const KEYS: [(&str, &str, &str); 3] = [
    ("SEC 1", "-----BEGIN EC PRIVATE KEY-----", include_str!("keys/ec.pem")),
    ("PKCS #1", "-----BEGIN RSA PRIVATE KEY-----", include_str!("keys/rsa.pem")),
    ("PKCS #8", "-----BEGIN PRIVATE KEY-----", include_str!("keys/ed25519.pem")),
];

#[test]
fn keys_are_read_in_every_form_also_from_the_certificates_file() {
    for (form, begin, pem) in KEYS {
        assert!(pem.contains(begin), "{form}");
        let site = Site::new();
        site.write("both.pem", pem);
        let server = site.serve("--tls-cert @both.pem --tls-key @both.pem");
        let client = trusting(pem);
        let mut connection = connect(server.address(), &client);
        assert_eq!(ask(&mut connection, "GET /v2/", &[], b"").status, 200, "{form}");
    }
}
