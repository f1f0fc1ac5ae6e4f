//! Names that lead elsewhere, and digests as keys to what other repositories hold.

use std::fs;

use pier_oci::Digest;
use serde_json::json;

use crate::server::Server;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What lies beside the data folder.
const CANARY: &[u8] = b"what nobody may read";

#[test]
fn no_path_leads_out_of_the_store() {
    let server = Server::start("");
    fs::write(server.around.path().join("canary"), CANARY).unwrap();
    fs::create_dir_all(server.around.path().join("canary-folder/blobs/sha256")).unwrap();
    let hex = Digest::sha256(CANARY).hex();
    fs::write(server.around.path().join("canary-folder/blobs/sha256").join(&hex), CANARY).unwrap();
    let session = "00112233-4455-4677-8899-aabbccddeeff";
    for path in [
        "/../canary".to_owned(),
        "/v2/../../canary".to_owned(),
        "/v2/%2e%2e/%2e%2e/canary".to_owned(),
        "/v2/..%2f..%2fcanary/tags/list".to_owned(),
        "/v2/../canary-folder/blobs/sha256:".to_owned() + &hex,
        "/v2/%2e%2e/canary-folder/blobs/sha256:".to_owned() + &hex,
        "/v2/a/blobs/sha256:../../../canary".to_owned(),
        "/v2/a/blobs/sha256:%2e%2e%2f%2e%2e%2f%2e%2e%2fcanary".to_owned(),
        "/v2/a/blobs/..:".to_owned() + &hex,
        "/v2/a/blobs/sha256%00:".to_owned() + &hex,
        "/v2/a/blobs/sha256:".to_owned() + &hex.to_uppercase(),
        "/v2/a/manifests/..".to_owned(),
        "/v2/a/manifests/..%2f..%2fcanary".to_owned(),
        "/v2/a/manifests/%00".to_owned(),
        "/v2/a/referrers/../../../canary".to_owned(),
        "/v2/a/blobs/uploads/../../../canary".to_owned(),
        "/v2/a/blobs/uploads/%2e%2e".to_owned(),
        format!("/v2/a/blobs/uploads/{session}"),
        format!("/v2/a/blobs/uploads/{session}%2f..%2f..%2fcanary"),
        "//etc/passwd".to_owned(),
        "/v2/a/blobs/uploads/..%5c..%5ccanary".to_owned(),
    ] {
        for method in ["GET", "HEAD", "DELETE", "PUT", "PATCH", "POST"] {
            let reply = server.ask(&format!("{method} {path}"), "", b"x");
            assert!((400..500).contains(&reply.status), "{method} {path}: {reply:?}");
            assert!(!reply.text.contains("nobody may read"), "{method} {path}: {reply:?}");
        }
    }
    assert_eq!(fs::read(server.around.path().join("canary")).unwrap(), CANARY);
}

#[test]
fn a_session_of_one_repository_is_no_session_of_another() {
    let server = Server::start("");
    let session = server.session("mine");
    let stolen = session.replace("/v2/mine/", "/v2/yours/");
    for line in [
        format!("GET {stolen}"),
        format!("PATCH {stolen}"),
        format!("PUT {stolen}?digest={}", Digest::sha256(b"x")),
        format!("DELETE {stolen}"),
    ] {
        assert_eq!(server.ask(&line, "", b"").status, 404, "{line}");
    }
    assert_eq!(server.get(&session).status, 204);
}

#[test]
fn a_digest_alone_opens_nothing_that_another_repository_holds() {
    let server = Server::start("");
    let config = server.push("mine", b"{}");
    let layer = server.push("mine", b"a secret layer");
    let descriptor = |digest: &Digest, size: usize| json!({ "mediaType": "a/b", "digest": digest.to_string(), "size": size });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor(&config, 2), "layers": [descriptor(&layer, 14)],
    })
    .to_string();
    assert_eq!(server.put("mine", "1", MANIFEST, manifest.as_bytes()).status, 201);
    let digest = Digest::sha256(manifest.as_bytes());

    server.push("yours", b"something else");
    for path in [
        format!("/v2/yours/blobs/{layer}"),
        format!("/v2/yours/manifests/{digest}"),
        format!("/v2/nobodys/blobs/{layer}"),
        format!("/v2/mine/nested/blobs/{layer}"),
    ] {
        for method in ["GET", "HEAD", "DELETE"] {
            assert_eq!(server.ask(&format!("{method} {path}"), "", b"").status, 404, "{method} {path}");
        }
    }
    // A manifest that names them does not bring them in, and neither does a mount from where they are not.
    assert_eq!(server.put("yours", "1", MANIFEST, manifest.as_bytes()).status, 404);
    let mount = format!("POST /v2/yours/blobs/uploads/?mount={layer}&from=nobodys");
    assert_eq!(server.ask(&mount, "", b"").status, 202);
    assert_eq!(server.get(&format!("/v2/yours/blobs/{layer}")).status, 404);
    assert_eq!(server.get(&format!("/v2/mine/blobs/{layer}")).status, 200);
}
