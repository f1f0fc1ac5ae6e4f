//! Clients that want the same thing at once: no failure of the server, nothing lost, every answer one that the
//! specification knows.

use std::{path::Path, sync::Barrier, thread};

use crate::{
    client::Client,
    material::{Piece, image, piece},
    push::{self, STYLES, Style},
    server::{self, Server},
};

/// How often each race is run.
const TIMES: usize = 20;

/// Runs `racers`, each with its number and a client of its own, off the same line.
fn race(server: &Server, racers: &[&(dyn Fn(&mut Client) + Sync)]) {
    let line = Barrier::new(racers.len());
    thread::scope(|scope| {
        for racer in racers {
            let line = &line;
            scope.spawn(move || {
                let mut client = server.client();
                assert_eq!(client.get("/v2/").unwrap().status, 200);
                line.wait();
                racer(&mut client);
            });
        }
    });
}

/// Races on a store of their own, which is in order afterwards.
fn on_a_server(races: impl FnOnce(&Server, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    races(&server, folder.path());
    server.has_not_failed();
    drop(server);
    server::all_is_well(folder.path());
}

fn blob_path(repository: &str, piece: &Piece) -> String {
    format!("/v2/{repository}/blobs/{}", piece.digest)
}

#[track_caller]
fn shows(client: &mut Client, repository: &str, piece: &Piece) {
    let answer = client.get(&blob_path(repository, piece)).unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &piece.bytes[..]));
}

#[test]
fn two_pushes_of_one_blob_both_succeed() {
    on_a_server(|server, _| {
        for number in 0..TIMES {
            let piece = piece(number, 100_000);
            let push = |style: Style| {
                let piece = piece.clone();
                move |client: &mut Client| {
                    assert_eq!(push::blob(client, "a", &piece, style).unwrap().status, 201);
                    shows(client, "a", &piece);
                }
            };
            race(server, &[&push(STYLES[number % 4]), &push(STYLES[number / 4 % 4])]);
        }
    });
}

#[test]
fn ten_pulls_beside_a_push_get_all_or_nothing() {
    on_a_server(|server, _| {
        for number in 0..TIMES {
            let piece = piece(number, 1_000_000);
            let push = |client: &mut Client| {
                assert_eq!(push::blob(client, "a", &piece, STYLES[number % 4]).unwrap().status, 201);
            };
            let pull = |client: &mut Client| loop {
                let answer = client.get(&blob_path("a", &piece)).unwrap();
                match answer.status {
                    200 => return assert_eq!(answer.body[..], piece.bytes[..]),
                    404 => {}
                    _ => panic!("{answer:?}"),
                }
            };
            let mut racers: Vec<&(dyn Fn(&mut Client) + Sync)> = vec![&push];
            racers.extend([&pull as &(dyn Fn(&mut Client) + Sync); 10]);
            race(server, &racers);
        }
    });
}

#[test]
fn a_mount_beside_a_delete_shows_the_blob_or_opens_a_session() {
    on_a_server(|server, data| {
        let mut client = server.client();
        for number in 0..TIMES {
            let piece = piece(number, 10_000);
            assert_eq!(push::blob(&mut client, "a", &piece, Style::Post).unwrap().status, 201);
            let delete = |client: &mut Client| {
                let answer = client.send("DELETE", &blob_path("a", &piece), &[], b"").unwrap();
                assert_eq!(answer.status, 202, "{answer:?}");
            };
            let mount = |client: &mut Client| {
                let answer = push::mount(client, "b", &piece.digest, "a").unwrap();
                match answer.status {
                    201 => shows(client, "b", &piece),
                    202 => {
                        let answer =
                            push::put(client, &answer.location(), &piece.digest, &piece.bytes).unwrap();
                        assert_eq!(answer.status, 201, "{answer:?}");
                        shows(client, "b", &piece);
                    }
                    _ => panic!("{answer:?}"),
                }
            };
            let collect = |_: &mut Client| drop(server::run(data, &["prune"]));
            race(server, &[&delete, &mount, &collect]);
            shows(&mut client, "b", &piece);
            assert_eq!(client.get(&blob_path("a", &piece)).unwrap().status, 404);
        }
    });
}

#[test]
fn a_tag_that_is_put_and_deleted_at_once_is_the_one_or_the_other() {
    on_a_server(|server, _| {
        let mut client = server.client();
        let config = piece(0, 100);
        assert_eq!(push::blob(&mut client, "a", &config, Style::Post).unwrap().status, 201);
        let images: Vec<Piece> = (0..3).map(|layers| image(&config, &vec![config.clone(); layers])).collect();
        let tag = "/v2/a/manifests/tag";
        for _ in 0..TIMES {
            let put = |client: &mut Client| {
                for image in &images {
                    let answer = push::manifest(client, "a", "tag", image).unwrap();
                    assert_eq!(answer.status, 201, "{answer:?}");
                }
            };
            let untag = |client: &mut Client| {
                for _ in 0..3 {
                    let answer = client.send("DELETE", tag, &[], b"").unwrap();
                    assert!(matches!(answer.status, 202 | 404), "{answer:?}");
                }
            };
            let delete = |client: &mut Client| {
                for image in &images {
                    let path = format!("/v2/a/manifests/{}", image.digest);
                    let answer = client.send("DELETE", &path, &[], b"").unwrap();
                    assert!(matches!(answer.status, 202 | 404), "{answer:?}");
                }
            };
            let resolve = |client: &mut Client| {
                for _ in 0..10 {
                    let answer = client.get(tag).unwrap();
                    match answer.status {
                        200 => assert!(images.iter().any(|image| answer.body[..] == image.bytes[..])),
                        404 => {}
                        _ => panic!("{answer:?}"),
                    }
                }
            };
            race(server, &[&put, &put, &untag, &delete, &resolve]);
            // Nobody is left who could interfere.
            assert_eq!(push::manifest(&mut client, "a", "tag", &images[0]).unwrap().status, 201);
            assert_eq!(client.get(tag).unwrap().body[..], images[0].bytes[..]);
        }
    });
}

#[test]
fn collections_beside_pushes_take_nothing_that_is_wanted() {
    on_a_server(|server, data| {
        let shared = piece(1_000, 50_000);
        let push = |repository: &'static str| {
            let shared = &shared;
            move |client: &mut Client| {
                for number in 0..TIMES {
                    let (config, style) = (piece(number, 2_000), STYLES[number % 4]);
                    for blob in [&config, shared] {
                        let answer = push::blob(client, repository, blob, style).unwrap();
                        assert_eq!(answer.status, 201, "{answer:?}");
                    }
                    let image = image(&config, std::slice::from_ref(shared));
                    let answer = push::manifest(client, repository, "tag", &image).unwrap();
                    assert_eq!(answer.status, 201, "{answer:?}");
                    // So that the collector always has the same digests to think about.
                    let path = format!("/v2/{repository}/manifests/{}", image.digest);
                    assert_eq!(client.send("DELETE", &path, &[], b"").unwrap().status, 202);
                    for blob in [&config, shared] {
                        let answer = client.send("DELETE", &blob_path(repository, blob), &[], b"").unwrap();
                        assert_eq!(answer.status, 202, "{answer:?}");
                    }
                }
            }
        };
        let collect = |_: &mut Client| {
            for _ in 0..TIMES {
                server::run(data, &["prune"]);
            }
        };
        race(server, &[&push("a"), &push("b"), &collect]);
    });
}
