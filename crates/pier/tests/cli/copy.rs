//! `pier copy`

use std::fs::File;
use std::path::Path;

use http::Method;
use pier_testkit::engine::Skopeo;
use pier_testkit::faults::{Fault, Kind, Script, When};
use pier_testkit::image::{ImageBuilder, Layer};
use pier_testkit::skip::or_skip;
use serde_json::json;

use crate::pier::{Said, Store, command, run, text};
use crate::remote::{Multi, Remote, image, layer};

fn copy(store: &Store, arguments: &[&str]) -> Said {
    store.pier(&[&["copy", "--progress", "none"], arguments].concat())
}

/// Copies, which has to succeed. Gives the digest that the copy has.
#[track_caller]
fn copied(store: &Store, arguments: &[&str]) -> String {
    let line = copy(store, arguments).data(0);
    line.trim_end().rsplit_once('@').unwrap().1.to_owned()
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn between_registries_all_of_an_index_is_copied_and_nothing_is_stored() {
    let (store, from, to, multi) = (Store::empty(), Remote::start(), Remote::start(), Multi::new());
    let (source, destination) = (from.push(&multi.index, "app:1"), to.name("mirror/app:2"));
    let said = copy(&store, &[&source, &destination]).data(0);
    assert_eq!(said, format!("{}@{}\n", to.name("mirror/app"), multi.digest()));
    for image in [&multi.here, &multi.there] {
        assert_eq!(to.proxy.uploaded(&layer(image).digest), 3000);
    }
    assert_eq!(files(&store.data()), 0);
    // All of it, attestations included: it can be copied on.
    let again = Remote::start();
    assert_eq!(copied(&store, &[&destination, &again.name("app:1")]), multi.digest().to_string());
}

#[test]
fn within_a_registry_nothing_is_sent() {
    let (store, remote, multi) = (Store::empty(), Remote::start(), Multi::new());
    let source = remote.push(&multi.index, "app:1");
    let said = copy(&store, &[&source, &remote.name("other:1"), "--json"]).data(0);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["sent_bytes"], 0);
    assert_eq!(said["mounted_bytes"], multi.index.blob_bytes());
    assert_eq!(said["complete"], true);
    assert_eq!((remote.proxy.uploaded_blobs(), remote.proxy.downloaded_blobs()), (0, 0));
}

#[test]
fn the_digest_is_the_same_wherever_an_image_goes() {
    let (store, from, to, multi) = (Store::empty(), Remote::start(), Remote::start(), Multi::new());
    let digest = multi.digest().to_string();
    let folder = tempfile::tempdir().unwrap();
    let place = |kind: &str, name: &str| format!("{kind}:{}", text(&folder.path().join(name)));
    let stations = [
        from.push(&multi.index, "app:1"),
        place("oci", "layout") + ":v1",
        place("oci-archive", "archive.tar") + ":v1",
        "store:imported/app:1".to_owned(),
        place("oci", "without-a-name"),
        to.name("back/app:1"),
    ];
    for way in stations.windows(2) {
        assert_eq!(copied(&store, &[&way[0], &way[1]]), digest, "{way:?}");
    }
    // By digest too, with what the copy printed.
    let printed = copy(&store, &[&stations[0], &stations[1]]).data(0);
    assert_eq!(copied(&store, &[printed.trim_end(), &to.name("by-digest:1")]), digest);
    assert_eq!(store.data_of(&["fsck"]).lines().count(), 1);
}

#[test]
fn one_platform_is_copied_without_its_index_but_for_the_store() {
    let (store, remote, multi) = (Store::empty(), Remote::start(), Multi::new());
    let source = remote.push(&multi.index, "app:1");
    let there = multi.there.root.platform.as_ref().unwrap().to_string();
    let one = |destination: &str| copied(&store, &[&source, destination, "--platform", &there]);
    assert_eq!(one(&remote.name("one:1")), multi.there.root.digest.to_string());
    assert_eq!(one("store:one:1"), multi.digest().to_string());
    assert_eq!(store.json_of(&["images"])[0]["absent"], 2);
}

#[test]
fn a_docker_archive_gets_this_machines_image_under_its_name() {
    let (store, remote, multi) = (Store::empty(), Remote::start(), Multi::new());
    let source = remote.push(&multi.index, "team/app:1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.tar");
    let archive = format!("docker-archive:{}", text(&file));
    assert_eq!(copied(&store, &[&source, &archive]), multi.here.root.digest.to_string());
    let list = run(std::process::Command::new("tar").args(["xOf", text(&file), "manifest.json"])).data(0);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list[0]["RepoTags"], json!([source]));

    copy(&store, &[&source, &archive, "--all-platforms"]).refused(
        2,
        &format!(
            "error: `{}` cannot hold an index, only images of one platform each\n\
             hint: choose one platform with `--platform`\n",
            file.display()
        ),
    );
}

