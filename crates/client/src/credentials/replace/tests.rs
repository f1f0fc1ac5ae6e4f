//! A file is replaced whole or not at all.

use std::{
    os::unix::fs::{PermissionsExt as _, symlink},
    sync::Barrier,
};

use super::*;

fn set(path: &Path, text: &str) -> Result<()> {
    replace(path, |_| Ok((Some(text.to_owned()), ())))
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_file_is_made_with_its_folders_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/config.json");
    assert_eq!(read(&path).unwrap(), None);
    set(&path, "one").unwrap();
    assert_eq!(read(&path).unwrap().as_deref(), Some("one"));
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    // Nothing else is left there.
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_file_that_others_may_read_is_so_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    fs::write(&path, "one").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    set(&path, "two").unwrap();
    assert_eq!((read(&path).unwrap().as_deref(), mode(&path)), (Some("two"), 0o600));
}

#[test]
fn a_symbolic_link_stays_and_its_end_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (link, middle, file) =
        (folder.path().join("link"), folder.path().join("middle"), folder.path().join("real/config.json"));
    symlink("middle", &link).unwrap();
    symlink(&file, &middle).unwrap();
    // The end need not be there yet.
    for text in ["one", "two"] {
        set(&link, text).unwrap();
        assert!(link.is_symlink() && middle.is_symlink() && !file.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    let circle = folder.path().join("circle");
    symlink("circle", &circle).unwrap();
    assert!(matches!(set(&circle, "x"), Err(Error::Io { operation: "read the link", .. })));
}

#[test]
fn an_edit_that_fails_or_wants_nothing_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    fs::write(&path, "one").unwrap();
    let before = path.metadata().unwrap().ino();
    let failed: Result<()> = replace(&path, |_| Err(malformed(&path, "it is wrong".to_owned())));
    assert_eq!(failed.unwrap_err().to_string(), format!("`{}`: it is wrong", path.display()));
    let seen = replace(&path, |text| Ok((None, text.map(str::to_owned)))).unwrap();
    assert_eq!(seen.as_deref(), Some("one"));
    assert_eq!(
        (fs::read_to_string(&path).unwrap().as_str(), path.metadata().unwrap().ino()),
        ("one", before)
    );
}

#[test]
fn what_a_crash_left_behind_is_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    fs::write(folder.path().join(".config.json.pier"), "half of a se").unwrap();
    set(&path, "one").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn changes_at_once_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for number in 0..8 {
            let (path, start) = (&path, &start);
            scope.spawn(move || {
                start.wait();
                let add =
                    |text: Option<&str>| Ok((Some(format!("{}{number}", text.unwrap_or_default())), ()));
                replace(path, add).unwrap();
            });
        }
    });
    let mut all: Vec<char> = fs::read_to_string(&path).unwrap().chars().collect();
    all.sort_unstable();
    assert_eq!(all.into_iter().collect::<String>(), "01234567");
}

#[test]
fn files_that_cannot_be_read_are_errors_and_not_none() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(read(folder.path()), Err(Error::Io { .. })));
    let path = folder.path().join("file");
    fs::write(&path, [0xff]).unwrap();
    assert_eq!(read(&path).unwrap_err().to_string(), format!("`{}`: it is not UTF-8", path.display()));
    assert_eq!(read(&path.join("config.json")).unwrap(), None);
    File::create(&path).unwrap().set_len(LIMIT + 1).unwrap();
    assert_eq!(
        read(&path).unwrap_err().to_string(),
        format!("`{}`: it has more than 4194304 bytes", path.display())
    );
}
