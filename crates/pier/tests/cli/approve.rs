//! Lists of approved digests: made, changed, signed, believed, and not believed.

use std::{fs, os::unix::fs::PermissionsExt as _};

use pier_oci::Digest;
use serde_json::{Value, json};

use crate::{
    pier::{Said, text, write},
    site::{Site, digest_of_nothing, image},
};

/// A registry with an image that is approved, and its digests, the manifest's first.
async fn site() -> (Site, String, String) {
    let site = Site::start().await;
    let image = image("first", "amd64");
    site.registry.push(&image, "app:1").await.unwrap();
    (site, image.root.digest.to_string(), image.blobs[0].descriptor.digest.to_string())
}

fn verify(site: &Site, list: &str, more: &[&str]) -> Said {
    site.pier(&[&["verify", "HOST/app:1", "--approved", list], more].concat())
}

fn path(site: &Site, name: &str) -> String {
    let path = site.store.data().parent().unwrap().join(name);
    text(&path).to_owned()
}

#[tokio::test]
async fn json_key_matches_what_other_launchers_read() {
    let (site, manifest, _) = site().await;
    let list = path(&site, "bare.json");
    site.pier(&["approve", "add", &list, &digest_of_nothing(), "--bare"]);
    site.pier(&["approve", "add", &list, &manifest, "--bare"]);
    let written: Value = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
    assert_eq!(written, json!({ "approved_hashes": [manifest, digest_of_nothing()] }));
    assert_eq!(verify(&site, &list, &[]).data(0), format!("HOST/app@{manifest}\n"));
}

#[tokio::test]
async fn the_newest_counts_or_the_override_if_it_is_listed() {
    let (site, manifest, config) = site().await;
    let other = digest_of_nothing();
    // Without the prefix, as some lists have it.
    let list = json!({ "approved_hashes": [other.strip_prefix("sha256:").unwrap(), config] }).to_string();
    let list = write(&site.store, "list.json", &list);
    let list = text(&list);
    assert_eq!(verify(&site, list, &[]).status, 1);
    let expected = format!("HOST/app@{manifest}\n");
    for chosen in [&["--override", &*config][..], &["--select", "any"]] {
        let said = verify(&site, list, chosen);
        assert_eq!((said.status, said.stdout.as_str()), (0, &*expected), "{}", said.stderr);
    }
    let said = verify(&site, list, &["--override", &manifest]);
    said.refused(1, &format!("error: `{manifest}` is not among the approved digests that are in force\n"));
}

#[tokio::test]
async fn missing_file_fallback_is_the_baked_default_without_an_override() {
    let (site, manifest, _) = site().await;
    let missing = path(&site, "missing.json");
    let expected = format!("HOST/app@{manifest}\n");
    assert_eq!(verify(&site, &missing, &["--default", &manifest]).data(0), expected);
    assert_eq!(verify(&site, &missing, &[]).status, 2);
    // As in the launcher that this comes from, there is nothing that an override could be in.
    for digest in [&*manifest, &digest_of_nothing()] {
        let said = verify(&site, &missing, &["--default", &manifest, "--override", digest]);
        assert_eq!((said.status, said.stdout.as_str()), (0, &*expected));
        let words = format!("so that `{digest}` does not count and the default does\n");
        assert!(said.stderr.starts_with("warning: there is no `") && said.stderr.ends_with(&words));
    }
    assert_eq!(verify(&site, &missing, &["--override", &manifest]).status, 2);
    // A file that is there is what counts, whatever is in it.
    let other = json!({ "approved_hashes": [digest_of_nothing()] }).to_string();
    for (content, status) in [
        ("", 2),
        ("{}", 2),
        ("{\"approved_hashes\":[]}", 2),
        ("{\"approved_hashes\":[\"zz\"]}", 2),
        (&*other, 1),
    ] {
        let list = write(&site.store, "list.json", content);
        let said = verify(&site, text(&list), &["--default", &manifest]);
        assert_eq!((said.status, said.stdout.as_str()), (status, ""), "{content}: {}", said.stderr);
    }
    // Nor does one that cannot be read pass for one that is not there.
    let said = verify(&site, text(&site.store.data()), &["--default", &manifest]);
    assert_eq!((said.status, said.stdout.as_str()), (2, ""), "{}", said.stderr);
}

