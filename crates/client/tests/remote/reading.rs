//! Resolving, manifests, blobs and ranges of them.

use http::StatusCode;
use pier_client::Client;
use pier_content::{ByteRange, Error, Source as _};
use pier_oci::{Descriptor, Digest, MAX_MANIFEST_BYTES, MediaType, Reference, Selector};
use pier_testkit::faults::{Canned, Fault, FaultyProxy, Kind, Script, When};

use crate::support::{image, pulled, read, reference, registry, remote, repository};

#[tokio::test]
async fn a_tag_is_resolved_to_what_was_pushed() {
    let registry = registry().await;
    let image = image(1);
    registry.push(&image, "team/app:v1").await.unwrap();
    let remote = remote(&registry);
    let by_tag = remote.resolve(&reference(&registry, "team/app:v1")).await.unwrap();
    assert_eq!(by_tag, image.manifests.last().unwrap().parse().unwrap().descriptor());
    let by_digest = format!("team/app@{}", image.root.digest);
    assert_eq!(remote.resolve(&reference(&registry, &by_digest)).await.unwrap(), by_tag);
    let manifest = remote
        .manifest(
            &repository(&registry, "team/app"),
            &Selector::Digest(image.root.digest),
            MAX_MANIFEST_BYTES,
        )
        .await
        .unwrap();
    assert_eq!(manifest.bytes(), &image.manifests.last().unwrap().bytes);
}

#[tokio::test]
async fn what_is_not_there_is_said_with_its_whole_name() {
    let registry = registry().await;
    let remote = remote(&registry);
    let error = remote.resolve(&reference(&registry, "team/app:v9")).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert_eq!(error.to_string(), format!("manifest `{}/team/app:v9` is not there", registry.address()));
    let descriptor = Descriptor::new(MediaType::OCI_LAYER, Digest::sha256(b"x"), 1);
    let opened = remote.open(&repository(&registry, "team/app"), &descriptor, ByteRange::ALL).await;
    assert!(matches!(opened.err(), Some(Error::NotFound { .. })));
}

#[tokio::test]
async fn any_range_of_a_blob_can_be_read() {
    let registry = registry().await;
    let image = image(2);
    registry.push(&image, "team/app:v1").await.unwrap();
    let blob = image.blobs.iter().max_by_key(|blob| blob.descriptor.size).unwrap();
    let bytes = blob.content.bytes().unwrap();
    let size = blob.descriptor.size;
    let (remote, repository) = (remote(&registry), repository(&registry, "team/app"));
    for range in [0..size, 0..1, 1..size, size - 1..size, 1_000_000..2_000_000] {
        let opened = remote.open(&repository, &blob.descriptor, range.clone().into()).await.unwrap();
        assert_eq!((opened.start, opened.size), (range.start, Some(size)));
        let expected = &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert!(read(opened.stream).await == expected, "{range:?}");
    }
}

#[tokio::test]
async fn an_image_comes_whole() {
    let registry = registry().await;
    let image = image(3);
    registry.push(&image, "team/app:v1").await.unwrap();
    let store = pulled(&registry, "team/app:v1").await;
    for blob in &image.blobs {
        let held = store.blobs.open(&blob.descriptor.digest).await.unwrap();
        assert_eq!(held.size, blob.descriptor.size);
    }
}

#[tokio::test]
async fn a_name_of_another_registry_is_refused() {
    let (one, other) = (registry().await, registry().await);
    let error = remote(&one).resolve(&reference(&other, "team/app:v1")).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_worth_another_attempt() {
    let registry = registry().await;
    let (remote, reference) = (remote(&registry), reference(&registry, "team/app:v1"));
    drop(registry);
    let error = remote.resolve(&reference).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}

/// One reader goes by what the registry says that it is, another by what stands in it, and each sees another image.
#[tokio::test]
async fn s6_a_manifest_that_can_be_read_in_two_ways_is_refused() {
    let registry = registry().await;
    let image = image(4);
    registry.push(&image, "team/app:v1").await.unwrap();
    let config = serde_json::json!({
        "mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::sha256(b"{}"), "size": 2,
    });
    let both = serde_json::json!({
        "schemaVersion": 2, "config": config, "layers": [], "manifests": [],
    });
    let canned = |media_type: &str| Canned {
        body: both.to_string(),
        ..Canned::new(StatusCode::OK).field("Content-Type", media_type)
    };
    let manifest = || When::get(Kind::Manifest);
    let other = |value: &str| Fault::Field { name: "content-type", value: value.to_owned() };
    for script in [
        Script::new().rule(manifest(), other(MediaType::OCI_INDEX.as_str())),
        Script::new().rule(manifest(), other(MediaType::DOCKER_MANIFEST.as_str())),
        Script::new().answer(manifest(), canned(MediaType::OCI_INDEX.as_str())),
        Script::new().answer(manifest(), canned(MediaType::OCI_MANIFEST.as_str())),
        Script::new().answer(manifest(), canned("application/json")),
    ] {
        let proxy = FaultyProxy::start(registry.address(), script.clone()).await.unwrap();
        let reference: Reference = proxy.image_ref("team/app:v1").parse().unwrap();
        let remote = Client::builder().build().unwrap().remote(&reference.repository.registry).unwrap();
        let read = remote.manifest(&reference.repository, &reference.selector(), MAX_MANIFEST_BYTES).await;
        assert_eq!(read.unwrap_err().code(), "invalid", "{script:?}");
    }
}
