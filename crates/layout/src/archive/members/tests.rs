//! The table against another reader of tars: of one archive, both see the same files or this one refuses.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _, Seek as _, Write as _},
};

use proptest::prelude::*;
use tar::Builder;

use super::*;

fn table(bytes: &[u8], links: Links) -> Result<Members> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    Members::read(file, Path::new("a.tar"), links)
}

/// The files of a table, with their content.
fn files(members: &Members) -> BTreeMap<String, Vec<u8>> {
    let names = members.table.iter().filter(|(_, member)| matches!(member, Member::File { .. }));
    names
        .map(|(name, _)| {
            let extent = members.file(name).unwrap().unwrap();
            (name.clone(), extent.read(0..extent.size).unwrap().to_vec())
        })
        .collect()
}

/// The same as the tar crate's iterator reads it; none when it fails.
fn theirs(bytes: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut archive = tar::Archive::new(Cursor::new(bytes));
    let mut files = BTreeMap::new();
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        if entry.header().entry_type().is_file() && !entry.path_bytes().ends_with(b"/") {
            let name = normalized(std::str::from_utf8(&entry.path_bytes()).ok()?).ok()?;
            let mut content = Vec::new();
            entry.read_to_end(&mut content).ok()?;
            files.insert(name, content);
        }
    }
    Some(files)
}

/// A tar of files with short names and long ones, a folder and records of pax.
fn sample() -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let header = |size: usize| {
        let mut header = Header::new_gnu();
        header.set_size(size as u64);
        header.set_mode(0o644);
        header
    };
    let long = format!("blobs/sha512/{}", "0a".repeat(64));
    tar.append_data(&mut header(3), "./oci-layout", &b"abc"[..]).unwrap();
    let mut folder = header(0);
    folder.set_entry_type(EntryType::Directory);
    tar.append_data(&mut folder, "blobs/", std::io::empty()).unwrap();
    tar.append_data(&mut header(600), &long, &[7; 600][..]).unwrap();
    tar.append_pax_extensions([("path", &b"from/pax"[..]), ("mtime", b"1.5")]).unwrap();
    tar.append_data(&mut header(512), "from/header", &[8; 512][..]).unwrap();
    tar.append_data(&mut header(0), "empty", std::io::empty()).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn sees_what_another_reader_sees() {
    let bytes = sample();
    let seen = files(&table(&bytes, Links::Refused).unwrap());
    assert_eq!(Some(&seen), theirs(&bytes).as_ref());
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    let long = format!("blobs/sha512/{}", "0a".repeat(64));
    assert_eq!(names, [&long, "empty", "from/pax", "oci-layout"]);
    assert_eq!(seen["oci-layout"], b"abc");
}

#[test]
fn links_lead_to_members() {
    let mut tar = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    tar.append_data(&mut header, "a/layer.tar", &b"x"[..]).unwrap();
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "b/layer.tar", "../a/./layer.tar").unwrap();
    let bytes = tar.into_inner().unwrap();
    let members = table(&bytes, Links::Followed).unwrap();
    assert_eq!(members.file("b/layer.tar").unwrap().unwrap().size, 1);
    assert!(members.file("c").unwrap().is_none());
    assert!(table(&bytes, Links::Refused).is_err());
}

#[test]
fn names_are_put_in_order() {
    for (name, expected) in [
        ("a", Ok("a")),
        ("./a//b/.", Ok("a/b")),
        ("./", Ok("")),
        ("..a/b..", Ok("..a/b..")),
        ("/a", Err("is absolute")),
        ("a/..", Err("leads out of its folder")),
    ] {
        assert_eq!(normalized(name).as_deref(), expected.as_ref().map(|name| *name), "{name}");
    }
}

/// Sets the sum that a change of a header has made wrong, as who means harm would.
fn with_sums(mut bytes: Vec<u8>) -> Vec<u8> {
    for start in (0..bytes.len() / 512).map(|block| block * 512) {
        if &bytes[start + 257..start + 262] == b"ustar" {
            let mut header = Header::new_old();
            header.as_mut_bytes().copy_from_slice(&bytes[start..start + 512]);
            header.set_cksum();
            bytes[start..start + 512].copy_from_slice(header.as_bytes());
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// S11: an archive that this takes has the same files to another reader that takes it.
    #[test]
    fn s11_a_changed_archive_is_refused_or_read_alike(
        changes in proptest::collection::vec((0..5120_usize, any::<u8>()), 1..6),
        cut in proptest::option::of(0..6000_usize),
    ) {
        let mut bytes = sample();
        for (position, value) in changes {
            if let Some(byte) = bytes.get_mut(position) {
                *byte = value;
            }
        }
        bytes = with_sums(bytes);
        bytes.truncate(cut.unwrap_or(bytes.len()));
        if let (Ok(ours), Some(theirs)) = (table(&bytes, Links::Followed), theirs(&bytes)) {
            // Not the contents in the message: a position tells what is wrong, a kilobyte of sevens does not.
            prop_assert!(files(&ours) == theirs, "{:?}, and not {:?}", files(&ours).keys(), theirs.keys());
        }
    }
}