#[tokio::test]
async fn a_signed_list_is_believed_and_an_older_one_never_again() {
    let (site, manifest, _) = site().await;
    let (list, key) = (path(&site, "list.json"), path(&site, "key"));
    let public = format!("{key}.pub");
    assert_eq!(site.pier(&["approve", "keygen", &key]).status, 0);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(site.pier(&["approve", "keygen", &key]).status, 2, "a key is never overwritten");
    site.pier(&["approve", "add", &list, &manifest]);
    assert_eq!(verify(&site, &list, &["--key", &public]).status, 5, "it is not signed");
    assert_eq!(site.pier(&["approve", "sign", &list, "--key", &key]).status, 0);
    assert_eq!(verify(&site, &list, &["--key", &public]).data(0), format!("HOST/app@{manifest}\n"));
    let old = fs::read(&list).unwrap();

    // Somebody changes it.
    let changed = String::from_utf8(old.clone()).unwrap().replace(&manifest, &digest_of_nothing());
    fs::write(&list, changed).unwrap();
    assert_eq!(verify(&site, &list, &["--key", &public]).status, 5);

    // The image is taken back, and somebody puts the old list in the place of the new one.
    fs::write(&list, &old).unwrap();
    assert_eq!(site.pier(&["approve", "remove", &list, &manifest, "--allow-empty"]).status, 0);
    site.pier(&["approve", "add", &list, &digest_of_nothing()]);
    site.pier(&["approve", "sign", &list, "--key", &key]);
    assert_eq!(verify(&site, &list, &["--key", &public]).status, 1);
    fs::write(&list, &old).unwrap();
    let said = verify(&site, &list, &["--key", &public]);
    let words = "error: the list of approved digests has version 1, and version 3 was accepted before\n\
                 hint: a key is for one list only\n";
    said.refused(5, words);
    // However its path is spelt, and wherever it lies.
    let folder = site.store.data().parent().unwrap().to_owned();
    let other = path(&site, "copy.json");
    fs::copy(&list, &other).unwrap();
    std::os::unix::fs::symlink(&list, folder.join("link.json")).unwrap();
    for spelling in [
        text(&folder.join("./list.json")),
        text(&folder.join("data/../list.json")),
        text(&folder.join("link.json")),
        &other,
    ] {
        assert_eq!(verify(&site, spelling, &["--key", &public]).status, 5, "{spelling}");
    }
    // Who has no memory says what is the least.
    let elsewhere = path(&site, "elsewhere");
    let fresh = ["--key", &public, "--data", &elsewhere];
    assert_eq!(verify(&site, &list, &fresh).status, 0);
    assert_eq!(verify(&site, &list, &[&fresh[..], &["--min-version", "2"]].concat()).status, 5);
}

#[tokio::test]
async fn what_is_canonical_is_what_the_digest_is_of() {
    let (site, manifest, _) = site().await;
    let list = path(&site, "list.json");
    let made = site.json_of(&["approve", "add", &list, &manifest, "--kind", "manifest", "--note", "release"]);
    let canonical = site.pier(&["approve", "list", &list, "--canonical"]).data(0);
    assert_eq!(made["digest"], Digest::sha256(canonical.as_bytes()).to_string());
    assert_eq!(made["approved"][0]["kind"], "manifest");
    assert_eq!(site.json_of(&["approve", "list", &list]), made);
    // The report of a verification says which list it was.
    let report = site.json_of(&["verify", "HOST/app:1", "--approved", &list]);
    assert_eq!(report["list"], json!({ "digest": made["digest"], "version": 1, "signed_by": null }));
}

