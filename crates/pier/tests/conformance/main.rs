//! The specification's own conformance suite against a real `pier serve`: everything that a registry may leave out is asked of it,
//! and nothing is left out.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

use std::{fs, path::Path};

use pier_testkit::engine::ConformanceSuite;
use pier_testkit::process::PierProcess;
use pier_testkit::skip::or_skip;
use pier_testkit::tls::Authority;

/// What the suite leaves out of 1.1 unless it is told that the registry can do it.
const OPTIONAL: [&str; 6] = [
    "OCI_API_BLOBS_DIGEST_HEADER",
    "OCI_API_BLOBS_MOUNT_ANONYMOUS",
    "OCI_API_BLOBS_UPLOAD_CANCEL",
    "OCI_API_MANIFESTS_DIGEST_HEADER",
    "OCI_API_MANIFESTS_TAG_PARAM",
    "OCI_DATA_SPARSE",
];

/// `hunter2`, at the lowest cost.
const ALICE: &str = "alice:$2b$04$G7qAirenWUk9URSllCgDDeQibPNW0.iV0M5Sv0NnVGohKhowfXxKm\n";

/// What the suite has to get through besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entrance {
    /// Nothing: plain HTTP, and no users.
    Open,
    /// TLS, and a login.
    Guarded,
}

fn passes_whole(version: &str, entrance: Entrance) {
    let Some(suite) = or_skip(ConformanceSuite::find()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("pier.toml"), "[serve]\nmanifests = \"sparse\"\n").unwrap();
    let mut arguments = vec!["serve".to_owned(), "--listen".to_owned(), "127.0.0.1:0".to_owned()];
    arguments.extend(["--config".to_owned(), path("pier.toml"), "--data".to_owned(), path("data")]);
    if entrance == Entrance::Guarded {
        let authority = Authority::new().unwrap();
        let identity = authority.server_identity().unwrap();
        fs::write(path("ca.crt"), authority.pem()).unwrap();
        fs::write(path("tls.crt"), identity.certificate).unwrap();
        fs::write(path("tls.key"), identity.key).unwrap();
        fs::write(path("users"), ALICE).unwrap();
        arguments.extend(["--tls-cert".to_owned(), path("tls.crt"), "--tls-key".to_owned(), path("tls.key")]);
        arguments.extend(["--htpasswd".to_owned(), path("users")]);
    }
    let pier = Path::new(env!("CARGO_BIN_EXE_pier"));
    let server = PierProcess::start(pier, arguments, [("PIER_LOG", "error".to_owned())]).unwrap();
    let registry = server.address().to_string();
    let authority = path("ca.crt");
    let mut settings = vec![("OCI_REGISTRY", registry.as_str()), ("OCI_VERSION", version)];
    match entrance {
        Entrance::Open => settings.push(("OCI_TLS", "disabled")),
        // The suite has no setting for an authority, and some versions verify in spite of `insecure`; Go's own variable serves all of them.
        Entrance::Guarded => {
            let login = [("OCI_USERNAME", "alice"), ("OCI_PASSWORD", "hunter2")];
            let authority = ("SSL_CERT_FILE", authority.as_str());
            settings.extend([("OCI_TLS", "enabled"), authority].into_iter().chain(login));
        }
    }
    settings.extend(OPTIONAL.map(|option| (option, "true")));
    let report = suite.run(&settings).unwrap();
    assert_eq!(report.left_out, 0, "{}", report.said);
    assert!(report.checks > 1000, "only {} checks were made", report.checks);
}

#[test]
fn version_1_1_passes_whole() {
    passes_whole("1.1", Entrance::Open);
}

#[test]
fn the_version_to_come_passes_whole() {
    passes_whole("dev", Entrance::Open);
}

#[test]
fn version_1_1_passes_whole_over_tls_with_a_login() {
    passes_whole("1.1", Entrance::Guarded);
}

#[test]
fn the_version_to_come_passes_whole_over_tls_with_a_login() {
    passes_whole("dev", Entrance::Guarded);
}
