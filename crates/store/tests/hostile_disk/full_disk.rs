//! The disk is full at every step.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use bytes::Bytes;
use pier_content::{BlobStore as _, ByteRange, Commit, Error, Ingest, IngestKey};
use pier_oci::{Digest, SessionId};
use pier_store::OpenError;
use pier_testkit::{skip::or_skip, small_disk::SmallDisk};
use tokio::runtime::Runtime;

use crate::{
    ledger::Ledger,
    questions::{all_is_well, everything_acknowledged_is_there, nothing_is_left_over},
    work::{Work, World, content, repository},
};

/// A page of a tmpfs, the least by which it fills.
const PAGE: u64 = 4096;

/// Pages, more than any of the works needs.
const MOST: u64 = 256;

/// Whether work on a full disk was done or refused as it has to be.
fn done(what: &str, outcome: Result<(), Error>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(Error::StorageFull { .. }) => false,
        Err(error) => panic!("{what}: {error:?}"),
    }
}

fn check(work: Work) {
    if or_skip(SmallDisk::mount(1 << 20)).is_none() {
        return;
    }
    let runtime = Runtime::new().unwrap();
    for free in (0..MOST).map(|pages| pages * PAGE) {
        println!("{work:?} with {free} bytes free");
        let disk = SmallDisk::mount(8 << 20).unwrap();
        let path = disk.path().join("data");
        let ledger = Arc::new(Ledger::default());
        let world = World::open(&path, &ledger).unwrap();
        runtime.block_on(work.prepare(&world)).unwrap();
        world.another_day();

        disk.fill_leaving(free).unwrap();
        let first = done("at first", runtime.block_on(work.act(&world)));
        runtime.block_on(everything_acknowledged_is_there(&world.store, &ledger));
        done("again", runtime.block_on(work.act(&world)));
        runtime.block_on(everything_acknowledged_is_there(&world.store, &ledger));
        // Another process that starts now is told why it cannot, or can do as much as this one.
        match World::open(&path, &ledger) {
            Ok(other) => {
                other.another_day();
                runtime.block_on(everything_acknowledged_is_there(&other.store, &ledger));
                done("elsewhere", runtime.block_on(work.act(&other)));
            }
            Err(OpenError::Unusable { source: Error::StorageFull { .. }, .. }) => {}
            Err(error) => panic!("opened while full: {error:?}"),
        }

        disk.free_all().unwrap();
        runtime.block_on(async {
            work.act(&world).await.unwrap();
            everything_acknowledged_is_there(&world.store, &ledger).await;
            all_is_well(&world.store).await;
        });
        drop(world);
        let world = World::open(&path, &ledger).unwrap();
        runtime.block_on(async {
            everything_acknowledged_is_there(&world.store, &ledger).await;
            nothing_is_left_over(&world.store, &path, &ledger).await;
        });
        if first {
            assert!(free > 0, "nothing was ever refused");
            return;
        }
    }
    panic!("{work:?} is still refused with {MOST} pages free");
}

/// A store that was closed while there was room is opened when there is none.
#[test]
fn a_store_that_is_opened_again() {
    if or_skip(SmallDisk::mount(1 << 20)).is_none() {
        return;
    }
    let runtime = Runtime::new().unwrap();
    for free in (0..MOST).map(|pages| pages * PAGE) {
        println!("opened with {free} bytes free");
        let disk = SmallDisk::mount(8 << 20).unwrap();
        let path = disk.path().join("data");
        let ledger = Arc::new(Ledger::default());
        let world = World::open(&path, &ledger).unwrap();
        runtime.block_on(Work::MoveATag.prepare(&world)).unwrap();
        drop(world);

        disk.fill_leaving(free).unwrap();
        let opened = match World::open(&path, &ledger) {
            Ok(world) => {
                runtime.block_on(everything_acknowledged_is_there(&world.store, &ledger));
                true
            }
            Err(OpenError::Unusable { source: Error::StorageFull { .. }, .. }) => false,
            Err(error) => panic!("{error:?}"),
        };
        disk.free_all().unwrap();
        let world = World::open(&path, &ledger).unwrap();
        runtime.block_on(everything_acknowledged_is_there(&world.store, &ledger));
        if opened {
            assert!(free > 0, "nothing was ever refused");
            return;
        }
    }
    panic!("it cannot be opened with {MOST} pages free");
}

/// A folder that has never held a store.
#[test]
fn a_new_folder() {
    if or_skip(SmallDisk::mount(1 << 20)).is_none() {
        return;
    }
    let runtime = Runtime::new().unwrap();
    for free in (0..MOST).map(|pages| pages * PAGE) {
        println!("a new folder with {free} bytes free");
        let disk = SmallDisk::mount(8 << 20).unwrap();
        let path = disk.path().join("data");
        let ledger = Arc::new(Ledger::default());
        disk.fill_leaving(free).unwrap();
        let opened = match World::open(&path, &ledger) {
            Ok(_) => true,
            Err(OpenError::Unusable { source: Error::StorageFull { .. }, .. }) => false,
            Err(error) => panic!("{error:?}"),
        };
        disk.free_all().unwrap();
        let world = World::open(&path, &ledger).unwrap();
        runtime.block_on(Work::UploadABlob.act(&world)).unwrap();
        if opened {
            assert!(free > 0, "a store takes no room");
            return;
        }
    }
    panic!("it cannot be made with {MOST} pages free");
}