#[tokio::test]
async fn a_list_expires() {
    let (site, manifest, _) = site().await;
    let (list, key) = (path(&site, "list.json"), path(&site, "key"));
    let public = format!("{key}.pub");
    site.pier(&["approve", "keygen", &key]);
    site.pier(&["approve", "add", &list, &manifest]);
    let sign = ["approve", "sign", &list, "--key", &key];
    let signed = site.json_of(&[&sign[..], &["--expires", "2100-01-01T00:00:00Z"]].concat());
    assert_eq!((&signed["version"], &signed["expires"]), (&json!(2), &json!("2100-01-01T00:00:00Z")));
    assert_eq!(verify(&site, &list, &["--key", &public]).status, 0);
    // Signed anew it keeps its end, and its version.
    assert_eq!(site.json_of(&sign), signed);
    site.pier(&[&sign[..], &["--expires", "2026-01-01T00:00:00Z"]].concat());
    for more in [&["--key", &*public][..], &[], &["--default", &manifest]] {
        let said = verify(&site, &list, more);
        said.refused(5, "error: the list of approved digests expired at 2026-01-01T00:00:00Z\n");
    }
    assert!(site.pier(&["approve", "list", &list]).data(0).contains(", expires 2026-01-01T00:00:00Z\n"));
}

#[tokio::test]
async fn what_was_approved_before_counts_for_a_while() {
    let (site, manifest, _) = site().await;
    let list = path(&site, "list.json");
    site.pier(&["approve", "add", &list, &manifest]);
    let next = digest_of_nothing();
    let added = site.json_of(&["approve", "add", &list, &next, "--grace", "7d"]);
    assert_eq!((&added["version"], &added["approved"][0]["not_after"]), (&json!(2), &Value::Null));
    assert_eq!(added["approved"][1]["in_force"], json!(true));
    assert!(added["approved"][1]["not_after"].is_string());
    assert_eq!(verify(&site, &list, &["--select", "any"]).status, 0);
    // The new one counts from some time on, and the older one for as long and an hour.
    let begins = "2100-01-01T00:00:00Z";
    let other = Digest::sha256(b"other").to_string();
    let added = site.json_of(&["approve", "add", &list, &other, "--not-before", begins, "--grace", "1h"]);
    assert_eq!(added["approved"][1]["not_after"], "2100-01-01T01:00:00Z");
    for grace in ["soon", "9000000y"] {
        assert_eq!(site.pier(&["approve", "add", &list, &next, "--grace", grace]).status, 2, "{grace}");
    }
    let bare = path(&site, "bare.json");
    site.pier(&["approve", "add", &bare, &manifest, "--bare"]);
    let said = site.pier(&["approve", "add", &bare, &next, "--grace", "1h"]);
    said.refused(2, "error: a bare list of hashes has no place for the end of an entry\n");
}

/// The watcher of the older launcher warned of an empty list and kept the file that it had.
#[tokio::test]
async fn the_last_one_is_taken_away_only_by_who_means_it() {
    let (site, manifest, _) = site().await;
    let list = path(&site, "list.json");
    site.pier(&["approve", "add", &list, &manifest]);
    let before = fs::read(&list).unwrap();
    let said = site.pier(&["approve", "remove", &list, &manifest]);
    assert_eq!((said.status, said.stdout.as_str()), (2, ""));
    assert!(said.stderr.contains("is the last that"), "{}", said.stderr);
    assert_eq!(fs::read(&list).unwrap(), before);
    assert_eq!(verify(&site, &list, &[]).status, 0);
    assert_eq!(site.pier(&["approve", "remove", &list, &manifest, "--allow-empty"]).status, 0);
    assert_eq!(verify(&site, &list, &[]).status, 2);
    assert_eq!(verify(&site, &list, &["--default", &manifest]).status, 2, "nothing takes its place");
}

