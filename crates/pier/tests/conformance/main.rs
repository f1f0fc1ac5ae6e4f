//! The specification's own conformance suite against a real `pier serve`: everything that a registry may leave out is asked of it,
//! and nothing is left out.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

use std::{env, fs, path::Path};

use pier_testkit::engine::{ConformanceSuite, Error};
use pier_testkit::process::PierProcess;
use pier_testkit::skip::or_skip;

/// Set to `1` by who has tried to build the suite and could not have it: its module is not on every module proxy.
const UNAVAILABLE: &str = "PIER_TEST_WITHOUT_OCI_CONFORMANCE";

/// The suite, as `.ci/run` builds it.
fn suite() -> Option<ConformanceSuite> {
    let found = ConformanceSuite::find();
    if matches!(found, Err(Error::Missing { .. }))
        && env::var_os(UNAVAILABLE).is_some_and(|value| value == "1")
    {
        return None;
    }
    or_skip(found)
}

/// What the suite leaves out of 1.1 unless it is told that the registry can do it.
const OPTIONAL: [&str; 6] = [
    "OCI_API_BLOBS_DIGEST_HEADER",
    "OCI_API_BLOBS_MOUNT_ANONYMOUS",
    "OCI_API_BLOBS_UPLOAD_CANCEL",
    "OCI_API_MANIFESTS_DIGEST_HEADER",
    "OCI_API_MANIFESTS_TAG_PARAM",
    "OCI_DATA_SPARSE",
];

fn passes_whole(version: &str) {
    let Some(suite) = suite() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("pier.toml");
    fs::write(&config, "[serve]\nmanifests = \"sparse\"\n").unwrap();
    let data = folder.path().join("data");
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--config",
        config.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ];
    let pier = Path::new(env!("CARGO_BIN_EXE_pier"));
    let server = PierProcess::start(pier, arguments, [("PIER_LOG", "error".to_owned())]).unwrap();
    let registry = server.address().to_string();
    let mut settings =
        vec![("OCI_REGISTRY", registry.as_str()), ("OCI_TLS", "disabled"), ("OCI_VERSION", version)];
    settings.extend(OPTIONAL.map(|option| (option, "true")));
    let report = suite.run(&settings).unwrap();
    assert_eq!(report.left_out, 0, "{}", report.said);
    assert!(report.checks > 1000, "only {} checks were made", report.checks);
}

#[test]
fn version_1_1_passes_whole() {
    passes_whole("1.1");
}

#[test]
fn the_version_to_come_passes_whole() {
    passes_whole("dev");
}