#[test]
fn an_archive_goes_through_a_pipe() {
    let (store, remote, image) = (Store::empty(), Remote::start(), image(1));
    let source = remote.push(&image, "app:1");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("piped.tar");
    let mut export = command(&["copy", &source, "oci-archive:-:v1"]);
    let said = export.env("PIER_DATA", store.data()).stdout(File::create(&path).unwrap()).output().unwrap();
    let talk = String::from_utf8(said.stderr).unwrap();
    assert!(said.status.success(), "{talk}");
    // The archive is the only data; the digest of what is in it is talk.
    assert!(talk.contains(&image.root.digest.to_string()), "{talk}");

    let mut import = command(&["copy", "--progress", "none", "oci-archive:-", "store:app:1"]);
    let said = run(import.env("PIER_DATA", store.data()).stdin(File::open(&path).unwrap())).data(0);
    assert_eq!(said, format!("store:app@{}\n", image.root.digest));

    copy(&store, &["store:app:1", "oci-archive:-", "--json"]).refused(
        2,
        "{\"error\":\"standard output cannot be both an archive and JSON\",\"hint\":\"leave out --json, or name a file\",\
         \"status\":2}\n",
    );
}

#[test]
fn signatures_come_along_when_they_are_asked_for() {
    let (store, from) = (Store::empty(), Remote::start());
    let image = image(1);
    let signature = ImageBuilder::new()
        .subject(&image.root)
        .artifact_type("application/vnd.example.signature")
        .layer(Layer::random(9, 100))
        .build();
    let source = from.push(&image, "app:1");
    from.push(&signature, "app:signature");

    let signed = Remote::start();
    copied(&store, &[&source, &signed.name("app:1"), "--referrers"]);
    let by_digest = |remote: &Remote| format!("{}@{}", remote.name("app"), signature.root.digest);
    let layout = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}", text(&layout.path().join("layout")));
    assert_eq!(copied(&store, &[&by_digest(&signed), &layout]), signature.root.digest.to_string());

    let unsigned = Remote::start();
    copied(&store, &[&source, &unsigned.name("app:1")]);
    assert_eq!(copy(&store, &[&by_digest(&unsigned), &layout]).status, 1);
}

#[test]
fn a_destination_with_a_digest_gets_that_or_nothing() {
    let (store, from, to) = (Store::empty(), Remote::start(), Remote::start());
    let (one, two) = (image(1), image(2));
    let source = from.push(&one, "app:1");
    let destination = |digest| format!("{}@{digest}", to.name("app:1"));
    copy(&store, &[&source, &destination(two.root.digest)]).refused(
        1,
        &format!(
            "error: the source is `{}`, and the destination says `{}`\n\
             hint: leave the digest out of the destination, or copy that digest\n",
            one.root.digest, two.root.digest
        ),
    );
    assert_eq!(to.proxy.uploaded_blobs(), 0);
    assert_eq!(copied(&store, &[&source, &destination(one.root.digest)]), one.root.digest.to_string());
}

/// The header of an answer is the registry's word, and whoever holds the registry writes it.
#[test]
fn s4_a_destination_with_a_digest_gets_no_other_bytes_whatever_the_source_says_of_its_tag() {
    let (store, from, to) = (Store::empty(), Remote::start(), Remote::start());
    let (good, evil) = (image(1), image(2));
    let source = from.push(&evil, "app:1");
    let lie = Fault::LyingDigest(good.root.digest);
    from.proxy.set_script(Script::new().rule(When::on(Method::HEAD, Kind::Manifest), lie));
    let destination = format!("{}@{}", to.name("app:1"), good.root.digest);
    // It cannot keep its word.
    assert_eq!(copy(&store, &[&source, &destination]).status, 1);
    assert_eq!(copy(&store, &[&to.name("app:1"), "store:a:1"]).status, 1);
    // And where it can, that is what comes.
    from.push(&good, "app:other");
    assert_eq!(copied(&store, &[&source, &destination]), good.root.digest.to_string());
    assert_eq!(copied(&store, &[&to.name("app:1"), "store:a:1"]), good.root.digest.to_string());
}

#[test]
fn skopeo_reads_what_was_written_and_is_read() {
    let Some(skopeo) = or_skip(Skopeo::find()) else { return };
    let (store, remote, image) = (Store::empty(), Remote::start(), image(1));
    let source = remote.push(&image, "app:1");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    copied(&store, &[&source, &format!("oci:{}:v1", path("ours"))]);
    let digest = image.root.digest.to_string();
    let theirs = format!("oci-archive:{}:v1", path("theirs.tar"));
    skopeo.run(&["copy", "--preserve-digests", &format!("oci:{}:v1", path("ours")), &theirs]).unwrap();
    assert_eq!(copied(&store, &[&theirs, &remote.name("back:1")]), digest);
}

#[test]
fn places_that_are_none_are_refused() {
    let store = Store::empty();
    copy(&store, &["docker-daemon:alpine", "oci:a"]).refused(
        2,
        "error: `docker-daemon:alpine`: Pier cannot talk to a Docker daemon yet\n\
         hint: go through an archive: `docker save`, `docker load` and `docker-archive:FILE`\n",
    );
    copy(&store, &["docker://alpine", "oci:a"]).refused(
        2,
        "error: `docker://alpine` is no place\n\
         hint: an image of a registry is written without a word in front: `host/repository:tag`\n",
    );
    assert_eq!(files(&store.data()), 0);
}
