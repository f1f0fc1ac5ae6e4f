//! Uploads, mounts, manifests, deleting.

use std::sync::{Arc, Mutex};

use pier_content::{CopyOptions, Error, Event, Mounted, Origin, Progress, Target as _, copy};
use pier_oci::Digest;
use pier_testkit::image::{ImageBuilder, IndexBuilder, Layer};

use crate::support::{image, pulled, reference, registry, remote, repository};

#[tokio::test]
async fn an_image_is_pushed_and_comes_back_the_same() {
    let (from, to) = (registry().await, registry().await);
    let index = IndexBuilder::new().child(&image(1)).child(&image(2)).build();
    from.push(&index, "team/app:v1").await.unwrap();
    let store = pulled(&from, "team/app:v1").await;
    let (target, repository) = (remote(&to), repository(&to, "other/name"));
    let reference = reference(&from, "team/app:v1");
    let tags = ["a".parse().unwrap(), "b".parse().unwrap()];
    let copied =
        copy(&store, &reference, &target, &repository, &tags, &CopyOptions::default(), &Progress::default())
            .await
            .unwrap();
    assert_eq!(copied.root.digest, index.root.digest);
    for tag in ["a", "b"] {
        let back = pulled(&to, &format!("other/name:{tag}")).await;
        for blob in &index.blobs {
            assert_eq!(back.blobs.open(&blob.descriptor.digest).await.unwrap().size, blob.descriptor.size);
        }
    }
}

#[tokio::test]
async fn registry_to_registry_needs_no_store() {
    let (from, to) = (registry().await, registry().await);
    let image = image(3);
    from.push(&image, "team/app:v1").await.unwrap();
    let (source, target) = (remote(&from), remote(&to));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let progress = {
        let seen = Arc::clone(&seen);
        Progress::to(move |event| seen.lock().unwrap().push(event))
    };
    let copied = copy(
        &source,
        &reference(&from, "team/app:v1"),
        &target,
        &repository(&to, "team/app"),
        &["v1".parse().unwrap()],
        &CopyOptions::default(),
        &progress,
    )
    .await
    .unwrap();
    assert_eq!(copied.root.digest, image.root.digest);
    let sent: u64 = seen
        .lock()
        .unwrap()
        .iter()
        .map(|event| match event {
            Event::Advanced { bytes, .. } => *bytes,
            _ => 0,
        })
        .sum();
    assert_eq!(sent, image.blob_bytes());
    // A second time nothing is sent.
    seen.lock().unwrap().clear();
    copy(
        &source,
        &reference(&from, "team/app:v1"),
        &target,
        &repository(&to, "team/app"),
        &["v2".parse().unwrap()],
        &CopyOptions::default(),
        &progress,
    )
    .await
    .unwrap();
    assert!(!seen.lock().unwrap().iter().any(|event| matches!(event, Event::Advanced { .. })));
}

#[tokio::test]
async fn a_blob_of_another_repository_is_mounted() {
    let registry = registry().await;
    let image = image(4);
    registry.push(&image, "team/app:v1").await.unwrap();
    let (remote, from, to) =
        (remote(&registry), repository(&registry, "team/app"), repository(&registry, "team/b"));
    let digest = image.blobs[0].descriptor.digest;
    assert_eq!(remote.mount(&to, &digest, &from).await.unwrap(), Mounted::Yes);
    assert!(remote.has(&to, &image.blobs[0].descriptor).await.unwrap());
    assert_eq!(remote.mount(&to, &Digest::sha256(b"nowhere"), &from).await.unwrap(), Mounted::No);
}

/// A source whose blobs are not what their digests say.
#[tokio::test]
async fn s4_wrong_bytes_are_never_finished_at_the_target() {
    let (from, to) = (registry().await, registry().await);
    let image = ImageBuilder::new().layer(Layer::random(9, 3_000_000)).build();
    from.push(&image, "team/app:v1").await.unwrap();
    let layer = image.blobs.iter().max_by_key(|blob| blob.descriptor.size).unwrap();
    // Asked for under another digest of the same size: the source's store would refuse, so a lying source stands in.
    let lie = crate::support::Lying { bytes: layer.content.bytes().unwrap() };
    let mut wrong = layer.descriptor.clone();
    wrong.digest = Digest::sha256(b"something else");
    let (target, there) = (remote(&to), repository(&to, "team/app"));
    let (source, here) = (&lie, repository(&from, "team/app"));
    let origin = Origin { source, repository: &here };
    let error = target.upload(&there, &wrong, origin, &Progress::default()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Integrity { origin: Some(origin), .. } if origin == "a liar"),
        "{error:?}"
    );
    assert!(!target.has(&there, &wrong).await.unwrap());
}

#[tokio::test]
async fn two_uploads_of_one_blob_at_once_do_not_meet() {
    let (from, to) = (registry().await, registry().await);
    let image = image(6);
    from.push(&image, "team/app:v1").await.unwrap();
    let store = pulled(&from, "team/app:v1").await;
    let (target, there, here) = (remote(&to), repository(&to, "team/app"), repository(&from, "team/app"));
    let layer = &image.blobs.iter().max_by_key(|blob| blob.descriptor.size).unwrap().descriptor;
    let origin = Origin { source: &store, repository: &here };
    let progress = Progress::default();
    for _ in 0..10 {
        let upload = || target.upload(&there, layer, origin, &progress);
        let (one, two, three) = tokio::join!(upload(), upload(), upload());
        one.and(two).and(three).unwrap();
    }
    assert!(target.has(&there, layer).await.unwrap());
}

#[tokio::test]
async fn a_tag_and_a_manifest_are_deleted() {
    let registry = registry().await;
    let image = image(5);
    for tag in ["v1", "v2"] {
        registry.push(&image, &format!("team/app:{tag}")).await.unwrap();
    }
    let (remote, repository) = (remote(&registry), repository(&registry, "team/app"));
    remote.delete_tag(&repository, &"v1".parse().unwrap()).await.unwrap();
    assert_eq!(remote.tags(&repository).await.unwrap(), ["v2".parse().unwrap()]);
    remote.delete_manifest(&repository, &image.root.digest).await.unwrap();
    assert_eq!(remote.tags(&repository).await.unwrap(), []);
    let error = remote.delete_manifest(&repository, &image.root.digest).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}
