//! The rules of the disk that forgets, each on a real mount, and SQLite on top of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use pier_testkit::power_loss::PowerLossDisk;
use pier_testkit::skip::or_skip;
use rusqlite::Connection;

/// Runs `scenario` on a fresh disk and hands back what power loss leaves; None, said loudly, where nothing can be mounted.
fn left_by(scenario: impl FnOnce(&PowerLossDisk)) -> Option<tempfile::TempDir> {
    let disk = mounted()?;
    scenario(&disk);
    let left = tempfile::tempdir().unwrap();
    disk.durable_copy(left.path()).unwrap();
    Some(left)
}

fn mounted() -> Option<PowerLossDisk> {
    or_skip(PowerLossDisk::mount())
}

fn sync_folder(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

fn write_synced(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn keeps_a_file_that_was_synced_with_its_folder() {
    let Some(left) = left_by(|disk| {
        write_synced(&disk.join("a"), b"bytes");
        sync_folder(disk.path());
    }) else {
        return;
    };
    assert_eq!(fs::read(left.path().join("a")).unwrap(), b"bytes");
}

#[test]
fn loses_a_synced_file_whose_entry_was_not() {
    let Some(left) = left_by(|disk| write_synced(&disk.join("a"), b"bytes")) else { return };
    assert_eq!(names(left.path()), Vec::<String>::new());
}

#[test]
fn leaves_a_file_empty_whose_entry_alone_was_synced() {
    let Some(left) = left_by(|disk| {
        fs::write(disk.join("a"), b"bytes").unwrap();
        sync_folder(disk.path());
    }) else {
        return;
    };
    assert_eq!(fs::read(left.path().join("a")).unwrap(), b"");
}

#[test]
fn goes_back_to_the_bytes_and_size_that_were_synced() {
    let Some(left) = left_by(|disk| {
        write_synced(&disk.join("a"), b"old");
        sync_folder(disk.path());
        let file = OpenOptions::new().write(true).open(disk.join("a")).unwrap();
        file.write_all_at(b"newer", 1).unwrap();
    }) else {
        return;
    };
    assert_eq!(fs::read(left.path().join("a")).unwrap(), b"old");
}

#[test]
fn brings_back_what_was_unlinked_without_a_sync() {
    let Some(left) = left_by(|disk| {
        write_synced(&disk.join("a"), b"bytes");
        sync_folder(disk.path());
        fs::remove_file(disk.join("a")).unwrap();
    }) else {
        return;
    };
    assert_eq!(fs::read(left.path().join("a")).unwrap(), b"bytes");
}

#[test]
fn undoes_a_rename_without_a_sync() {
    let Some(left) = left_by(|disk| {
        write_synced(&disk.join("a"), b"bytes");
        sync_folder(disk.path());
        fs::rename(disk.join("a"), disk.join("b")).unwrap();
    }) else {
        return;
    };
    assert_eq!(names(left.path()), ["a"]);
}

#[test]
fn loses_a_file_renamed_across_folders_of_which_only_the_source_was_synced() {
    let Some(left) = left_by(|disk| {
        fs::create_dir(disk.join("to")).unwrap();
        write_synced(&disk.join("a"), b"bytes");
        sync_folder(disk.path());
        fs::rename(disk.join("a"), disk.join("to/a")).unwrap();
        sync_folder(disk.path());
    }) else {
        return;
    };
    assert_eq!(names(left.path()), ["to"]);
    assert_eq!(names(&left.path().join("to")), Vec::<String>::new());
}

#[test]
fn keeps_hard_links_as_links() {
    let Some(left) = left_by(|disk| {
        write_synced(&disk.join("a"), b"bytes");
        fs::hard_link(disk.join("a"), disk.join("b")).unwrap();
        assert_eq!(disk.join("a").metadata().unwrap().nlink(), 2);
        sync_folder(disk.path());
    }) else {
        return;
    };
    assert_eq!(left.path().join("a").metadata().unwrap().nlink(), 2);
    assert_eq!(fs::read(left.path().join("b")).unwrap(), b"bytes");
}

#[test]
fn refuses_to_replace_when_asked_not_to() {
    let Some(disk) = mounted() else { return };
    fs::write(disk.join("a"), b"a").unwrap();
    fs::write(disk.join("b"), b"b").unwrap();
    let folder = File::open(disk.path()).unwrap();
    let refused = rustix::fs::renameat_with(&folder, "a", &folder, "b", rustix::fs::RenameFlags::NOREPLACE);
    assert_eq!(refused, Err(rustix::io::Errno::EXIST));
    assert_eq!(fs::read(disk.join("b")).unwrap(), b"b");
}

#[test]
fn reserves_space_without_changing_the_size_and_finds_holes() {
    use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
    let Some(disk) = mounted() else { return };
    let file = File::create_new(disk.join("a")).unwrap();
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 8192).unwrap();
    assert_eq!((file.metadata().unwrap().len(), file.metadata().unwrap().blocks()), (0, 16));
    fallocate(&file, FallocateFlags::empty(), 0, 5000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 5000);
    file.write_all_at(b"far", 1 << 20).unwrap();
    assert_eq!(seek(&file, SeekFrom::Hole(0)).unwrap(), 8192);
    assert_eq!(seek(&file, SeekFrom::Data(8192)).unwrap(), 1 << 20);
}

#[test]
fn refuses_what_does_not_fit() {
    let Some(disk) = mounted() else { return };
    disk.set_capacity(8192);
    fs::write(disk.join("a"), [1; 8192]).unwrap();
    let full = fs::write(disk.join("b"), [1]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    fs::remove_file(disk.join("a")).unwrap();
    assert_eq!(disk.operations(), 5, "create, write, create, write, unlink");
}

#[test]
fn fails_everything_after_the_cut_and_works_after_a_restart() {
    let Some(disk) = mounted() else { return };
    write_synced(&disk.join("a"), b"bytes");
    sync_folder(disk.path());
    assert_eq!(disk.operations(), 4, "create, write, sync, sync");
    disk.cut_after(5);
    fs::create_dir(disk.join("kept-until-the-cut")).unwrap();
    let cut = fs::create_dir(disk.join("b")).unwrap_err();
    assert_eq!(cut.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    let disk = disk.restart().unwrap();
    assert_eq!(names(disk.path()), ["a"]);
    assert_eq!(fs::read(disk.join("a")).unwrap(), b"bytes");
    fs::write(disk.join("b"), b"again").unwrap();
}

#[test]
fn keeps_some_of_the_unsynced_when_given_a_seed_and_the_same_each_time() {
    let Some(disk) = mounted() else { return };
    for number in 0..4 {
        fs::write(disk.join(format!("{number}")), b"bytes").unwrap();
    }
    let kept = |seed| {
        let left = tempfile::tempdir().unwrap();
        disk.durable_copy_with(left.path(), seed).unwrap();
        names(left.path())
    };
    let all: Vec<_> = (0..64).map(kept).collect();
    assert!(
        all.iter().all(|names| *names == ["0", "1", "2", "3"][..names.len()]),
        "a prefix of the changes: {all:?}"
    );
    for count in 0..=4 {
        assert!(all.iter().any(|names| names.len() == count), "no seed kept {count}");
    }
    assert_eq!(kept(7), kept(7));
}

const ROWS: u32 = 5;

/// Writes rows one commit at a time; says how many commits SQLite reported before the first failure.
fn commit_rows(path: &Path, synchronous: &str) -> u32 {
    let Ok(database) = Connection::open(path.join("rows.sqlite")) else { return 0 };
    let setup = format!(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous}; CREATE TABLE rows (number INTEGER);"
    );
    if database.execute_batch(&setup).is_err() {
        return 0;
    }
    (0..ROWS)
        .take_while(|number| database.execute("INSERT INTO rows VALUES (?1)", [number]).is_ok())
        .fold(0, |count, _| count + 1)
}

/// Rows in the copy, none when not even the table is there.
fn rows_left(disk: &PowerLossDisk) -> u32 {
    let left = tempfile::tempdir().unwrap();
    disk.durable_copy(left.path()).unwrap();
    let database = Connection::open(left.path().join("rows.sqlite")).unwrap();
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    database.query_row("SELECT count(*) FROM rows", [], |row| row.get(0)).unwrap_or(0)
}

#[test]
fn sqlite_with_full_sync_keeps_every_committed_row_at_every_step() {
    let Some(disk) = mounted() else { return };
    assert_eq!(commit_rows(disk.path(), "FULL"), ROWS);
    let steps = disk.operations();
    let mut most = 0;
    for step in 0..=steps {
        let disk = PowerLossDisk::mount().unwrap();
        disk.cut_after(step);
        let committed = commit_rows(disk.path(), "FULL");
        let left = rows_left(&disk);
        assert!(left >= committed, "cut after {step} of {steps}: {committed} committed, {left} left");
        most = most.max(committed);
    }
    assert_eq!(most, ROWS);
}

#[test]
fn sqlite_without_sync_loses_committed_rows() {
    let Some(disk) = mounted() else { return };
    let database = Connection::open(disk.join("rows.sqlite")).unwrap();
    database
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; CREATE TABLE rows (number INTEGER);
             INSERT INTO rows VALUES (1);",
        )
        .unwrap();
    assert_eq!(rows_left(&disk), 0);
}
