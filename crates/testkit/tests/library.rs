//! The registry as other projects use it: what the test helper of Cog offers, and what its tests ask of a registry, without Docker and
//! without a network.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

#[path = "library/asking.rs"]
mod asking;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use pier_content::{CopyOptions, Progress, copy};
use pier_layout::{DistributionFolder, OciLayout};
use pier_oci::Digest;
use pier_testkit::faults::{Fault, Kind, When};
use pier_testkit::image::{BuiltImage, ImageBuilder, IndexBuilder, Layer};
use pier_testkit::test_registry::{Error, Storage, TestRegistry};
use pier_testkit::{blocking, tls};

use asking::{basic, exchange};

fn single() -> BuiltImage {
    ImageBuilder::new().platform("linux", "amd64", None).layer(Layer::random(1, 3000)).build()
}

fn index() -> BuiltImage {
    let arm64 =
        ImageBuilder::new().platform("linux", "arm64", Some("v8")).layer(Layer::random(2, 600_000)).build();
    IndexBuilder::new().child(&single()).child(&arm64).attestation(&single()).build()
}

/// A folder as `pier testdata init` makes it: `alpine:latest` for two platforms, and an image that stands alone.
async fn testdata() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let folder = DistributionFolder::create(place.path()).await.unwrap();
    for (image, name) in [(index(), "alpine"), (single(), "team/single")] {
        let layout = tempfile::tempdir().unwrap();
        image.write_oci_layout(layout.path(), "it").unwrap();
        let source = OciLayout::open(layout.path()).await.unwrap();
        let from = source.reference(Some("it")).await.unwrap();
        let to = format!("localhost/{name}:latest").parse::<pier_oci::Reference>().unwrap();
        let tags = ["latest".parse().unwrap()];
        let (options, progress) = (CopyOptions::default(), Progress::default());
        copy(&source, &from, &folder, &to.repository, &tags, &options, &progress).await.unwrap();
    }
    place
}

/// Every file below, with its content and the time of its last change.
fn files(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                let changed = entry.metadata().unwrap().modified().unwrap();
                found.insert(entry.path(), (fs::read(entry.path()).unwrap(), changed));
            }
        }
    }
    found
}

// TestInspect, PushOperations and docker_client_test of Cog, as questions to the registry.

#[tokio::test]
async fn inspect_index_without_platform() {
    let folder = testdata().await;
    let registry = TestRegistry::builder().storage_dir(folder.path()).start().await.unwrap();
    let answer = exchange(registry.address(), "GET", "/v2/alpine/manifests/latest", "", b"");
    assert_eq!((answer.status, Digest::sha256(&answer.body)), (200, index().root.digest));
    assert_eq!(answer.header("content-type"), "application/vnd.oci.image.index.v1+json");
    assert_eq!(answer.header("docker-content-digest"), index().root.digest.to_string());
}

#[tokio::test]
async fn inspect_single_image_with_platform() {
    let folder = testdata().await;
    let registry = TestRegistry::builder().storage_dir(folder.path()).start().await.unwrap();
    let found = exchange(registry.address(), "GET", "/v2/alpine/manifests/latest", "", b"");
    let found: serde_json::Value = serde_json::from_slice(&found.body).unwrap();
    let entries = found["manifests"].as_array().unwrap();
    let of = |architecture: &str| {
        let is_it = |entry: &&serde_json::Value| entry["platform"]["architecture"] == architecture;
        entries.iter().find(is_it).map(|entry| entry["digest"].as_str().unwrap().to_owned())
    };
    let path = format!("/v2/alpine/manifests/{}", of("amd64").unwrap());
    let answer = exchange(registry.address(), "GET", &path, "", b"");
    assert_eq!((answer.status, Digest::sha256(&answer.body)), (200, single().root.digest));
    // A platform that is not there is not in the index.
    assert_eq!(of("s390x"), None);
}

