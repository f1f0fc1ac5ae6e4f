//! Where an archive is read from, and how it becomes a file that can be read from any position.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use pier_content::{Error, Result, Subject};

use crate::sys::{At as _, invalid};

/// Bytes copied at once.
const CHUNK: usize = 1 << 20;

/// Bytes that a stream or a compressed archive may become: more than any image, less than a disk.
const SPOOLED: u64 = 64 << 30;

/// How packings begin.
const GZIP: &[u8] = &[0x1f, 0x8b];
const OTHERS: [(&[u8], &str); 3] =
    [(&[0x28, 0xb5, 0x2f, 0xfd], "zstd"), (b"BZh", "bzip2"), (&[0xfd, b'7', b'z', b'X', b'Z'], "xz")];

/// Where an archive comes from.
pub enum ArchiveInput {
    /// A file. A pipe that has a path is read as a stream.
    File(PathBuf),
    /// A stream, such as standard input. It is read to its end before anything else.
    Stream(Box<dyn Read + Send>),
}

/// Where what cannot be read from any position is kept meanwhile: streams, and archives that are compressed.
///
/// It is one file without a name, which goes with the process.
#[derive(Clone, Debug)]
pub struct Spool {
    /// The folder of the file.
    pub folder: PathBuf,
    /// Bytes that it may have. An archive that becomes larger is refused.
    pub limit: u64,
}

impl Spool {
    /// In a folder, with at most 64 GiB.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), limit: SPOOLED }
    }
}

impl fmt::Debug for ArchiveInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl ArchiveInput {
    /// The archive as a file that holds a tar as it is, and its path for people. Waits for the disk.
    pub(crate) fn into_file(self, spool: &Spool) -> Result<(File, PathBuf)> {
        match self {
            Self::Stream(reader) => {
                let path = PathBuf::from("-");
                let file = unpacked(reader, &path, spool)?;
                Ok((file, path))
            }
            Self::File(path) => {
                let mut file = File::open(&path).at("open", &path)?;
                let kind = file.metadata().at("stat", &path)?.file_type();
                if kind.is_dir() {
                    return Err(invalid(&path, "is a folder and no archive"));
                }
                if !kind.is_file() {
                    return Ok((unpacked(Box::new(file), &path, spool)?, path));
                }
                let mut magic = Vec::new();
                (&mut file).take(8).read_to_end(&mut magic).at("read", &path)?;
                file.seek(SeekFrom::Start(0)).at("seek", &path)?;
                refuse_others(&magic, &path)?;
                if magic.starts_with(GZIP) {
                    file = unpacked(Box::new(file), &path, spool)?;
                }
                Ok((file, path))
            }
        }
    }
}

/// What comes out of a stream, decompressed, as a file.
fn unpacked(mut reader: Box<dyn Read + Send>, path: &Path, spool: &Spool) -> Result<File> {
    let mut magic = Vec::new();
    reader.by_ref().take(8).read_to_end(&mut magic).at("read", path)?;
    refuse_others(&magic, path)?;
    let whole = io::Cursor::new(magic.clone()).chain(reader);
    if magic.starts_with(GZIP) {
        keep(MultiGzDecoder::new(whole), path, spool)
    } else {
        keep(whole, path, spool)
    }
}

fn keep(mut reader: impl Read, path: &Path, spool: &Spool) -> Result<File> {
    use std::io::Write as _;
    let mut file = tempfile::tempfile_in(&spool.folder).at("make a temporary file in", &spool.folder)?;
    let mut buffer = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) =>
            {
                return Err(invalid(path, format!("is no gzip file that can be read: {error}")));
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(invalid(path, "is cut short"));
            }
            Err(error) => return Err(error).at("read", path),
        };
        size += read as u64;
        if size > spool.limit {
            let subject = Subject::File(path.to_owned());
            return Err(Error::Size { subject, expected: spool.limit, actual: size, origin: None });
        }
        file.write_all(&buffer[..read]).at("write to a temporary file in", &spool.folder)?;
    }
}

fn refuse_others(magic: &[u8], path: &Path) -> Result<()> {
    match OTHERS.iter().find(|(prefix, _)| magic.starts_with(prefix)) {
        Some((_, name)) => {
            Err(invalid(path, format!("is compressed with {name}; only gzip and plain tar are read here")))
        }
        None => Ok(()),
    }
}
