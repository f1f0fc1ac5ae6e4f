//! The power goes out after every step.

use std::{path::Path, sync::Arc};

use pier_store::{Store, StoreOptions};
use pier_testkit::{power_loss::PowerLossDisk, skip::or_skip, small_disk::SmallDisk};
use tokio::runtime::Runtime;

use crate::{
    ledger::Ledger,
    questions::{all_is_well, everything_acknowledged_is_there, nothing_is_left_over},
    work::{Work, World},
};

/// What is looked at after each cut: only what was synced survives, or by some seed a little more.
const LOOKS: [(After, Option<u64>); 4] = [
    (After::Collecting, None),
    (After::Repeating, None),
    (After::Collecting, Some(0)),
    (After::Repeating, Some(1)),
];

/// More steps than any of the works takes.
const MOST: u64 = 500;

/// What is done on the disk that is left.
#[derive(Clone, Copy, Debug)]
enum After {
    /// A collection alone has to find what lies around.
    Collecting,
    /// The work is done again.
    Repeating,
}

/// Does the work on a new disk whose power goes out after `steps` of it. Whether the work got to its end.
fn cut(runtime: &Runtime, work: Work, steps: u64, ledger: &Arc<Ledger>) -> (PowerLossDisk, bool) {
    let disk = PowerLossDisk::mount().unwrap();
    let world = World::open(&disk.join("data"), ledger).unwrap();
    runtime.block_on(work.prepare(&world)).unwrap();
    world.another_day();
    disk.cut_after(disk.operations() + steps);
    let finished = runtime.block_on(work.act(&world)).is_ok();
    disk.cut();
    (disk, finished)
}

fn examine(runtime: &Runtime, work: Work, path: &Path, ledger: &Arc<Ledger>, after: After) {
    let world = World::open(path, ledger).unwrap();
    world.another_day();
    runtime.block_on(async {
        everything_acknowledged_is_there(&world.store, ledger).await;
        all_is_well(&world.store).await;
        if let After::Repeating = after {
            work.act(&world).await.unwrap();
            everything_acknowledged_is_there(&world.store, ledger).await;
        }
        nothing_is_left_over(&world.store, path, ledger).await;
    });
}

fn check(work: Work) {
    if or_skip(PowerLossDisk::mount()).is_none() {
        return;
    }
    let Some(copies) = or_skip(SmallDisk::mount(64 << 20)) else { return };
    let runtime = Runtime::new().unwrap();
    for steps in 0..MOST {
        let ledger = Arc::new(Ledger::default());
        let (disk, finished) = cut(&runtime, work, steps, &ledger);
        for (after, seed) in LOOKS {
            let left = tempfile::tempdir_in(copies.path()).unwrap();
            match seed {
                None => disk.durable_copy(left.path()).unwrap(),
                Some(seed) => disk.durable_copy_with(left.path(), 2 * steps + seed).unwrap(),
            }
            println!("{work:?} cut after {steps} steps, more survives: {seed:?}, then {after:?}");
            // Looking changes what is acknowledged.
            let ledger = Arc::new(ledger.copy());
            examine(&runtime, work, &left.path().join("data"), &ledger, after);
        }
        if finished {
            assert!(steps > 0, "the work writes nothing");
            return;
        }
    }
    panic!("{work:?} does not finish within {MOST} steps");
}

#[test]
fn a_new_folder() {
    if or_skip(PowerLossDisk::mount()).is_none() {
        return;
    }
    let Some(copies) = or_skip(SmallDisk::mount(64 << 20)) else { return };
    let runtime = Runtime::new().unwrap();
    for steps in 0..MOST {
        let disk = PowerLossDisk::mount().unwrap();
        disk.cut_after(steps);
        // As somebody names it who means to have a folder of folders.
        let opened = Store::open(&disk.join("some/where/data"), StoreOptions::default());
        disk.cut();
        for seed in [None, Some(0), Some(1)] {
            let left = tempfile::tempdir_in(copies.path()).unwrap();
            match seed {
                None => disk.durable_copy(left.path()).unwrap(),
                Some(seed) => disk.durable_copy_with(left.path(), 2 * steps + seed).unwrap(),
            }
            println!("cut after {steps} steps, more survives: {seed:?}");
            let path = left.path().join("some/where/data");
            assert!(path.join("version").exists() || opened.is_err(), "it was opened and is not there");
            examine(&runtime, Work::UploadABlob, &path, &Arc::default(), After::Repeating);
        }
        if opened.is_ok() {
            return;
        }
    }
    panic!("opening does not finish within {MOST} steps");
}

#[test]
fn a_blob_that_is_uploaded() {
    check(Work::UploadABlob);
}

#[test]
fn a_blob_that_is_uploaded_under_sha512() {
    check(Work::UploadUnderSha512);
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
