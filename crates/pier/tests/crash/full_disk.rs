//! A server whose disk is full says so, serves on, and works again when there is room.

use pier_testkit::{skip::or_skip, small_disk::SmallDisk};

use crate::{
    client::{Client, Response},
    material::{Piece, image, piece},
    push::{self, STYLES, Style},
    server::{self, Server},
};

/// Whether something was done; refused, it was refused for want of space, in the specification's form.
fn done(answer: &Response, status: u16) -> bool {
    if answer.status == status {
        return true;
    }
    assert_eq!(answer.status, 507, "{answer:?}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["errors"][0]["code"], "UNAVAILABLE");
    assert!(body["errors"][0]["message"].as_str().unwrap().contains("no space"), "{body}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    false
}

#[track_caller]
fn shows(client: &mut Client, piece: &Piece) {
    let path = format!("/v2/a/blobs/{}", piece.digest);
    assert_eq!(client.get(&path).unwrap().body[..], piece.bytes[..]);
    assert_eq!(client.send("HEAD", &path, &[], b"").unwrap().status, 200);
}

#[test]
fn pushes_are_refused_with_507_reads_go_on_and_space_heals_it() {
    let Some(disk) = or_skip(SmallDisk::mount(16 << 20)) else { return };
    let data = disk.path().join("data");
    let mut server = Server::start(&data);
    let mut client = server.client();
    let config = piece(0, 1_000);
    let base = image(&config, &[]);
    assert_eq!(push::blob(&mut client, "a", &config, Style::Post).unwrap().status, 201);
    assert_eq!(push::manifest(&mut client, "a", "base", &base).unwrap().status, 201);
    let mut refused = 0;
    // From nothing left to room for all of it; each time with content that is not there yet.
    for pages in 0..40 {
        let layer = piece(1 + pages, 20_000);
        let other = image(&config, std::slice::from_ref(&layer));
        let style = STYLES[pages % 4];
        disk.fill_leaving(pages as u64 * 4096).unwrap();
        let pushed = done(&push::blob(&mut client, "a", &layer, style).unwrap(), 201);
        if pushed {
            shows(&mut client, &layer);
            if done(&push::manifest(&mut client, "a", "other", &other).unwrap(), 201) {
                assert_eq!(client.get("/v2/a/manifests/other").unwrap().body[..], other.bytes[..]);
            }
        }
        refused += usize::from(!pushed);
        shows(&mut client, &config);
        assert_eq!(client.get("/v2/a/manifests/base").unwrap().body[..], base.bytes[..]);

        disk.free_all().unwrap();
        assert_eq!(push::blob(&mut client, "a", &layer, style).unwrap().status, 201);
        assert_eq!(push::manifest(&mut client, "a", "other", &other).unwrap().status, 201);
        shows(&mut client, &layer);
    }
    assert!(refused > 3, "the disk was hardly ever full");
    server.0.kill9().unwrap();
    server::all_is_well(&data);
}

/// The offset that the session tells is where its content goes on, whatever was written before the disk was full.
#[test]
fn a_chunk_that_found_no_room_is_sent_again() {
    let Some(disk) = or_skip(SmallDisk::mount(16 << 20)) else { return };
    let data = disk.path().join("data");
    let server = Server::start(&data);
    let mut client = server.client();
    let layer = piece(1, 300_000);
    let location = client.send("POST", "/v2/a/blobs/uploads/", &[], b"").unwrap().location();
    assert_eq!(client.send("PATCH", &location, &[], &layer.bytes[..100_000]).unwrap().status, 202);
    disk.fill_leaving(65_536).unwrap();
    let refused = client.send("PATCH", &location, &[], &layer.bytes[100_000..]).unwrap();
    assert!(!done(&refused, 202));
    let status = client.get(&location).unwrap();
    let there = status.header("range").unwrap().strip_prefix("0-").unwrap().parse::<usize>().unwrap() + 1;
    assert!((100_000..300_000).contains(&there), "{status:?}");
    disk.free_all().unwrap();
    let done = push::put(&mut client, &location, &layer.digest, &layer.bytes[there..]).unwrap();
    assert_eq!(done.status, 201, "{done:?}");
    shows(&mut client, &layer);
}
