//! The registry in the process: real connections, its own address, and an end that leaves nothing.

#![cfg(feature = "registry")]
#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use pier_content::{Completeness, ImmutableTags};
use pier_oci::Digest;
use pier_testkit::engine::Skopeo;
use pier_testkit::image::{Hostile, ImageBuilder, IndexBuilder, Layer, Packing, Tree};
use pier_testkit::skip::or_skip;
use pier_testkit::test_registry::{Error, Options, Storage, TestRegistry};

/// One GET, the connection closed after it: the head and the body of the response.
fn get(address: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    let accept =
        "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{accept}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    let at = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let body = response.split_off(at + 4);
    (String::from_utf8(response).unwrap(), body)
}

fn image(seed: u64) -> ImageBuilder {
    let tree = Tree::new().file("etc/motd", format!("hello {seed}"));
    ImageBuilder::new().layer(tree.pack(Packing::Gzip)).layer(Layer::random(seed, 300_000))
}

fn in_memory() -> Options {
    Options { storage: Storage::Memory, ..Options::default() }
}

// Every test but one is on one thread: it blocks in `get` while the registry has to answer.

#[tokio::test]
async fn what_was_pushed_is_served_byte_for_byte() {
    for options in [Options::default(), in_memory()] {
        let registry = TestRegistry::start_with(options).await.unwrap();
        let index = IndexBuilder::new().child(&image(1).build()).child(&image(2).build()).build();
        assert_eq!(registry.push(&index, "team/app:v1").await.unwrap(), index.root.digest);
        let (head, body) = get(registry.address(), "/v2/team/app/manifests/v1");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body, index.manifests.last().unwrap().bytes);
        for blob in &index.blobs {
            let (_, body) =
                get(registry.address(), &format!("/v2/team/app/blobs/{}", blob.descriptor.digest));
            assert_eq!(Digest::sha256(&body), blob.descriptor.digest);
        }
    }
}

#[test]
fn addresses_are_what_clients_write() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let registry = runtime.block_on(TestRegistry::start_with(in_memory())).unwrap();
    let port = registry.address().port();
    assert_eq!(registry.url(), format!("http://127.0.0.1:{port}"));
    assert_eq!(registry.image_ref("alpine:latest"), format!("127.0.0.1:{port}/alpine:latest"));
    // The registry does not live on the test's runtime.
    drop(runtime);
    assert!(get(registry.address(), "/v2/").0.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn each_is_alone() {
    let one = TestRegistry::start_with(in_memory()).await.unwrap();
    let other = TestRegistry::start_with(in_memory()).await.unwrap();
    one.push(&image(1).build(), "a:v1").await.unwrap();
    assert!(get(one.address(), "/v2/a/manifests/v1").0.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(other.address(), "/v2/a/manifests/v1").0.starts_with("HTTP/1.1 404 Not Found\r\n"));
}

#[tokio::test]
async fn a_drop_ends_it_although_a_connection_is_open() {
    let registry = TestRegistry::start().await.unwrap();
    let address = registry.address();
    let mut open = TcpStream::connect(address).unwrap();
    write!(open, "GET /v2/ HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    assert_eq!(open.read(&mut [0; 8]).unwrap(), 8);
    drop(registry);
    // The end of the stream, or a reset: whichever the kernel says first.
    let _ = open.read_to_end(&mut Vec::new());
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_folder_outlives_its_registry() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { storage: Storage::Folder(folder.path().join("data")), ..Options::default() };
    let digest = {
        let registry = TestRegistry::start_with(options()).await.unwrap();
        registry.push(&image(1).build(), "a:v1").await.unwrap()
    };
    let registry = TestRegistry::start_with(options()).await.unwrap();
    let (head, _) = get(registry.address(), "/v2/a/manifests/v1");
    assert!(head.contains(&digest.to_string()), "{head}");
}

#[tokio::test]
async fn hostile_images_do_not_get_in() {
    let registry = TestRegistry::start().await.unwrap();
    for hostile in Hostile::ALL {
        let outcome = registry.push(&hostile.build(), "hostile:v1").await;
        let there = get(registry.address(), "/v2/hostile/manifests/v1").0;
        match hostile {
            Hostile::NoMediaType | Hostile::DuplicateLayers | Hostile::DeepNesting => {
                assert!(outcome.is_ok(), "{outcome:?}");
            }
            _ => assert!(there.starts_with("HTTP/1.1 404 "), "{hostile:?}: {there}"),
        }
        let found = match outcome {
            Ok(_) => "ok",
            Err(Error::Manifest(_)) => "manifest",
            Err(Error::Content(error)) => error.code(),
            Err(error) => panic!("{hostile:?}: {error}"),
        };
        let expected = match hostile {
            Hostile::WrongLayer => "integrity",
            Hostile::LongLayer | Hostile::LyingSize => "size",
            Hostile::ShortLayer => "invalid",
            Hostile::NoMediaType | Hostile::DuplicateLayers | Hostile::DeepNesting => "ok",
            _ => "manifest",
        };
        assert_eq!(found, expected, "{hostile:?}");
        // What came in honestly of one hostile image must not be the next one's.
        registry
            .catalog()
            .delete_manifest(
                &"hostile".parse().unwrap(),
                &hostile.build().root.digest,
                &ImmutableTags::default(),
            )
            .await
            .ok();
        let layer = Layer::random(1, 5000).diff_id();
        registry.catalog().unlink(&"hostile".parse().unwrap(), &layer).await.ok();
        registry.blobs().delete(&layer).await.ok();
    }
}

#[tokio::test]
async fn an_incomplete_index_needs_a_sparse_registry() {
    let absent = image(1).build().root;
    let index = IndexBuilder::new().absent(absent).build();
    let strict = TestRegistry::start_with(in_memory()).await.unwrap();
    let refused = strict.push(&index, "a:v1").await.unwrap_err();
    assert!(matches!(refused, Error::Content(pier_content::Error::Missing { .. })), "{refused}");
    let options = Options { completeness: Completeness::Sparse, ..in_memory() };
    let sparse = TestRegistry::start_with(options).await.unwrap();
    sparse.push(&index, "a:v1").await.unwrap();
}

#[tokio::test]
async fn a_wrong_name_is_refused() {
    let registry = TestRegistry::start_with(in_memory()).await.unwrap();
    for name in ["Upper:v1", "a:", "a:!", ":v1", ""] {
        let refused = registry.push(&image(1).build(), name).await.unwrap_err();
        assert!(matches!(refused, Error::Name { .. }), "{name}: {refused}");
    }
    registry.push(&image(1).build(), "a").await.unwrap();
    assert!(get(registry.address(), "/v2/a/manifests/latest").0.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn skopeo_pulls_from_it() {
    let Some(skopeo) = or_skip(Skopeo::find()) else { return };
    let registry = TestRegistry::start().await.unwrap();
    let image = image(1).build();
    registry.push(&image, "team/app:v1").await.unwrap();
    let source = format!("docker://{}", registry.image_ref("team/app:v1"));
    let folder = tempfile::tempdir().unwrap();
    let target = format!("dir:{}", folder.path().display());
    skopeo.run(&["copy", "--src-tls-verify=false", "--preserve-digests", &source, &target]).unwrap();
    assert_eq!(std::fs::read(folder.path().join("manifest.json")).unwrap(), image.manifests[0].bytes);
}
