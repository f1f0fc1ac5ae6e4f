//! Heads and documents that are larger or deeper than anything needs to be.

use std::io::Write as _;

use pier_oci::Digest;
use serde_json::json;

use crate::server::{Server, read};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The largest manifest that is taken: what the specification asks for at least.
const MAX_MANIFEST: usize = 4 << 20;

#[test]
fn a_head_without_end_is_cut_short() {
    let server = Server::start("");
    let many = "X-Many: x\r\n".repeat(2000);
    let long = format!("X-Long: {}\r\n", "x".repeat(8 << 20));
    // What a connection's buffer does not hold is too long whatever it is, and of what it holds 64 KiB are the most for a path.
    for (line, headers, status) in [
        ("GET /v2/".to_owned(), many.as_str(), 431),
        ("GET /v2/".to_owned(), long.as_str(), 431),
        (format!("GET /v2/{}/tags/list", "a".repeat(8 << 20)), "", 431),
        (format!("GET /v2/{}/tags/list", "a".repeat(100 << 10)), "", 414),
    ] {
        assert_eq!(server.ask(&line, headers, b"").status, status, "{line:.20} {headers:.20}");
    }
    // One that never ends is not kept either.
    let mut endless = server.connect();
    endless.write_all(b"GET /v2/ HTTP/1.1\r\n").unwrap();
    let mut sent = 0;
    while endless.write_all(&b"X-Y: zzzzzzzzzzzzzzzzzzzzzzzz\r\n".repeat(1024)).is_ok() {
        sent += 1;
        assert!(sent < 1 << 12, "{sent} times 31 KiB of headers were taken");
    }
    assert_eq!(server.get("/v2/").status, 200);
    let peak = server.process.resident_bytes().unwrap().peak;
    assert!(peak < 96 << 20, "{peak} bytes of memory");
}

#[test]
fn a_manifest_of_4_mib_is_taken_and_a_longer_one_refused_before_it_is_read() {
    let server = Server::start("");
    let empty = index(&[], "");
    let longest = index(&[], &"x".repeat(MAX_MANIFEST - empty.len()));
    assert_eq!(longest.len(), MAX_MANIFEST);
    assert_eq!(server.put("app", "longest", INDEX, longest.as_bytes()).status, 201);
    assert!(server.get("/v2/app/manifests/longest").text.ends_with(&longest));

    let longer = index(&[], &"x".repeat(MAX_MANIFEST - empty.len() + 1));
    let reply = server.put("app", "longer", INDEX, longer.as_bytes());
    assert_eq!(reply.status, 413, "{}", reply.text);
    // Announced in the head: nothing of the body has to come for the answer.
    let mut announced = server.connect();
    write!(
        announced,
        "PUT /v2/app/manifests/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        1_u64 << 40
    )
    .unwrap();
    assert_eq!(read(&mut announced).status, 413);
    // Not announced: cut off where it becomes too long.
    let mut chunked = server.connect();
    write!(
        chunked,
        "PUT /v2/app/manifests/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    for _ in 0..6 {
        // The server may have closed already.
        drop(chunked.write_all(&chunk));
    }
    assert!([0, 413].contains(&read(&mut chunked).status));
    assert_eq!(server.get("/v2/app/manifests/x").status, 404);
}

#[test]
fn documents_that_are_nested_deeply_break_nothing() {
    let server = Server::start("");
    let deep = |open: &str, close: &str, member: &str| {
        let inner = format!("{}1{}", open.repeat(200_000), close.repeat(200_000));
        format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[],\"{member}\":{inner}}}")
    };
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        // What nobody reads is passed over without recursion, and what is read has a form.
        for (member, status) in [("unknown", 201), ("annotations", 400), ("subject", 400)] {
            let reply = server.put("app", "deep", INDEX, deep(open, close, member).as_bytes());
            assert_eq!(reply.status, status, "{member}: {}", reply.text);
        }
    }
    // Indexes of indexes: each is small and right, and nothing here follows them down by recursion.
    let mut child = index(&[], "");
    for _ in 0..600 {
        let digest = Digest::sha256(child.as_bytes());
        assert_eq!(server.put("app", &digest.to_string(), INDEX, child.as_bytes()).status, 201);
        child = index(&[(digest, child.len())], "");
    }
    assert_eq!(server.put("app", "tower", INDEX, child.as_bytes()).status, 201);
    let root = Digest::sha256(child.as_bytes());
    assert_eq!(server.get("/v2/app/manifests/tower").status, 200);
    assert_eq!(server.ask(&format!("DELETE /v2/app/manifests/{root}"), "", b"").status, 202);
    assert_eq!(server.get("/v2/").status, 200);
}

fn index(children: &[(Digest, usize)], note: &str) -> String {
    let children: Vec<_> = children
        .iter()
        .map(|(digest, size)| json!({ "mediaType": INDEX, "digest": digest.to_string(), "size": size }))
        .collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children, "annotations": { "note": note } })
        .to_string()
}