#[tokio::test]
async fn inspect_what_is_missing() {
    let folder = testdata().await;
    let registry = TestRegistry::builder().storage_dir(folder.path()).start().await.unwrap();
    for (path, code) in [
        ("/v2/missing/manifests/latest", "MANIFEST_UNKNOWN"),
        ("/v2/with/a/slash/manifests/latest", "MANIFEST_UNKNOWN"),
        ("/v2/alpine/manifests/missing", "MANIFEST_UNKNOWN"),
        ("/v2/missing/tags/list", "NAME_UNKNOWN"),
    ] {
        let answer = exchange(registry.address(), "GET", path, "", b"");
        assert_eq!((answer.status, answer.code()), (404, code.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn push_image_and_index() {
    let folder = testdata().await;
    let before = files(folder.path());
    let registry = TestRegistry::builder().storage_dir(folder.path()).start().await.unwrap();
    let new = ImageBuilder::new().layer(Layer::random(9, 3000)).build();
    asking::push(registry.address(), "", "pushed/image", "v1", &new);
    // The layers of the index are in the folder, which is no reason to lack them.
    asking::push(registry.address(), "", "pushed/index", "v1", &index());
    for (name, image) in [("pushed/image", &new), ("pushed/index", &index())] {
        let answer = exchange(registry.address(), "GET", &format!("/v2/{name}/manifests/v1"), "", b"");
        assert_eq!(Digest::sha256(&answer.body), image.root.digest, "{name}");
    }
    // What was there can be changed as well; the folder is as it was, and the next registry begins anew.
    asking::push(registry.address(), "", "alpine", "latest", &new);
    drop(registry);
    assert!(files(folder.path()) == before, "the folder was changed");
    let registry = TestRegistry::builder().storage_dir(folder.path()).start().await.unwrap();
    assert!(!registry.exists("pushed/image:v1").await.unwrap());
    assert!(registry.exists(&format!("alpine@{}", index().root.digest)).await.unwrap());
}

#[tokio::test]
async fn pull_and_push_with_logins() {
    let folder = testdata().await;
    let registry = TestRegistry::builder()
        .storage_dir(folder.path())
        .auth("me", "secret:with a colon")
        .reader("guest", "hello")
        .start()
        .await
        .unwrap();
    let ask = |method: &str, path: &str, login: &str| {
        let answer = exchange(registry.address(), method, path, login, b"");
        (answer.status, if answer.status < 400 { String::new() } else { answer.code() })
    };
    let (me, guest) = (basic("me", "secret:with a colon"), basic("guest", "hello"));
    let (manifest, upload) = ("/v2/alpine/manifests/latest", "/v2/alpine/blobs/uploads/");
    let unauthorized = (401, "UNAUTHORIZED".to_owned());
    // Missing, incorrect, of another, malformed.
    let wrong = [
        String::new(),
        basic("me", "wrong"),
        basic("me", "hello"),
        basic("", ""),
        "Authorization: Basic !\r\n".to_owned(),
        "Authorization: Bearer me\r\n".to_owned(),
    ];
    for login in &wrong {
        for (method, path) in [("GET", "/v2/"), ("GET", manifest), ("POST", upload)] {
            assert_eq!(ask(method, path, login), unauthorized, "{method} {path} {login}");
        }
    }
    let answer = exchange(registry.address(), "GET", "/v2/", "", b"");
    assert_eq!(answer.header("www-authenticate"), "Basic realm=\"pier-testkit\"");
    // Correct; correct and not authorised; correct, and not there.
    assert_eq!(ask("GET", manifest, &me), (200, String::new()));
    assert_eq!(ask("GET", manifest, &guest), (200, String::new()));
    assert_eq!(ask("POST", upload, &me), (202, String::new()));
    assert_eq!(ask("POST", upload, &guest), (403, "DENIED".to_owned()));
    assert_eq!(ask("DELETE", manifest, &guest), (403, "DENIED".to_owned()));
    assert_eq!(ask("GET", "/v2/missing/manifests/v1", &me), (404, "MANIFEST_UNKNOWN".to_owned()));
    let new = ImageBuilder::new().layer(Layer::random(9, 3000)).build();
    asking::push(registry.address(), &me, "pushed", "v1", &new);
    assert!(registry.exists("pushed:v1").await.unwrap());
}

#[tokio::test]
async fn a_manifest_whose_layers_were_not_pushed_is_refused() {
    let registry = TestRegistry::start().await.unwrap();
    let image = single();
    let manifest = &image.manifests[0].bytes;
    let media_type = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
    let answer = exchange(registry.address(), "PUT", "/v2/a/manifests/v1", media_type, manifest);
    assert_eq!((answer.status, answer.code()), (404, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    assert!(!registry.exists("a:v1").await.unwrap());
}

#[tokio::test]
async fn tags_are_given_again_and_moved() {
    let folder = testdata().await;
    let registry = TestRegistry::builder().storage_dir(folder.path()).start().await.unwrap();
    let manifest = exchange(registry.address(), "GET", "/v2/team/single/manifests/latest", "", b"").body;
    let media_type = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
    for tag in ["v1", "v2", "latest"] {
        let path = format!("/v2/team/single/manifests/{tag}");
        assert_eq!(exchange(registry.address(), "PUT", &path, media_type, &manifest).status, 201);
        assert!(registry.exists(&format!("team/single:{tag}")).await.unwrap());
    }
    let missing = exchange(registry.address(), "PUT", "/v2/team/single/manifests/v3", media_type, b"{}");
    assert_eq!(missing.status, 400);
}

// The helper's own.

#[tokio::test]
async fn names_of_a_test_are_its_own() {
    let registry = TestRegistry::start().await.unwrap();
    let prefix = registry.image_ref("names-of-a-test-are-its-own:test-");
    let [one, other] = [registry.image_ref_for_test(), registry.image_ref_for_test()];
    assert!(one.starts_with(&prefix) && other.starts_with(&prefix), "{one} {other}");
    assert_ne!(one, other);
    one.parse::<pier_oci::Reference>().unwrap();
}

#[tokio::test]
async fn a_clone_is_apart_from_what_it_was_cloned_from() {
    let folder = testdata().await;
    let registry = TestRegistry::builder().storage_dir(folder.path()).start().await.unwrap();
    let cloned = registry.clone_repo("alpine", "mine").await.unwrap();
    assert_eq!(cloned, registry.image_ref("mine"));
    let digest = format!("mine@{}", index().root.digest);
    assert!(registry.exists(&digest).await.unwrap());
    assert_eq!(exchange(registry.address(), "DELETE", "/v2/alpine/manifests/latest", "", b"").status, 202);
    assert!(!registry.exists("alpine:latest").await.unwrap());
    assert!(registry.exists("mine:latest").await.unwrap());
    let own = registry.clone_repo_for_test("mine").await.unwrap();
    let name = own.strip_prefix(&format!("{}/", registry.address())).unwrap();
    assert!(name.starts_with("a-clone-is-apart-from-what-it-was-cloned-from/"), "{name}");
    assert!(registry.exists(&format!("{name}:latest")).await.unwrap());
    let missing = registry.clone_repo("missing", "mine").await.unwrap_err();
    assert!(matches!(missing, Error::Content(pier_content::Error::NotFound { .. })), "{missing}");
}

#[tokio::test]
async fn no_byte_of_the_folder_is_served_under_a_digest_that_it_does_not_have() {
    let folder = testdata().await;
    let layer = single().blobs[1].descriptor.digest;
    let hex = layer.hex();
    let data = folder.path().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    fs::write(&data, b"rotten".repeat(500)).unwrap();
    let registry = TestRegistry::builder().storage_dir(folder.path()).start().await.unwrap();
    let answer = exchange(registry.address(), "GET", &format!("/v2/alpine/blobs/{layer}"), "", b"");
    assert_eq!((answer.status, answer.code()), (500, "UNKNOWN".to_owned()));
    assert!(!answer.body.windows(6).any(|bytes| bytes == b"rotten"));
    // Pushed again it is right here, whatever is in the folder.
    asking::push(registry.address(), "", "alpine", "again", &single());
    let answer = exchange(registry.address(), "GET", &format!("/v2/alpine/blobs/{layer}"), "", b"");
    assert_eq!(Digest::sha256(&answer.body), layer);
}

#[tokio::test]
async fn a_folder_that_is_none_is_said_at_the_start() {
    let empty = tempfile::tempdir().unwrap();
    let refused = TestRegistry::builder().storage_dir(empty.path()).start().await.unwrap_err();
    let Error::Content(pier_content::Error::Invalid { reason, .. }) = refused else { panic!("{refused}") };
    assert_eq!(reason, "is no storage folder of a registry: it has no `docker/registry/v2`");
}

#[tokio::test]
async fn faults_strike_whoever_asks() {
    let folder = testdata().await;
    let registry = TestRegistry::builder()
        .storage_dir(folder.path())
        .fault(When::get(Kind::Manifest).once(), Fault::LyingDigest(Digest::sha256(b"lie")))
        .start()
        .await
        .unwrap();
    let digest = || {
        exchange(registry.address(), "GET", "/v2/alpine/manifests/latest", "", b"")
            .header("docker-content-digest")
    };
    assert_eq!(digest(), Digest::sha256(b"lie").to_string());
    assert_eq!(digest(), index().root.digest.to_string());
    let seen = registry.proxy().unwrap().requests();
    assert_eq!(seen.iter().map(|seen| seen.kind).collect::<Vec<_>>(), [Kind::Manifest; 2]);
}

#[tokio::test]
async fn tls_is_believed_by_who_was_given_the_authority() {
    let folder = testdata().await;
    let watched = TestRegistry::builder().watched();
    for builder in [TestRegistry::builder(), watched] {
        let registry = builder.storage_dir(folder.path()).auth("me", "secret").tls().start().await.unwrap();
        assert_eq!(registry.url(), format!("https://{}", registry.address()));
        let login = basic("me", "secret");
        let path = "/v2/alpine/manifests/latest";
        let answer =
            asking::over_tls(registry.address(), registry.ca_pem().unwrap(), path, &login).await.unwrap();
        assert_eq!((answer.status, Digest::sha256(&answer.body)), (200, index().root.digest));
        let stranger = tls::Authority::new().unwrap().pem();
        assert!(asking::over_tls(registry.address(), &stranger, path, &login).await.is_err());
    }
    assert_eq!(TestRegistry::start().await.unwrap().ca_pem(), None);
}

#[test]
fn tests_without_async_have_it_too() {
    let registry = blocking::TestRegistry::start().unwrap();
    registry.push(&single(), "a:v1").unwrap();
    assert!(registry.exists("a:v1").unwrap() && !registry.exists("a:v2").unwrap());
    assert_eq!(registry.clone_repo("a", "b").unwrap(), registry.image_ref("b"));
    let own = registry.clone_repo_for_test("a").unwrap();
    assert!(own.starts_with(&registry.image_ref("tests-without-async-have-it-too/")), "{own}");
    assert_eq!(exchange(registry.address(), "GET", "/v2/b/manifests/v1", "", b"").status, 200);
}

#[tokio::test]
async fn within_a_runtime_the_blocking_one_works_too() {
    let registry =
        blocking::TestRegistry::start_as(TestRegistry::builder().storage(Storage::Memory)).unwrap();
    registry.push(&single(), "a:v1").unwrap();
    assert!(registry.exists("a:v1").unwrap());
}

/// A hundred at once, each with the same folder and a port of its own. How long they take is printed and not judged: machines differ.
#[tokio::test]
async fn a_hundred_at_once_share_a_folder_and_no_port() {
    let folder = testdata().await;
    let path = folder.path().to_owned();
    let begun = Instant::now();
    let starts: Vec<_> = (0..100)
        .map(|number| {
            let path = path.clone();
            thread::spawn(move || {
                let begun = Instant::now();
                let builder = TestRegistry::builder().storage_dir(path);
                let registry = blocking::TestRegistry::start_as(builder).unwrap();
                let ready = begun.elapsed();
                assert_eq!(exchange(registry.address(), "GET", "/v2/", "", b"").status, 200);
                registry.push(&single(), &format!("own-{number}:v1")).unwrap();
                (registry, ready)
            })
        })
        .collect();
    let started: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    let all = begun.elapsed();
    let ports: BTreeSet<u16> = started.iter().map(|(registry, _)| registry.address().port()).collect();
    assert_eq!(ports.len(), 100);
    for (number, (registry, _)) in started.iter().enumerate() {
        assert!(registry.exists(&format!("own-{number}:v1")).unwrap());
        assert!(!registry.exists(&format!("own-{}:v1", (number + 1) % 100)).unwrap());
    }
    let mut ready: Vec<Duration> = started.iter().map(|(_, ready)| *ready).collect();
    ready.sort();
    println!("100 at once: all in {all:?}; ready after {:?} (median), {:?} (slowest)", ready[50], ready[99]);
}

/// Nothing of a start is waited for by time or by trying: on a runtime that has neither timers nor sockets it gets to its end, and the first
/// connection is answered. The registry that this comes from needed a Docker daemon, and seconds.
#[test]
fn d4_2_a_start_needs_no_daemon_and_waits_for_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for storage in [Storage::Memory, Storage::TemporaryFolder] {
        let registry = runtime.block_on(TestRegistry::builder().storage(storage).start()).unwrap();
        assert_eq!(exchange(registry.address(), "GET", "/v2/", "", b"").status, 200);
    }
}

/// There the port was chosen first and bound later, by somebody else, on every interface.
#[test]
fn d4_2_the_port_is_bound_when_it_is_known_and_on_loopback_alone() {
    let registry = blocking::TestRegistry::start().unwrap();
    let address = registry.address();
    assert_eq!(address.ip(), std::net::Ipv4Addr::LOCALHOST);
    let taken = std::net::TcpListener::bind(address).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    // The same port of another address of this machine is free: what listens does not listen there.
    std::net::TcpListener::bind(("127.0.0.2", address.port())).unwrap();
}

/// Images were kept among the sources there. Here tests make them.
#[test]
fn d4_2_no_image_is_kept_among_the_sources() {
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let (path, metadata) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            if metadata.is_dir() {
                assert_ne!(path.file_name().unwrap(), "blobs", "{}", path.display());
                folders.push(path);
            } else {
                assert!(metadata.len() < 256 << 10, "{}", path.display());
            }
        }
    }
}

/// One after the other, as most tests start them. Printed and not judged.
#[tokio::test]
async fn one_is_ready_soon() {
    let folder = testdata().await;
    for (what, storage) in [
        ("in memory", Storage::Memory),
        ("over a folder", Storage::StorageDir(folder.path().to_owned())),
        ("on disk", Storage::TemporaryFolder),
    ] {
        let mut took = Vec::new();
        for _ in 0..9 {
            let begun = Instant::now();
            let registry = TestRegistry::builder().storage(storage.clone()).start().await.unwrap();
            took.push(begun.elapsed());
            drop(registry);
        }
        took.sort();
        println!("{what}: ready after {:?} (median of 9), {:?} (slowest)", took[4], took[8]);
    }
}
