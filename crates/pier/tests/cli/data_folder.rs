//! Data folders that cannot be used.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use pier_testkit::{skip::or_skip, small_disk::SmallDisk};

use crate::pier::{PIER, Store, command, run, text, write};

/// The user that owns nothing, by custom.
const NOBODY: u32 = 65534;

#[test]
fn a_folder_that_is_not_there_is_no_empty_store() {
    for arguments in [&["images"][..], &["prune"], &["fsck"], &["rm", "a"]] {
        let store = Store::empty();
        fs::remove_dir(store.data()).unwrap();
        store.pier(arguments).refused(
            2,
            "error: there is no data folder `DATA`\n\
             hint: name the folder of `pier serve` with --data; `pier serve` makes it when it starts\n",
        );
        assert!(!store.data().exists());
    }
}

#[test]
fn a_file_in_the_way_is_named() {
    let store = Store::empty();
    let file = write(&store, "file", "");
    let below = file.join("data");
    run(&mut command(&["serve", "--listen", "127.0.0.1:0", "--log", "off", "--data", text(&below)])).refused(
        2,
        &format!(
            "error: cannot use `{0}` as data folder: make folder `{0}`: Not a directory (os error 20)\n\
             hint: check that the folder can be written, or name another one with --data\n",
            below.display()
        ),
    );
}

#[test]
fn a_folder_of_another_user_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let everybody = || fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), everybody()).unwrap();
    // Where cargo has built it may be out of reach for others. Copied by another process, because what this one writes is open in
    // the children that other tests start meanwhile, and such a file cannot be run.
    let program = folder.path().join("pier");
    assert!(Command::new("cp").arg(PIER).arg(&program).status().unwrap().success());
    fs::set_permissions(&program, everybody()).unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o555)).unwrap();

    let mut command = Command::new(&program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--log", "off", "--data", text(&data)]).env_clear();
    // Nothing is forbidden to root, so it becomes somebody else.
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    run(&mut command).refused(
        2,
        &format!(
            "error: cannot use `{0}` as data folder: make folder `{0}/blobs`: Permission denied (os error 13)\n\
             hint: check that the folder can be written, or name another one with --data\n",
            data.display()
        ),
    );
}

#[test]
fn a_disk_that_cannot_be_written_is_named() {
    let Some(disk) = or_skip(SmallDisk::mount(1 << 20)) else { return };
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status().unwrap();
    assert!(remounted.success());
    let path = text(disk.path());
    run(&mut command(&["serve", "--listen", "127.0.0.1:0", "--log", "off", "--data", path])).refused(
        2,
        &format!(
            "error: cannot use `{path}` as data folder: make folder `{path}/blobs`: Read-only file system (os error 30)\n\
             hint: check that the folder can be written, or name another one with --data\n"
        ),
    );
}

#[test]
fn a_full_disk_is_worth_another_attempt() {
    let Some(disk) = or_skip(SmallDisk::mount(1 << 20)) else { return };
    disk.fill_leaving(0).unwrap();
    let data = disk.path().join("data");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--log", "off", "--data", text(&data)];
    let said = run(&mut command(&arguments));
    assert_eq!((said.status, said.stdout.as_str()), (3, ""), "{said:?}");
    assert!(said.stderr.contains("no space left on the device: "), "{said:?}");
    assert!(said.stderr.ends_with("\nhint: free some space on that disk\n"), "{said:?}");
}

#[test]
fn a_folder_that_is_somebody_elses_is_left_alone() {
    let store = Store::empty();
    fs::write(store.data().join("thesis.txt"), "").unwrap();
    store.pier(&["fsck"]).refused(
        2,
        "error: `DATA` is not a data folder of Pier: it has no version file but holds `thesis.txt`\n\
         hint: name an empty or new folder with --data\n",
    );
    assert_eq!(fs::read_dir(store.data()).unwrap().count(), 1);
}

#[test]
fn a_folder_of_a_newer_version_is_left_alone() {
    let store = Store::empty();
    fs::write(store.data().join("version"), "99\n").unwrap();
    store.pier(&["images"]).refused(
        2,
        "error: `DATA` holds data of format 99, this version of Pier knows formats up to 1\n\
         hint: use the newer Pier, or name another folder with --data\n",
    );
    assert_eq!(fs::read_dir(store.data()).unwrap().count(), 1);
}
