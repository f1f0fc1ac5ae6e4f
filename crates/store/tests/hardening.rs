//! Faults that a review found by thinking, each kept away by a test: what must never happen again is the test's name.

#![expect(clippy::expect_used, reason = "what a test sets up has to work")]

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use pier_content::{
    BlobStore as _, Catalog as _, Commit, Completeness, Error, Filling, Ingest, IngestKey, PutManifest,
    TagRules,
};
use pier_oci::{Digest, Manifest, RepositoryName, Selector, SessionId};
use pier_store::{Depth, Finding, Leases, Repair, Store, StoreOptions};

fn open(path: &Path) -> Store {
    Store::open(path, StoreOptions::default()).expect("the store opens")
}

fn repository() -> RepositoryName {
    "team/app".parse().expect("a name")
}

fn commit_of(content: &[u8]) -> Commit {
    Commit { digest: Digest::sha256(content), link: Some(repository()) }
}

async fn filling(store: &Store, key: IngestKey) -> Box<dyn Filling> {
    match store.ingest(key).await.expect("the part opens") {
        Ingest::Filling(filling) => filling,
        other => panic!("expected to fill, found {other:?}"),
    }
}

async fn push(store: &Store, session: u128, content: &'static [u8]) -> pier_content::Result<()> {
    let filling = filling(store, IngestKey::NewUpload(SessionId::from_bits(session))).await;
    filling.write_at(0, vec![Bytes::from_static(content)]).await?;
    filling.commit(commit_of(content)).await.map(drop)
}

fn blob_path(data: &Path, content: &[u8]) -> PathBuf {
    data.join("blobs/sha256").join(Digest::sha256(content).hex())
}

async fn read(store: &Store, content: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let blob = store.open(&Digest::sha256(content)).await.expect("the blob is there");
    let pier_content::Body::File(file) = blob.body else { panic!("expected a file") };
    let mut bytes = Vec::new();
    (&*file).read_to_end(&mut bytes).expect("the file can be read");
    bytes
}