/// What the watcher's file had to be: whole at any time, its own beside others, and where it was.
#[tokio::test]
async fn a_list_is_replaced_whole_and_stays_what_it_was() {
    let (site, manifest, _) = site().await;
    let folder = site.store.data().parent().unwrap().join("lists");
    fs::create_dir(&folder).unwrap();
    let (list, link) = (folder.join("list.json"), site.store.data().parent().unwrap().join("link.json"));
    site.pier(&["approve", "add", text(&list), &manifest]);
    fs::set_permissions(&list, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("lists/list.json", &link).unwrap();
    // Somebody was there before, with the name that a temporary file once had.
    let mut reader = fs::File::open(&list).unwrap();
    let before = fs::read(&list).unwrap();
    site.pier(&["approve", "add", text(&link), &digest_of_nothing()]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "the link is one still");
    assert_eq!(fs::metadata(&list).unwrap().permissions().mode() & 0o777, 0o640);
    assert_ne!(fs::read(&list).unwrap(), before);
    // Whoever reads the old one reads all of it.
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut read).unwrap();
    assert_eq!(read, before);
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["list.json"], "nothing is left beside it");
    // A link that leads nowhere is not taken for a new list.
    fs::remove_file(&list).unwrap();
    assert_eq!(site.pier(&["approve", "add", text(&link), &manifest]).status, 2);
    assert!(!list.exists());
}

#[tokio::test]
async fn changes_at_once_are_all_kept() {
    let site = std::sync::Arc::new(Site::start().await);
    let list = path(&site, "list.json");
    let adding: Vec<_> = (0..8_u8)
        .map(|number| {
            let (site, list) = (site.clone(), list.clone());
            std::thread::spawn(move || {
                let digest = Digest::sha256(&[number]).to_string();
                site.pier(&["approve", "add", &list, &digest]).status
            })
        })
        .collect();
    for added in adding {
        assert_eq!(added.join().unwrap(), 0);
    }
    let report = site.json_of(&["approve", "list", &list]);
    assert_eq!((&report["version"], report["approved"].as_array().unwrap().len()), (&json!(8), 8));
}

#[tokio::test]
async fn a_key_takes_no_other_file_s_place() {
    let site = Site::start().await;
    let key = path(&site, "key");
    let public = format!("{key}.pub");
    for there in [&key, &public] {
        fs::write(there, "somebody's").unwrap();
        let said = site.pier(&["approve", "keygen", &key]);
        said.refused(
            2,
            &format!("error: `{there}` is there already\nhint: a key that is lost cannot be made again\n"),
        );
        assert_eq!(fs::read_to_string(there).unwrap(), "somebody's");
        fs::remove_file(there).unwrap();
        assert!(!fs::exists(&key).unwrap() && !fs::exists(&public).unwrap(), "no half of a pair is left");
    }
    assert_eq!(site.pier(&["approve", "keygen", &key]).status, 0);
}

#[tokio::test]
async fn what_a_list_says_gives_the_terminal_no_orders() {
    let site = Site::start().await;
    for written in [
        json!({ "format": "pier-approved/1", "version": 1, "approved": [],
                "signature": { "key": "\u{1b}[2J", "value": "" } }),
        json!({ "\u{1b}[2J": 1 }),
        json!({ "approved_hashes": ["\u{1b}[2J"] }),
        json!({ "format": "\u{1b}[2J", "version": 1, "approved": [] }),
        json!({ "format": "pier-approved/1", "version": 1, "approved": [
            { "digest": digest_of_nothing(), "note": "\u{1b}[2J" }] }),
    ] {
        let list = write(&site.store, "list.json", &written.to_string());
        let said = site.pier(&["approve", "list", text(&list)]);
        assert!(!said.stdout.contains('\u{1b}') && !said.stderr.contains('\u{1b}'), "{said:?}");
    }
}
