//! `pier pull`

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::thread;

use pier_testkit::faults::{Canned, Fault, Kind, RetryAfter, Script, When};
use pier_testkit::process::PierProcess;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::pier::{PIER, Said, Store, command, text, write};
use crate::remote::{Multi, Remote, image, image_of, layer};

/// Without lines about what moves.
fn quietly(store: &Store, arguments: &[&str]) -> Said {
    store.pier(&[&["pull", "--progress", "none"], arguments].concat())
}

#[test]
fn an_index_comes_for_this_machine_and_keeps_its_digest() {
    let (store, remote, multi) = (Store::empty(), Remote::start(), Multi::new());
    let name = remote.push(&multi.index, "team/app:1");
    let said = quietly(&store, &[&name]).data(0);
    assert_eq!(said, format!("{}@{}\n", remote.name("team/app"), multi.digest()));

    let images = store.json_of(&["images"]);
    assert_eq!(images[0]["repository"], remote.local("team/app"));
    assert_eq!((&images[0]["tag"], &images[0]["digest"]), (&json!("1"), &json!(multi.digest())));
    assert_eq!(images.as_array().unwrap().len(), 1);
    assert_eq!(remote.fetched(layer(&multi.here)), 3000);
    assert_eq!(remote.fetched(layer(&multi.there)), 0);
}

#[test]
fn json_tells_what_came() {
    let (store, remote, multi) = (Store::empty(), Remote::start(), Multi::new());
    let name = remote.push(&multi.index, "team/app:1");
    let size = multi.here.blob_bytes();
    let said = quietly(&store, &[&name, "--json"]).data(0);
    let expected = |fetched, present| {
        json!([{
            "reference": name,
            "repository": remote.name("team/app"),
            "tag": "1",
            "digest": multi.digest(),
            "media_type": "application/vnd.oci.image.index.v1+json",
            "images": [{
                "platform": multi.here.root.platform.as_ref().unwrap().to_string(),
                "digest": multi.here.root.digest,
            }],
            "complete": false,
            "fetched_bytes": fetched,
            "present_bytes": present,
            "withheld": [],
        }])
    };
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), expected(size, 0));

    // A second time nothing has to come.
    let before = remote.proxy.downloaded_blobs();
    let said = quietly(&store, &[&name, "--json"]).data(0);
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), expected(0, size));
    assert_eq!(remote.proxy.downloaded_blobs(), before);
}

#[test]
fn platforms_can_be_chosen() {
    let (remote, multi) = (Remote::start(), Multi::new());
    let name = remote.push(&multi.index, "app:1");
    let there = multi.there.root.platform.as_ref().unwrap().to_string();

    let store = Store::empty();
    quietly(&store, &["--platform", &there, &name]).data(0);
    assert_eq!((remote.fetched(layer(&multi.here)), remote.fetched(layer(&multi.there))), (0, 3000));

    let store = Store::empty();
    quietly(&store, &["--all-platforms", &name]).data(0);
    assert_eq!((remote.fetched(layer(&multi.here)), remote.fetched(layer(&multi.there))), (3000, 6000));
    assert_eq!(store.json_of(&["images"])[0]["absent"], 0);
}

#[test]
fn a_platform_that_is_not_there_is_answered_with_those_that_are() {
    let (store, remote, multi) = (Store::empty(), Remote::start(), Multi::new());
    let name = remote.push(&multi.index, "app:1");
    let (here, there) = (&multi.here.root.platform, &multi.there.root.platform);
    let [here, there] = [here, there].map(|platform| platform.as_ref().unwrap().to_string());
    quietly(&store, &["--platform", "linux/s390x", &name]).refused(
        1,
        &format!(
            "error: no image for platform `linux/s390x`, there is `{here}`, `{there}`\n\
             hint: choose one of these platforms with `--platform`\n"
        ),
    );
    assert_eq!(store.json_of(&["images"]), json!([]));
}

#[test]
fn each_of_several_images_is_pulled_to_its_end_whatever_becomes_of_the_others() {
    let (store, remote) = (Store::empty(), Remote::start());
    let (one, two) = (image(1), image(2));
    let names = [remote.push(&one, "a:1"), remote.name("none:1"), remote.push(&two, "b:1")];
    let said = quietly(&store, &names.each_ref().map(String::as_str));
    assert_eq!(said.status, 1);
    let lines = [("a", &one), ("b", &two)]
        .map(|(name, image)| format!("{}@{}\n", remote.name(name), image.root.digest));
    assert_eq!(said.stdout, lines.concat());
    let repository = remote.name("none");
    assert_eq!(
        said.stderr,
        format!(
            "error: manifest `{repository}:1` is not there\nhint: `pier tags {repository}` lists what is there\n"
        )
    );
}

