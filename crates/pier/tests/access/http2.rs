//! HTTP/2 frame by frame: what clients are told, and floods that the protocol makes cheap for whoever sends them.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
};

use crate::server::{LIMIT, Server, Site, connect};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// RFC 9113, section 7.
const ENHANCE_YOUR_CALM: u32 = 11;

/// GET https://localhost/v2/ in HPACK: three entries of the static table, and a path and an authority that are written out.
const GET: &[u8] = b"\x82\x87\x04\x04/v2/\x41\x09localhost";

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The next frame; `None` at the end of the connection.
fn read(stream: &mut impl Read) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    let mut payload = vec![0; number(&head[..3]) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some(Frame { kind: head[3], flags: head[4], stream: number(&head[5..]), payload })
}

/// A connection that has said its preface, by prior knowledge.
#[track_caller]
fn plain(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).unwrap();
    stream
}

#[test]
fn clients_are_told_of_windows_that_cap_no_fast_link_and_of_limits() {
    let site = Site::new();
    let server = site.serve("--tls-cert @tls.crt --tls-key @tls.key");
    let mut stream = connect(server.address(), &site.client(&["h2"]));
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).unwrap();
    let settings = read(&mut stream).unwrap();
    assert_eq!((settings.kind, settings.flags, settings.stream), (SETTINGS, 0, 0));
    let settings: BTreeMap<u16, u32> = settings
        .payload
        .chunks_exact(6)
        .map(|entry| {
            (u16::from_be_bytes([entry[0], entry[1]]), u32::from_be_bytes(entry[2..].try_into().unwrap()))
        })
        .collect();
    // Streams at once, a stream's window, the largest frame, the longest head (RFC 9113, section 6.5.2).
    for (setting, value) in [(3, 100), (4, 4 << 20), (5, 256 << 10), (6, 32 << 10)] {
        assert_eq!(settings.get(&setting), Some(&value), "{settings:?}");
    }
    // The window that all streams share is no setting: it has 65,535 bytes until it is made larger (RFC 9113, section 6.9.2).
    let update = std::iter::from_fn(|| read(&mut stream)).find(|frame| frame.kind == WINDOW_UPDATE).unwrap();
    let more = u32::from_be_bytes(update.payload.try_into().unwrap());
    assert_eq!((update.stream, more), (0, (4 << 20) - 65_535));
}

#[test]
fn streams_that_are_begun_and_reset_by_the_thousand_end_the_connection() {
    let site = Site::new();
    let server = site.serve("");
    let mut stream = plain(&server);
    let flood: Vec<u8> = (0..2000_u32)
        .flat_map(|index| {
            let id = 2 * index + 1;
            let cancel = frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
            [frame(HEADERS, END_HEADERS | END_STREAM, id, GET), cancel].concat()
        })
        .collect();
    // It may end before all is sent.
    drop(stream.write_all(&flood));
    let mut farewell = None;
    while let Some(frame) = read(&mut stream) {
        if frame.kind == GOAWAY {
            farewell = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
        }
    }
    assert_eq!(farewell, Some(ENHANCE_YOUR_CALM));
    assert_eq!(server.ask("GET /v2/", &[], b"").status, 200);
}

#[test]
fn a_head_that_is_too_long_is_refused_unread() {
    let site = Site::new();
    let server = site.serve("");
    let mut stream = plain(&server);
    // Each field counts 32 bytes more than it has (RFC 9113, section 6.5.2), so these are too many while their frames are not too large.
    let field = [&b"\x00\x01x\x7f\x49"[..], &[b'y'; 200]].concat();
    let fields = field.repeat(150);
    let mut chunks = fields.chunks(8 << 10).peekable();
    stream.write_all(&frame(HEADERS, END_STREAM, 1, GET)).unwrap();
    while let Some(chunk) = chunks.next() {
        let flags = if chunks.peek().is_none() { END_HEADERS } else { 0 };
        stream.write_all(&frame(CONTINUATION, flags, 1, chunk)).unwrap();
    }
    let answer = loop {
        let frame = read(&mut stream).expect("an answer");
        if frame.stream == 1 {
            break frame;
        }
    };
    // An answer without a body, which a 200 here has.
    assert_eq!((answer.kind, answer.flags), (HEADERS, END_HEADERS | END_STREAM));
    assert!(answer.payload.first() != Some(&0x88), "200");
    // The connection goes on.
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 3, GET)).unwrap();
    let answer = loop {
        let frame = read(&mut stream).expect("an answer");
        if frame.stream == 3 {
            break frame;
        }
    };
    assert_eq!((answer.kind, answer.payload.first()), (HEADERS, Some(&0x88)));
}

#[test]
fn a_head_that_never_ends_ends_the_connection() {
    let site = Site::new();
    let server = site.serve("");
    let mut stream = plain(&server);
    stream.write_all(&frame(HEADERS, END_STREAM, 1, GET)).unwrap();
    let field = [&b"\x00\x01x\x7f\x49"[..], &[b'y'; 200]].concat();
    let more = frame(CONTINUATION, 0, 1, &field.repeat(39));
    let mut sent = 0;
    while stream.write_all(&more).is_ok() {
        sent += 1;
        assert!(sent < 10_000, "{sent} times 8 KiB of a head were taken");
    }
    assert_eq!(server.ask("GET /v2/", &[], b"").status, 200);
    assert!(server.process.resident_bytes().unwrap().peak < 96 << 20);
}
