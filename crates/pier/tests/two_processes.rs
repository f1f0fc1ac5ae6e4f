//! Two processes on one store, one of them collecting: what is in use stays, whoever uses it.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use pier_content::{
    BlobStore as _, ByteRange, Catalog as _, Commit, Completeness, Error, Filling, Ingest, IngestKey,
    PutManifest, Result, TagRules,
};
use pier_oci::{Digest, Manifest, RepositoryName, Selector};
use pier_store::{Store, StoreOptions};
use serde_json::{Value, json};

/// Runs `pier prune` on the store and gives what it says.
fn prune(data: &Path, options: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_pier"))
        .args(["--json", "--data"])
        .arg(data)
        .arg("prune")
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn name() -> RepositoryName {
    "team/app".parse().unwrap()
}

async fn writer(store: &Store, bytes: &Bytes) -> Box<dyn Filling> {
    let key = IngestKey::Blob { digest: Digest::sha256(bytes), size: Some(bytes.len() as u64) };
    match store.ingest(key).await.unwrap() {
        Ingest::Filling(filling) => filling,
        other => panic!("{other:?}"),
    }
}

async fn commit(store: &Store, bytes: &Bytes, link: Option<RepositoryName>) -> pier_content::Blob {
    let part = writer(store, bytes).await;
    part.write_at(0, vec![bytes.clone()]).await.unwrap();
    part.commit(Commit { digest: Digest::sha256(bytes), link }).await.unwrap()
}

fn image_of(config: &Bytes) -> Arc<Manifest> {
    let document = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::sha256(config),
            "size": config.len(),
        },
        "layers": [],
    });
    Arc::new(Manifest::parse(document.to_string().into(), None).unwrap())
}

async fn put(store: &Store, manifest: &Arc<Manifest>, tag: &str) -> Result<()> {
    let manifest = Arc::clone(manifest);
    let tags = vec![tag.parse().unwrap()];
    let completeness = Completeness::Strict;
    store
        .put_manifest(PutManifest {
            repository: name(),
            manifest,
            tags,
            completeness,
            rules: TagRules::default(),
        })
        .await
        .map(drop)
}

async fn read(blob: &pier_content::Blob) -> Vec<u8> {
    let chunks: Vec<Bytes> = blob.read(ByteRange::ALL).await.unwrap().try_collect().await.unwrap();
    chunks.concat()
}

#[tokio::test]
async fn a_collector_takes_what_nothing_names_and_leaves_what_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
    let (named, unnamed, making) =
        (Bytes::from(vec![1; 3000]), Bytes::from(vec![2; 3000]), Bytes::from(vec![3; 3000]));
    commit(&store, &named, Some(name())).await;
    put(&store, &image_of(&named), "v1").await.unwrap();
    let being_read = commit(&store, &unnamed, None).await;
    let part = writer(&store, &making).await;
    part.write_at(0, vec![making.slice(..1000)]).await.unwrap();

    // Leases keep what was just written.
    assert_eq!(prune(folder.path(), &[])["blobs"], 0);
    assert_eq!(prune(folder.path(), &["--ignore-leases"])["blobs"], 1);

    // The other process took it, and this one knows; who reads it, reads on.
    assert_eq!(store.stat(&Digest::sha256(&unnamed)).await.unwrap(), None);
    assert_eq!(store.open(&Digest::sha256(&unnamed)).await.unwrap_err().code(), "not-found");
    assert_eq!(read(&being_read).await, unnamed);
    assert_eq!(read(&store.open(&Digest::sha256(&named)).await.unwrap()).await, named);
    // A part that is held is nobody else's.
    assert_eq!(part.missing(), [(1000..3000).into()]);
    part.write_at(1000, vec![making.slice(1000..)]).await.unwrap();
    let blob = part.commit(Commit { digest: Digest::sha256(&making), link: Some(name()) }).await.unwrap();
    assert_eq!(read(&blob).await, making);
    // And what was taken can come again.
    assert_eq!(read(&commit(&store, &unnamed, None).await).await, unnamed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_beside_a_collector_without_mercy_are_whole_or_refused() {
    const IMAGES: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let collector = {
        let (path, done) = (folder.path().to_owned(), Arc::clone(&done));
        // Without leases it takes every blob that no manifest names yet: between each push's blob and its manifest.
        std::thread::spawn(move || {
            let mut taken = 0;
            while !done.load(Ordering::SeqCst) {
                taken += prune(&path, &["--ignore-leases"])["blobs"].as_u64().unwrap();
            }
            taken
        })
    };
    for number in 0..IMAGES {
        let config = Bytes::from(format!("{{\"number\":{number}}}"));
        // A client whose manifest is refused pushes its blob again.
        loop {
            let key = IngestKey::Blob { digest: Digest::sha256(&config), size: Some(config.len() as u64) };
            if let Ingest::Filling(part) = store.ingest(key).await.unwrap() {
                for hole in part.missing() {
                    let start = usize::try_from(hole.start).unwrap();
                    part.write_at(hole.start, vec![config.slice(start..)]).await.unwrap();
                }
                part.commit(Commit { digest: Digest::sha256(&config), link: Some(name()) }).await.unwrap();
            }
            match put(&store, &image_of(&config), &format!("v{number}")).await {
                Ok(()) => break,
                Err(Error::Missing { digests, .. }) => assert_eq!(digests, [Digest::sha256(&config)]),
                Err(error) => panic!("{error}"),
            }
        }
    }
    done.store(true, Ordering::SeqCst);
    collector.join().unwrap();
    prune(folder.path(), &["--ignore-leases"]);

    for number in 0..IMAGES {
        let config = Bytes::from(format!("{{\"number\":{number}}}"));
        let selector = Selector::Tag(format!("v{number}").parse().unwrap());
        assert_eq!(store.resolve(&name(), &selector).await.unwrap().bytes(), image_of(&config).bytes());
        assert_eq!(read(&store.open(&Digest::sha256(&config)).await.unwrap()).await, config);
    }
    let mut files = 0;
    for file in std::fs::read_dir(folder.path().join("blobs/sha256")).unwrap() {
        let file = file.unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(Digest::sha256(&bytes).hex(), file.file_name().into_string().unwrap());
        files += 1;
    }
    assert_eq!(files, IMAGES, "a blob that nothing names is left");
}
