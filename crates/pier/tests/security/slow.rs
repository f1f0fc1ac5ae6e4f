//! Clients that take a place and do nothing with it.

use std::io::Write as _;

use pier_oci::Digest;

use crate::server::{Server, read};

#[test]
fn uploads_that_stand_still_give_their_places_back_and_keep_what_came() {
    let server = Server::start("max-uploads = 2\nidle-timeout = \"1s\"");
    let content = vec![7; 200_000];
    let sessions = [server.session("slow"), server.session("slow")];
    let mut stalled: Vec<_> = sessions
        .iter()
        .map(|session| {
            let mut stream = server.connect();
            write!(
                stream,
                "PATCH {session} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                content.len()
            )
            .unwrap();
            stream.write_all(&content[..100_000]).unwrap();
            stream
        })
        .collect();
    // Reads and small writes need no place.
    assert_eq!(server.get("/v2/").status, 200);
    for stream in &mut stalled {
        assert_eq!(read(stream).status, 408);
    }
    server.push("quick", &content);
    for session in &sessions {
        let reply = server.get(session);
        assert!(reply.text.contains("range: 0-99999\r\n"), "{reply:?}");
        let rest = server.ask(
            &format!("PUT {session}?digest={}", Digest::sha256(&content)),
            "",
            &content[100_000..],
        );
        assert_eq!(rest.status, 201, "{rest:?}");
    }
}

#[test]
fn an_upload_that_trickles_gives_its_place_back() {
    let server = Server::start("max-uploads = 1\nidle-timeout = \"1s\"");
    let session = server.session("slow");
    let mut stream = server.connect();
    write!(stream, "PATCH {session} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n").unwrap();
    // A byte at a time, with hardly a pause, is far from enough: the answer comes and ends it.
    let mut reader = stream.try_clone().unwrap();
    let trickling = std::thread::spawn(move || {
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    assert_eq!(read(&mut reader).status, 408);
    drop(reader);
    server.push("quick", &vec![7; 200_000]);
    trickling.join().unwrap();
}