#[test]
fn a_tag_moves_to_the_digest_that_is_given_with_it_and_a_digest_alone_moves_none() {
    let (store, remote) = (Store::empty(), Remote::start());
    let (old, new) = (image(1), image(2));
    remote.push(&old, "app:1");
    let name = remote.push(&new, "app:1");
    let repository = remote.name("app");

    quietly(&store, &[&format!("{repository}@{}", old.root.digest)]).data(0);
    assert_eq!(store.json_of(&["images"])[0]["tag"], json!(null));
    quietly(&store, &[&name]).data(0);
    // The registry's tag is another by now, and the digest decides.
    quietly(&store, &[&format!("{name}@{}", old.root.digest)]).data(0);
    let images = store.json_of(&["images"]);
    let tagged: Vec<_> = images.as_array().unwrap().iter().filter(|image| image["tag"] == "1").collect();
    assert_eq!((tagged.len(), &tagged[0]["digest"]), (1, &json!(old.root.digest)));
}

#[test]
fn s7_one_registrys_names_and_content_are_not_anothers() {
    let (store, mine, theirs) = (Store::empty(), Remote::start(), Remote::start());
    let (image, other) = (image(1), image(2));
    let (my_name, their_name) = (mine.push(&image, "app:1"), theirs.push(&other, "app:1"));
    quietly(&store, &[&my_name, &their_name]).data(0);
    let images = store.json_of(&["images"]);
    let found = |remote: &Remote| {
        let local = remote.local("app");
        let named = images.as_array().unwrap().iter().find(|image| image["repository"] == local.as_str());
        named.unwrap()["digest"].clone()
    };
    assert_eq!(found(&mine), json!(image.root.digest));
    assert_eq!(found(&theirs), json!(other.root.digest));

    // A registry that names a layer that it would not give gets no hold of what the store has of it.
    let thief = Remote::scripted(Script::new().answer(
        When::get(Kind::Blob).digest(layer(&image).digest),
        Canned::error(http::StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
    ));
    let name = thief.push(&image, "app:1");
    let said = quietly(&store, &[&name]);
    assert_eq!(said.status, 1, "{said:?}");
    let images = store.json_of(&["images"]);
    assert!(
        images.as_array().unwrap().iter().all(|image| image["repository"] != thief.local("app").as_str())
    );
}

#[test]
fn what_is_missing_denied_or_wrong_is_told_at_once_and_apart() {
    let cases = [
        (Canned::error(http::StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"), 1),
        (Canned::error(http::StatusCode::FORBIDDEN, "DENIED"), 5),
        (Canned::error(http::StatusCode::BAD_REQUEST, "UNSUPPORTED"), 2),
    ];
    for (answer, status) in cases {
        let remote = Remote::scripted(Script::new().answer(When::get(Kind::Manifest), answer));
        let said = quietly(&Store::empty(), &[&remote.name("app:1")]);
        assert_eq!((said.status, said.stdout.as_str()), (status, ""), "{said:?}");
        let asked = remote.proxy.requests().iter().filter(|seen| seen.kind == Kind::Manifest).count();
        assert_eq!(asked, 1, "{said:?}");
        let login = format!("hint: log in with `pier login {}`\n", remote.proxy.address());
        assert_eq!(said.stderr.ends_with(&login), status == 5, "{said:?}");
    }
}

#[test]
fn a_registry_that_cannot_be_reached_is_worth_another_try_later() {
    let store = Store::empty();
    let config = write(&store, "pier.toml", "[client]\nattempts = 2\n");
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let name = format!("{address}/app:1");
    let said = store.pier(&["pull", "--config", text(&config), &name]);
    assert_eq!((said.status, said.stdout.as_str()), (3, ""), "{said:?}");
    let lines: Vec<&str> = said.stderr.lines().collect();
    assert!(lines[0].starts_with(&format!("{name}: waiting 0.")), "{said:?}");
    assert!(lines[1].starts_with("error: "), "{said:?}");
}

#[test]
fn a_layer_that_is_wrong_is_never_stored() {
    let image = image(1);
    let script =
        Script::new().rule(When::get(Kind::Blob).digest(layer(&image).digest), Fault::Flip { at: 7 });
    let (store, remote) = (Store::empty(), Remote::scripted(script));
    let name = remote.push(&image, "app:1");
    let said = quietly(&store, &[&name]);
    assert_eq!((said.status, said.stdout.as_str()), (4, ""), "{said:?}");
    assert_eq!(store.json_of(&["images"]), json!([]));
    assert!(!store.blob(&layer(&image).digest.to_string()).exists());
}

#[test]
fn a_registry_that_asks_for_patience_gets_it_and_the_user_is_told() {
    let answer = Canned::too_many_requests(RetryAfter::Seconds(1));
    let (store, remote) =
        (Store::empty(), Remote::scripted(Script::new().answer(When::get(Kind::Blob).once(), answer)));
    let name = remote.push(&image(1), "app:1");
    let said = store.pier(&["pull", &name]);
    assert_eq!(said.status, 0, "{said:?}");
    let waits = format!("{name}: waiting 1.0 s: {}", remote.proxy.address());
    assert!(said.stderr.lines().any(|line| line.starts_with(&waits)), "{said:?}");
}

#[test]
fn an_interrupted_pull_keeps_what_came_and_goes_on_from_there() {
    const SIZE: u64 = 20 << 20;
    const ARRIVED: u64 = 2 << 20;
    let image = image_of(1, 20 << 20);
    let digest = layer(&image).digest;
    let stall = Fault::Stall { after: 2 * ARRIVED };
    let script = Script::new().rule(When::get(Kind::Blob).digest(digest).once(), stall);
    let (store, remote) = (Store::empty(), Remote::scripted(script));
    let name = remote.push(&image, "app:1");
    let mut pull = command(&["pull", &name, "--progress", "json"])
        .env("PIER_DATA", store.data())
        .env("PIER_LOG", "off")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(pull.stderr.take().unwrap());
    let arrived = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["event"] == "advanced" && event["done"].as_u64().unwrap() >= ARRIVED
    };
    let mut line = String::new();
    while said.read_line(&mut line).unwrap() > 0 && !arrived(&line) {
        line.clear();
    }
    kill_process(Pid::from_child(&pull), Signal::INT).unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(pull.wait().unwrap().code(), Some(130), "{rest}");
    let end = "error: interrupted\nhint: what has arrived is kept: the same command goes on from there\n";
    assert!(rest.ends_with(end), "{rest}");

    remote.proxy.set_script(Script::new());
    let before = remote.proxy.downloaded(&digest);
    quietly(&store, &[&name]).data(0);
    let fetched = remote.proxy.downloaded(&digest) - before;
    assert!(fetched <= SIZE - ARRIVED, "{fetched} bytes were fetched again");
    assert_eq!(store.data_of(&["fsck"]).lines().count(), 1);
}

#[test]
fn two_pulls_of_one_image_at_once_fetch_each_layer_once() {
    let image = image_of(1, 8 << 20);
    let (store, remote) = (Store::empty(), Remote::start());
    let name = remote.push(&image, "app:1");
    let said: Vec<Said> = thread::scope(|scope| {
        let pulls: Vec<_> = (0..3).map(|_| scope.spawn(|| quietly(&store, &[&name]))).collect();
        pulls.into_iter().map(|pull| pull.join().unwrap()).collect()
    });
    for said in said {
        assert_eq!((said.status, said.stderr.as_str()), (0, ""), "{said:?}");
    }
    // Whoever comes second asks for one byte, to be shown that the registry would give it.
    let fetched = remote.fetched(layer(&image));
    let size = layer(&image).size;
    assert!((size..size + 3).contains(&fetched), "{fetched} of {size} bytes");
}

#[test]
fn a_pull_beside_a_server_and_a_push_to_it_share_one_store() {
    let image = image_of(1, 4 << 20);
    let (store, remote) = (Store::empty(), Remote::start());
    let name = remote.push(&image, "app:1");
    let data = store.data();
    let arguments = ["serve", "--data", text(&data), "--listen", "127.0.0.1:0"];
    let server = PierProcess::start(PIER.as_ref(), arguments, []).unwrap();
    let pushed = format!("{}/pushed:1", server.address());
    let (pulled, copied) = thread::scope(|scope| {
        let pull = scope.spawn(|| quietly(&store, &[&name]));
        let copy = scope.spawn(|| Store::empty().pier(&["copy", "--progress", "none", &name, &pushed]));
        (pull.join().unwrap(), copy.join().unwrap())
    });
    pulled.data(0);
    assert_eq!(copied.data(0), format!("{}/pushed@{}\n", server.address(), image.root.digest));
    let again = Store::empty();
    let served = format!("{}/{}:1", server.address(), remote.local("app"));
    // What was pulled is in the store that is served, under its own name.
    assert_eq!(quietly(&again, &[&served]).status, 0);
}

#[test]
fn other_places_are_not_pulled_from() {
    Store::empty().pier(&["pull", "oci:folder"]).refused(
        2,
        "error: `oci:folder` is no image of a registry\n\
         hint: `pier copy` brings images from other places into the store: `pier copy SRC store:NAME`\n",
    );
}
