//! Uploads outlive their server.

use crate::{
    client::{Client, Response},
    material::{Piece, piece},
    push,
    server::{self, Server},
};

const SIZE: usize = 3_000_000;

/// Where the session stands: one past the last byte of its range.
fn offset(status: &Response) -> usize {
    assert_eq!(status.status, 204, "{status:?}");
    match status.header("range").unwrap() {
        "0-0" => 0,
        range => range.strip_prefix("0-").unwrap().parse::<usize>().unwrap() + 1,
    }
}

fn finish(client: &mut Client, location: &str, piece: &Piece, from: usize) {
    let done = push::put(client, location, &piece.digest, &piece.bytes[from..]).unwrap();
    assert_eq!(done.status, 201, "{done:?}");
    assert_eq!(done.header("docker-content-digest"), Some(&*piece.digest));
    let blob = client.get(&format!("/v2/a/blobs/{}", piece.digest)).unwrap();
    assert_eq!(blob.body[..], piece.bytes[..]);
}

#[test]
fn a_session_goes_on_where_it_was_acknowledged_when_the_server_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let piece = piece(1, SIZE);
    let mut server = Server::start(folder.path());
    let mut client = server.client();
    let location = client.send("POST", "/v2/a/blobs/uploads/", &[], b"").unwrap().location();
    let half = client.send("PATCH", &location, &[], &piece.bytes[..SIZE / 2]).unwrap();
    assert_eq!(half.header("range"), Some(&*format!("0-{}", SIZE / 2 - 1)));
    server.0.kill9().unwrap();

    let server = Server::start(folder.path());
    let mut client = server.client();
    assert_eq!(offset(&client.get(&location).unwrap()), SIZE / 2);
    finish(&mut client, &location, &piece, SIZE / 2);
    drop(server);
    server::all_is_well(folder.path());
}

/// The acknowledged half is there, and of what was under way no more than was sent.
#[test]
fn a_chunk_that_was_cut_off_by_a_kill_is_there_in_part_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..10 {
        let piece = piece(number, SIZE);
        let mut server = Server::start(folder.path());
        let mut client = server.client();
        let location = client.send("POST", "/v2/a/blobs/uploads/", &[], b"").unwrap().location();
        let acknowledged = SIZE / 3;
        assert_eq!(client.send("PATCH", &location, &[], &piece.bytes[..acknowledged]).unwrap().status, 202);
        let sent = acknowledged + SIZE / 3;
        client.begin("PATCH", &location, SIZE - acknowledged, &piece.bytes[acknowledged..sent]).unwrap();
        server.0.kill9().unwrap();

        let server = Server::start(folder.path());
        let mut client = server.client();
        let there = offset(&client.get(&location).unwrap());
        assert!((acknowledged..=sent).contains(&there), "{there} of {acknowledged}..={sent}");
        finish(&mut client, &location, &piece, there);
    }
    server::all_is_well(folder.path());
}

/// A client that did not hear of its success asks again.
#[test]
fn a_put_that_was_cut_off_by_a_kill_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..20 {
        let piece = piece(number, 200_000);
        let mut server = Server::start(folder.path());
        let mut client = server.client();
        let location = client.send("POST", "/v2/a/blobs/uploads/", &[], b"").unwrap().location();
        assert_eq!(client.send("PATCH", &location, &[], &piece.bytes).unwrap().status, 202);
        client.begin("PUT", &format!("{location}?digest={}", piece.digest), 0, b"").unwrap();
        server.0.kill9().unwrap();

        let server = Server::start(folder.path());
        let mut client = server.client();
        let again = push::put(&mut client, &location, &piece.digest, b"").unwrap();
        // Or it was done before, and the session is over.
        assert!(matches!(again.status, 201 | 404), "{again:?}");
        let blob = client.get(&format!("/v2/a/blobs/{}", piece.digest)).unwrap();
        assert_eq!((blob.status, &blob.body[..]), (200, &piece.bytes[..]));
        server.has_not_failed();
    }
    server::all_is_well(folder.path());
}
