//! Each packing, whole and broken.

use std::io::{BufReader, Write as _};

use flate2::{Compression as Level, write::GzEncoder};

use super::*;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).unwrap()
}

fn content() -> Vec<u8> {
    (0..200_000_u32).flat_map(|number| (number / 3).to_le_bytes()).collect()
}

/// Gives a byte a time, as the worst of networks does.
struct Dripping<'a>(&'a [u8]);

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

/// Unpacks; gives the packing with the content.
fn inflate(packed: &[u8], limit: u64) -> io::Result<(Compression, Vec<u8>)> {
    let mut whole = Vec::new();
    let mut reader = Inflate::new(packed, limit)?;
    reader.read_to_end(&mut whole)?;
    let mut dripped = Vec::new();
    Inflate::new(BufReader::new(Dripping(packed)), limit)?.read_to_end(&mut dripped)?;
    assert!(dripped == whole, "the same in any pieces");
    Ok((reader.compression(), whole))
}

#[track_caller]
fn gives(packed: &[u8], compression: Compression, expected: &[u8]) {
    let (found, whole) = inflate(packed, u64::MAX).unwrap();
    assert_eq!(found, compression);
    assert!(whole == expected, "{} bytes where {} were packed", whole.len(), expected.len());
}

#[test]
fn the_first_bytes_decide_how_content_is_read() {
    let content = content();
    gives(&content, Compression::None, &content);
    gives(&gzip(&content), Compression::Gzip, &content);
    gives(&zstandard(&content), Compression::Zstd, &content);
    gives(b"", Compression::None, b"");
    gives(b"tar", Compression::None, b"tar");
    gives(&gzip(b""), Compression::Gzip, b"");
    gives(&zstandard(b""), Compression::Zstd, b"");
}

#[test]
fn members_and_frames_behind_one_another_are_one_content() {
    let (first, second) = (b"first ".as_slice(), b"second".as_slice());
    gives(&[gzip(first), gzip(second)].concat(), Compression::Gzip, b"first second");
    gives(&[zstandard(first), zstandard(second)].concat(), Compression::Zstd, b"first second");
    // What is to be skipped, as zstd:chunked puts it behind, and others in front.
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    gives(&[zstandard(first), skipped.to_vec()].concat(), Compression::Zstd, first);
    gives(&[skipped.to_vec(), zstandard(first)].concat(), Compression::Zstd, first);
}

#[track_caller]
fn broken(packed: &[u8], kinds: &[io::ErrorKind]) {
    let error = inflate(packed, u64::MAX).unwrap_err();
    assert!(kinds.contains(&error.kind()), "{:?}: {error}", error.kind());
}

#[test]
fn what_is_cut_off_is_an_error_at_every_length() {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    let content = b"some content that is long enough";
    for packed in [gzip(content), zstandard(content)] {
        for length in MAGIC_BYTES..packed.len() {
            broken(&packed[..length], &[UnexpectedEof, InvalidData, InvalidInput]);
        }
    }
}

#[test]
fn what_is_damaged_or_has_something_behind_it_is_an_error() {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    let kinds = [InvalidData, InvalidInput, Other, UnexpectedEof];
    let packed = gzip(&content());
    let mut damaged = packed.clone();
    // The checksum is behind the content, so all of that was read by then.
    let checksum = damaged.len() - 6;
    damaged[checksum] ^= 1;
    broken(&damaged, &kinds);
    broken(&[packed, b"more".to_vec()].concat(), &kinds);
    broken(&[zstandard(&content()), b"more".to_vec()].concat(), &kinds);
}

#[test]
fn nothing_is_given_behind_the_limit() {
    let content = vec![0; 1 << 20];
    for packed in [content.clone(), gzip(&content), zstandard(&content)] {
        assert_eq!(inflate(&packed, 1 << 20).unwrap().1.len(), 1 << 20);
        let error = inflate(&packed, (1 << 20) - 1).unwrap_err();
        let inner = error.into_inner().unwrap().downcast::<InflateError>().unwrap();
        assert_eq!(*inner, InflateError::TooLarge { limit: (1 << 20) - 1 });
    }
}

#[test]
fn what_only_some_engines_unpack_is_taken_for_nothing_else() {
    for (beginning, name) in [(&b"BZh91AY&SY"[..], "bzip2"), (b"\xfd7zXZ\0\0\x04", "xz")] {
        let error = Inflate::new(beginning, u64::MAX).unwrap_err().into_inner().unwrap();
        assert_eq!(*error.downcast::<InflateError>().unwrap(), InflateError::Foreign(name));
    }
}

#[track_caller]
fn declares(media_type: &str, expected: Option<Compression>) {
    assert_eq!(Compression::declared(&media_type.parse().unwrap()), expected, "{media_type}");
}

#[test]
fn media_types_of_layers_say_how_they_are_packed() {
    let docker = "application/vnd.docker.image.rootfs";
    let oci = "application/vnd.oci.image.layer";
    declares(&format!("{oci}.v1.tar"), Some(Compression::None));
    declares(&format!("{oci}.v1.tar+gzip"), Some(Compression::Gzip));
    declares(&format!("{oci}.v1.tar+zstd"), Some(Compression::Zstd));
    declares(&format!("{oci}.nondistributable.v1.tar+gzip"), Some(Compression::Gzip));
    declares(&format!("{docker}.diff.tar.gzip"), Some(Compression::Gzip));
    declares(&format!("{docker}.diff.tar"), Some(Compression::None));
    declares(&format!("{docker}.foreign.diff.tar.gzip"), Some(Compression::Gzip));
    declares(&format!("{oci}.v1.tar+brotli"), None);
    declares("application/vnd.example", None);
}