#[test]
fn a_blob_that_is_uploaded() {
    check(Work::UploadABlob);
}

#[test]
fn a_blob_that_is_ingested() {
    check(Work::IngestABlob);
}

#[test]
fn a_blob_that_is_ingested_out_of_order() {
    check(Work::IngestOutOfOrder);
}

#[test]
fn two_repositories_that_link_one_blob() {
    check(Work::LinkFromTwoRepositories);
}

#[test]
fn a_commit_of_what_is_there_already() {
    check(Work::CommitWhatIsThere);
}

#[test]
fn a_manifest_and_its_tag() {
    check(Work::PushAnImage);
}

#[test]
fn a_tag_that_moves() {
    check(Work::MoveATag);
}

#[test]
fn a_tag_that_is_removed() {
    check(Work::Untag);
}

#[test]
fn an_image_that_is_deleted_and_collected() {
    check(Work::DeleteAnImageAndCollect);
}

#[test]
fn a_blob_that_is_deleted_and_collected() {
    check(Work::DeleteABlobAndCollect);
}

#[test]
fn a_blob_that_is_pushed_while_it_is_collected() {
    check(Work::PushWhatIsBeingCollected);
}

/// A session whose commit found no room for the blob's row may have a file in place already: what its client sends
/// next must not become part of that.
#[test]
fn a_session_that_goes_on_after_its_commit_was_refused() {
    if or_skip(SmallDisk::mount(1 << 20)).is_none() {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let (bytes, to) = (content(3), repository("b"));
    let digest = Digest::sha256(&bytes);
    for free in (0..MOST).map(|pages| pages * PAGE) {
        let disk = SmallDisk::mount(8 << 20).unwrap();
        let path = disk.path().join("data");
        let ledger = Arc::new(Ledger::default());
        let world = World::open(&path, &ledger).unwrap();
        let committed = runtime.block_on(async {
            let key = IngestKey::NewUpload(SessionId::from_bits(7));
            let Ingest::Filling(filling) = world.store.ingest(key).await.unwrap() else {
                panic!("an upload is always filled by who begins it");
            };
            filling.write_at(0, vec![bytes.clone()]).await.unwrap();
            disk.fill_leaving(free).unwrap();
            let commit = Commit { digest, link: Some(to.clone()) };
            let committed = done("the commit", filling.commit(commit).await.map(drop));
            disk.free_all().unwrap();
            if !committed {
                match filling.write_at(9_000, vec![Bytes::from_static(b"and more")]).await {
                    Ok(()) | Err(Error::Invalid { .. }) => {}
                    Err(error) => panic!("more bytes: {error:?}"),
                }
            }
            committed
        });
        runtime.block_on(async {
            world.upload(&to, &bytes, digest).await.unwrap();
            everything_acknowledged_is_there(&world.store, &ledger).await;
            all_is_well(&world.store).await;
        });
        if committed {
            assert!(free > 0, "nothing was ever refused");
            return;
        }
    }
    panic!("the commit is still refused with {MOST} pages free");
}

/// The same session after its server was killed between the file and the row.
#[test]
fn a_session_that_goes_on_after_its_commit_was_killed() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let ledger = Arc::new(Ledger::default());
    let (bytes, to) = (content(3), repository("b"));
    let digest = Digest::sha256(&bytes);
    let session = SessionId::from_bits(7);
    let world = World::open(&path, &ledger).unwrap();
    runtime.block_on(async {
        let Ingest::Filling(filling) = world.store.ingest(IngestKey::NewUpload(session)).await.unwrap()
        else {
            panic!("an upload is always filled by who begins it");
        };
        filling.write_at(0, vec![bytes.clone()]).await.unwrap();
    });
    drop(world);
    // What the killed commit has done so far.
    let upload = path.join("uploads").join(session.to_string());
    let data = fs::read_dir(upload).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o444)).unwrap();
    fs::hard_link(&data, path.join("blobs/sha256").join(digest.hex())).unwrap();

    let world = World::open(&path, &ledger).unwrap();
    runtime.block_on(async {
        let Ingest::Filling(filling) = world.store.ingest(IngestKey::Upload(session)).await.unwrap() else {
            panic!("the session is still there");
        };
        assert_eq!(filling.missing(), [ByteRange::starting_at(9_000)]);
        let more = filling.write_at(9_000, vec![Bytes::from_static(b"and more")]).await;
        assert!(matches!(more, Err(Error::Invalid { .. })), "{more:?}");
        filling.commit(Commit { digest, link: Some(to) }).await.unwrap();
        all_is_well(&world.store).await;
    });
}
