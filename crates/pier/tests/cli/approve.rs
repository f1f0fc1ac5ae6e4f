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
    assert_eq!(verify(&site, list, &["--override", &config]).data(0), expected);
    assert_eq!(verify(&site, list, &["--select", "any"]).data(0), expected);
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
    assert_eq!(verify(&site, &missing, &["--default", &manifest, "--override", &manifest]).status, 2);
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
    site.pier(&["approve", "remove", &list, &manifest]);
    site.pier(&["approve", "add", &list, &digest_of_nothing()]);
    site.pier(&["approve", "sign", &list, "--key", &key]);
    assert_eq!(verify(&site, &list, &["--key", &public]).status, 1);
    fs::write(&list, &old).unwrap();
    let said = verify(&site, &list, &["--key", &public]);
    said.refused(5, "error: the list of approved digests has version 1, and version 3 was accepted before\n");
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
