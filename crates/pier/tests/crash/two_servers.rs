//! Two servers on one data folder, and a collector beside them: neither ever remembers what the other has changed.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use crate::{
    client::Client,
    material::{image, piece},
    push::{self, STYLES, Style},
    server::{self, Server},
};

const TIMES: usize = 30;

fn on_two_servers(work: impl FnOnce(&mut Client, &mut Client) + Send) {
    let folder = tempfile::tempdir().unwrap();
    let servers = [Server::start(folder.path()), Server::start(folder.path())];
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let collector = scope.spawn(|| {
            while !done.load(SeqCst) {
                server::run(folder.path(), &["prune"]);
            }
        });
        let worker = scope.spawn(|| work(&mut servers[0].client(), &mut servers[1].client()));
        let outcome = worker.join();
        done.store(true, SeqCst);
        collector.join().unwrap();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    for server in &servers {
        server.has_not_failed();
    }
    drop(servers);
    server::all_is_well(folder.path());
}

#[test]
fn what_one_takes_the_other_serves_at_once() {
    on_two_servers(|one, other| {
        for number in 0..TIMES {
            let (config, layer) = (piece(number, 500), piece(TIMES + number, 60_000));
            let manifest = image(&config, std::slice::from_ref(&layer));
            let blob = format!("/v2/a/blobs/{}", layer.digest);
            let by_digest = format!("/v2/a/manifests/{}", manifest.digest);
            assert_eq!(other.get(&blob).unwrap().status, 404);
            for piece in [&config, &layer] {
                assert_eq!(push::blob(one, "a", piece, STYLES[number % 4]).unwrap().status, 201);
            }
            assert_eq!(other.get(&blob).unwrap().body[..], layer.bytes[..]);
            assert_eq!(push::manifest(one, "a", "tag", &manifest).unwrap().status, 201);
            for path in ["/v2/a/manifests/tag", &by_digest] {
                assert_eq!(other.get(path).unwrap().body[..], manifest.bytes[..], "round {number}");
            }
            // What both remember by now, one of them removes.
            if number % 2 == 0 {
                assert_eq!(one.send("DELETE", &by_digest, &[], b"").unwrap().status, 202);
                assert_eq!(other.get("/v2/a/manifests/tag").unwrap().status, 404);
                assert_eq!(other.get(&by_digest).unwrap().status, 404);
                assert_eq!(one.send("DELETE", &blob, &[], b"").unwrap().status, 202);
                assert_eq!(other.get(&blob).unwrap().status, 404);
                assert_eq!(other.send("HEAD", &blob, &[], b"").unwrap().status, 404);
            }
        }
    });
}

#[test]
fn a_session_goes_on_at_whichever_server_is_asked() {
    on_two_servers(|one, other| {
        for number in 0..TIMES {
            let piece = piece(number, 90_000);
            let location = one.send("POST", "/v2/a/blobs/uploads/", &[], b"").unwrap().location();
            let first = one.send("PATCH", &location, &[], &piece.bytes[..30_000]).unwrap();
            assert_eq!((first.status, first.header("range")), (202, Some("0-29999")));
            let status = other.get(&location).unwrap();
            assert_eq!((status.status, status.header("range")), (204, Some("0-29999")));
            let range = [("content-range", "30000-59999")];
            let second = other.send("PATCH", &location, &range, &piece.bytes[30_000..60_000]).unwrap();
            assert_eq!((second.status, second.header("range")), (202, Some("0-59999")));
            let done = push::put(one, &location, &piece.digest, &piece.bytes[60_000..]).unwrap();
            assert_eq!(done.status, 201, "{done:?}");
            let blob = other.get(&format!("/v2/a/blobs/{}", piece.digest)).unwrap();
            assert_eq!(blob.body[..], piece.bytes[..]);
            assert_eq!(other.get(&location).unwrap().status, 404);
        }
    });
}

#[test]
fn one_blob_pushed_through_both_at_once_is_taken_by_both() {
    on_two_servers(|one, other| {
        for number in 0..TIMES {
            let piece = piece(number, 40_000);
            thread::scope(|scope| {
                for client in [&mut *one, &mut *other] {
                    let piece = &piece;
                    scope.spawn(move || {
                        let answer = push::blob(client, "a", piece, Style::Chunks).unwrap();
                        assert_eq!(answer.status, 201, "{answer:?}");
                    });
                }
            });
            for client in [&mut *one, &mut *other] {
                let blob = client.get(&format!("/v2/a/blobs/{}", piece.digest)).unwrap();
                assert_eq!(blob.body[..], piece.bytes[..]);
            }
        }
    });
}
