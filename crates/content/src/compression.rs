//! How layers are packed, and reading what is in them.
//!
//! The bytes decide and not the media type: engines look at the first bytes of a layer and unpack what those say, so whoever goes by
//! the media type may see another image than the one that runs. What the media type says is kept apart ([`Compression::declared`]), so
//! that a difference can be told.
//!
//! [`Inflate`] reads in small pieces and holds no more than a decoder's window, however large the content; it gives up behind a limit, since
//! a kilobyte can unpack to gigabytes.

use std::{
    fmt,
    io::{self, BufRead, Chain, Cursor, Read},
};

use flate2::bufread::MultiGzDecoder;
use pier_oci::MediaType;
use serde::Serialize;

/// How content is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952), of one member or of several.
    Gzip,
    /// Zstandard (RFC 8878), of one frame or of several.
    Zstd,
}

/// First bytes that tell how content is packed.
pub const MAGIC_BYTES: usize = 6;

/// Why packed content cannot be read. It is the inner error of what [`Inflate`] gives, save for the errors of what it reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InflateError {
    /// Some engines unpack it and others do not, so it is not taken for a plain tar either.
    #[error("it is packed with {0}, which images do not use")]
    Foreign(&'static str),
    /// It goes on behind the limit.
    #[error("it unpacks to more than {limit} bytes")]
    TooLarge {
        /// Bytes that were allowed.
        limit: u64,
    },
}

impl Compression {
    /// What the first [`MAGIC_BYTES`] of content say; fewer only when there are no more.
    ///
    /// # Errors
    /// [`Foreign`](InflateError::Foreign) for what only some engines unpack.
    pub fn detect(beginning: &[u8]) -> Result<Self, InflateError> {
        match beginning {
            [0x1f, 0x8b, 8, ..] => Ok(Self::Gzip),
            // A frame, or one that is to be skipped and may stand in front (RFC 8878, sections 3.1.1 and 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err(InflateError::Foreign("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(InflateError::Foreign("xz")),
            _ => Ok(Self::None),
        }
    }

    /// What a layer's media type says; `None` for a type that is no layer's.
    pub fn declared(media_type: &MediaType) -> Option<Self> {
        let text = media_type.as_str();
        let packing = match text.strip_prefix("application/vnd.docker.image.rootfs.") {
            Some(docker) => docker.split_once("diff.tar")?.1.strip_prefix('.'),
            None => {
                let oci = text.strip_prefix("application/vnd.oci.image.layer.")?;
                oci.split_once("v1.tar")?.1.strip_prefix('+')
            }
        };
        match packing {
            None => Some(Self::None),
            Some("gzip") => Some(Self::Gzip),
            Some("zstd") => Some(Self::Zstd),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Reads what is packed in `R`. Blocks as `R` does.
pub struct Inflate<R: BufRead> {
    decoder: Decoder<Chain<Cursor<Vec<u8>>, R>>,
    compression: Compression,
    limit: u64,
    left: u64,
}

enum Decoder<R: BufRead> {
    None(R),
    Gzip(Box<MultiGzDecoder<R>>),
    Zstd(zstd::Decoder<'static, R>),
}

impl<R: BufRead> Inflate<R> {
    /// Looks at the first bytes. At most `limit` bytes are given.
    ///
    /// # Errors
    /// Those of reading, and [`InflateError::Foreign`].
    pub fn new(mut source: R, limit: u64) -> io::Result<Self> {
        let mut beginning = Vec::with_capacity(MAGIC_BYTES);
        source.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut beginning)?;
        let compression = Compression::detect(&beginning).map_err(refused)?;
        let whole = Cursor::new(beginning).chain(source);
        let decoder = match compression {
            Compression::None => Decoder::None(whole),
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(whole))),
            // Windows beyond 128 MiB are refused, which is the library's own limit.
            Compression::Zstd => Decoder::Zstd(zstd::Decoder::with_buffer(whole)?),
        };
        Ok(Self { decoder, compression, limit, left: limit })
    }

    /// How it is packed.
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

impl<R: BufRead> Read for Inflate<R> {
    /// # Errors
    /// [`InvalidData`](io::ErrorKind::InvalidData) for what is not packed as it seems, [`UnexpectedEof`](io::ErrorKind::UnexpectedEof)
    /// when its end is missing.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.decoder {
            Decoder::None(source) => source.read(buffer)?,
            Decoder::Gzip(decoder) => decoder.read(buffer)?,
            Decoder::Zstd(decoder) => decoder.read(buffer)?,
        };
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(refused(InflateError::TooLarge { limit: self.limit })),
        }
        Ok(read)
    }
}

impl<R: BufRead> fmt::Debug for Inflate<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compression, limit, left, .. } = self;
        f.debug_struct("Inflate")
            .field("compression", compression)
            .field("limit", limit)
            .field("left", left)
            .finish_non_exhaustive()
    }
}

fn refused(error: InflateError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