/// Polls a future once and drops it: its blocking work goes on by itself.
fn start_and_drop<F: Future>(future: F) {
    let mut future = Box::pin(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    drop(future.as_mut().poll(&mut context));
}

#[tokio::test]
async fn a_write_that_outlives_its_call_does_not_reach_content_that_came_later() {
    let data = tempfile::tempdir().expect("a folder");
    let store = open(data.path());
    for round in 0..50_u32 {
        let content: Vec<u8> = round.to_le_bytes().repeat(64 << 10);
        let digest = Digest::sha256(&content);
        let filling = filling(&store, IngestKey::Blob { digest, size: Some(content.len() as u64) }).await;
        let half = content.len() / 2;
        start_and_drop(filling.write_at(0, vec![Bytes::copy_from_slice(&content[..half])]));
        filling.reset().await.expect("the part can be emptied");
        // Whatever the dropped write did, only what is missing now is written, and all of it is.
        for hole in filling.missing() {
            let start = usize::try_from(hole.start).expect("small");
            let end = hole.end.map_or(content.len(), |end| usize::try_from(end).expect("small"));
            filling
                .write_at(hole.start, vec![Bytes::copy_from_slice(&content[start..end])])
                .await
                .expect("the holes can be filled");
        }
        filling.commit(Commit { digest, link: None }).await.expect("the content is right");
        assert_eq!(fs::read(blob_path(data.path(), &content)).expect("a file"), content, "round {round}");
    }
}

#[tokio::test]
async fn a_commit_that_outlives_its_call_does_not_vouch_for_content_that_came_later() {
    let data = tempfile::tempdir().expect("a folder");
    let store = open(data.path());
    let right = vec![1_u8; 1 << 20];
    let wrong = vec![2_u8; 1 << 20];
    let digest = Digest::sha256(&right);
    let commit = Commit { digest, link: Some(repository()) };
    for _ in 0..20 {
        let filling = match store.ingest(IngestKey::Blob { digest, size: Some(1 << 20) }).await {
            Ok(Ingest::Filling(filling)) => filling,
            // The dropped call's work had come to its end before the part was emptied: that is no harm, if it is the right content.
            Ok(Ingest::Present(_)) => break,
            // It has not come to its end, and holds the part until then.
            Ok(Ingest::Following(following)) => {
                let outcome = following.committed().await.map(drop);
                assert!(matches!(outcome, Ok(()) | Err(Error::Abandoned { .. })), "{outcome:?}");
                continue;
            }
            Err(error) => panic!("the part opens: {error:?}"),
        };
        filling.write_at(0, vec![Bytes::from(right.clone())]).await.expect("written");
        start_and_drop(filling.commit(commit.clone()));
        filling.reset().await.expect("the part can be emptied");
        filling.write_at(0, vec![Bytes::from(wrong.clone())]).await.expect("written");
        let outcome = filling.commit(commit.clone()).await;
        assert!(matches!(outcome, Err(Error::Integrity { .. })), "{outcome:?}");
    }
    match store.open(&digest).await {
        Err(Error::NotFound { .. }) => {}
        Ok(_) => assert!(read(&store, &right).await == right, "wrong content under the digest"),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_file_in_place_that_nobody_hashed_is_replaced_and_not_adopted() {
    let data = tempfile::tempdir().expect("a folder");
    let store = open(data.path());
    let path = blob_path(data.path(), b"right");
    fs::write(&path, b"wrong").expect("a file can be planted");
    push(&store, 1, b"right").await.expect("the push succeeds");
    assert_eq!(read(&store, b"right").await, b"right");
    let report = store.fsck(Depth::Hashes, Repair::No).await.expect("a report");
    assert_eq!(report.findings, []);
}

#[tokio::test]
async fn a_part_that_is_a_blob_already_takes_not_another_byte() {
    let data = tempfile::tempdir().expect("a folder");
    let store = open(data.path());
    push(&store, 1, b"content").await.expect("the push succeeds");
    // What a kill between the row and the removal of the session's folder leaves.
    let session = SessionId::from_bits(2);
    let folder = data.path().join("uploads").join(session.to_string());
    fs::create_dir(&folder).expect("a folder");
    fs::hard_link(blob_path(data.path(), b"content"), folder.join("data-0123456789abcdef")).expect("a link");

    let filling = filling(&store, IngestKey::Upload(session)).await;
    assert_eq!(filling.missing().first().map(|hole| hole.start), Some(7));
    let refused = filling.write_at(7, vec![Bytes::from_static(b"more")]).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    filling.commit(commit_of(b"content")).await.expect("committing it again is fine");
    assert_eq!(read(&store, b"content").await, b"content");
}

#[tokio::test]
async fn a_read_only_part_whose_blob_was_collected_can_be_gone_on_with() {
    let data = tempfile::tempdir().expect("a folder");
    let session = SessionId::from_bits(3);
    let folder = data.path().join("uploads").join(session.to_string());
    let store = open(data.path());
    fs::create_dir(&folder).expect("a folder");
    let file = folder.join("data-0123456789abcdef");
    fs::write(&file, b"begun").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).expect("permissions");

    let filling = filling(&store, IngestKey::Upload(session)).await;
    filling.write_at(5, vec![Bytes::from_static(b" and ended")]).await.expect("written");
    filling.commit(commit_of(b"begun and ended")).await.expect("committed");
    assert_eq!(read(&store, b"begun and ended").await, b"begun and ended");
}

#[tokio::test]
async fn space_that_one_request_reserved_is_given_back_by_the_one_that_commits() {
    let data = tempfile::tempdir().expect("a folder");
    let store = open(data.path());
    let session = SessionId::from_bits(4);
    let content = vec![7_u8; 10 << 20];
    let patch = filling(&store, IngestKey::NewUpload(session)).await;
    patch.write_at(0, vec![Bytes::from(content.clone())]).await.expect("written");
    drop(patch);
    let put = filling(&store, IngestKey::Upload(session)).await;
    put.commit(Commit { digest: Digest::sha256(&content), link: None }).await.expect("committed");
    let taken = fs::metadata(blob_path(data.path(), &content)).expect("a file").blocks() * 512;
    assert!(taken < 12 << 20, "{taken} bytes are allocated for 10 MiB");
}

#[tokio::test]
async fn a_row_whose_file_is_gone_is_healed_by_a_push() {
    let data = tempfile::tempdir().expect("a folder");
    let store = open(data.path());
    push(&store, 1, b"content").await.expect("the push succeeds");
    fs::remove_file(blob_path(data.path(), b"content")).expect("the file can be lost");
    push(&store, 2, b"content").await.expect("the second push heals it");
    assert_eq!(read(&store, b"content").await, b"content");
}

#[tokio::test]
async fn repair_forgets_what_is_corrupt_so_that_it_can_come_again() {
    let data = tempfile::tempdir().expect("a folder");
    let store = open(data.path());
    push(&store, 1, b"content").await.expect("the push succeeds");
    let path = blob_path(data.path(), b"content");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("permissions");
    fs::write(&path, b"c0ntent").expect("the file can be spoilt");

    let report = store.fsck(Depth::Hashes, Repair::Yes).await.expect("a report");
    assert!(
        matches!(&*report.findings, [Finding::Corrupt { digest, .. }] if *digest == Digest::sha256(b"content"))
    );
    assert_eq!(report.repaired, 1);
    assert!(!path.exists());
    assert!(matches!(store.open(&Digest::sha256(b"content")).await, Err(Error::NotFound { .. })));
    push(&store, 2, b"content").await.expect("it comes again");
    assert_eq!(read(&store, b"content").await, b"content");
}

#[tokio::test]
async fn an_index_may_list_layers_as_build_caches_do() {
    let data = tempfile::tempdir().expect("a folder");
    let store = open(data.path());
    push(&store, 1, b"cached layer").await.expect("the push succeeds");
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
            {{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":12}}]}}"#,
        Digest::sha256(b"cached layer")
    );
    let manifest = Manifest::parse(Bytes::from(index), None).expect("an index");
    let put = PutManifest {
        repository: repository(),
        manifest: Arc::new(manifest),
        tags: vec!["cache".parse().expect("a tag")],
        completeness: Completeness::Strict,
        rules: TagRules::default(),
    };
    store.put_manifest(put).await.expect("the index is complete");
    store.collect(Leases::Ignore).await.expect("a collection");
    assert_eq!(read(&store, b"cached layer").await, b"cached layer");
}

#[tokio::test]
async fn a_manifest_that_was_tampered_with_is_wrong_content_and_no_failure_of_the_database() {
    let data = tempfile::tempdir().expect("a folder");
    let store = open(data.path());
    let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let manifest = Manifest::parse(Bytes::from(index), None).expect("an index");
    let digest = manifest.digest();
    let put = PutManifest {
        repository: repository(),
        manifest: Arc::new(manifest),
        tags: Vec::new(),
        completeness: Completeness::Strict,
        rules: TagRules::default(),
    };
    store.put_manifest(put).await.expect("stored");
    let database =
        rusqlite::Connection::open(data.path().join("catalog.sqlite")).expect("the database opens");
    let tampered = format!("{index} ");
    database.execute("UPDATE manifest SET bytes = ?1", [tampered.as_bytes()]).expect("changed");
    let error = store.resolve(&repository(), &Selector::Digest(digest)).await.expect_err("it is not that");
    let actual = Digest::sha256(tampered.as_bytes());
    assert!(
        matches!(error, Error::Integrity { expected, actual: found, .. } if expected == digest && found == actual),
        "{error:?}"
    );
}

#[tokio::test]
async fn one_odd_folder_does_not_stop_the_collection_of_all_else() {
    let data = tempfile::tempdir().expect("a folder");
    let store = Store::open(
        data.path(),
        StoreOptions { upload_expiry: std::time::Duration::ZERO, ..StoreOptions::default() },
    )
    .expect("the store opens");
    let odd = data.path().join("uploads/00000000-0000-0000-0000-000000000009");
    fs::create_dir_all(odd.join("something/else")).expect("folders");
    push(&store, 1, b"orphan").await.expect("the push succeeds");
    let collected = store.collect(Leases::Ignore).await.expect("a collection");
    assert_eq!((collected.blobs, collected.bytes), (1, 6));
    assert!(odd.exists());
}

/// What the version says is looked at before what else is there, and both may change in between.
#[test]
fn many_processes_may_open_a_new_folder_at_once() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            let openings: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        Store::open(&path, StoreOptions::default()).map(drop)
                    })
                })
                .collect();
            for opening in openings {
                opening.join().expect("no panic").expect("it is ours, or will be");
            }
        });
    }
}
