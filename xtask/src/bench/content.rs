//! Large blobs whose bytes cost nothing to make: one random MiB again and again, with a number in the last that makes each blob unique.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

/// The unit in which blobs are made, hashed and written.
pub(super) const MIB: usize = 1 << 20;

/// How what is compressed with gzip begins: a header without a name, and a stored block that is not the last.
pub(super) const GZIP: [u8; 11] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 0];

/// How much docker and skopeo put in one HTTP chunk: the buffer of Go's `io.Copy`.
const CHUNK: usize = 32 << 10;

/// Blobs of one size.
pub(super) struct Content {
    mebibytes: usize,
    pattern: Vec<u8>,
    /// `pattern` as HTTP chunks.
    framed: Vec<u8>,
    /// The hash of all but the last MiB, so that another blob costs one MiB of hashing.
    prefix: Sha256,
}

/// One blob: its digest and its last MiB.
pub(super) struct Blob<'a> {
    content: &'a Content,
    last: Vec<u8>,
    digest: String,
}

impl Content {
    pub(super) fn new(mebibytes: usize) -> Self {
        let mut pattern = random(MIB);
        pattern[..GZIP.len()].copy_from_slice(&GZIP);
        let mut prefix = Sha256::new();
        for _ in 1..mebibytes {
            prefix.update(&pattern);
        }
        Self { mebibytes, framed: frame(&pattern), pattern, prefix }
    }

    /// Blobs with different numbers have different digests.
    pub(super) fn blob(&self, number: u64) -> Blob<'_> {
        let mut last = self.pattern.clone();
        last[16..24].copy_from_slice(&number.to_le_bytes());
        let digest = digest(self.prefix.clone().chain_update(&last));
        Blob { content: self, last, digest }
    }

    pub(super) fn size(&self) -> u64 {
        self.mebibytes as u64 * MIB as u64
    }
}

impl Blob<'_> {
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// `written` is told of each piece, how long it was.
    pub(super) fn write(
        &self,
        mut to: impl Write,
        mut written: impl FnMut(usize) -> io::Result<()>,
    ) -> io::Result<()> {
        self.pieces().try_for_each(|piece| {
            to.write_all(piece)?;
            written(piece.len())
        })
    }

    /// As the body of a request with `Transfer-Encoding: chunked`, which is how docker and skopeo push. One system call a MiB.
    pub(super) fn write_chunked(
        &self,
        mut to: impl Write,
        mut written: impl FnMut(usize) -> io::Result<()>,
    ) -> io::Result<()> {
        for _ in 1..self.content.mebibytes {
            to.write_all(&self.content.framed)?;
            written(MIB)?;
        }
        to.write_all(&frame(&self.last))?;
        to.write_all(b"0\r\n\r\n")
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::repeat_n(self.content.pattern.as_slice(), self.content.mebibytes - 1)
            .chain([self.last.as_slice()])
    }
}

pub(super) fn digest(hash: Sha256) -> String {
    use std::fmt::Write as _;
    hash.finalize().iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    bytes
        .chunks(CHUNK)
        .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .collect()
}

/// Bytes that do not compress, the same in every run (xorshift64).
fn random(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length / 8).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_its_digest_however_it_is_written() {
        let content = Content::new(3);
        let blob = content.blob(7);
        let mut plain = Vec::new();
        blob.write(&mut plain, |_| Ok(())).unwrap();
        assert_eq!(plain.len() as u64, content.size());
        assert_eq!(digest(Sha256::new_with_prefix(&plain)), blob.digest());
        assert_ne!(content.blob(8).digest(), blob.digest());

        let mut chunked = Vec::new();
        blob.write_chunked(&mut chunked, |_| Ok(())).unwrap();
        let (mut rest, mut joined) = (chunked.as_slice(), Vec::new());
        while !rest.is_empty() {
            let line = rest.windows(2).position(|pair| pair == b"\r\n").unwrap();
            let length = usize::from_str_radix(str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            joined.extend_from_slice(&rest[line + 2..line + 2 + length]);
            rest = &rest[line + 2 + length + 2..];
        }
        assert_eq!(joined, plain);
    }
}
