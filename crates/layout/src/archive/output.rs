//! Where an archive is written to, and the tar that is written.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read as _, Write},
    path::{Path, PathBuf},
};

use pier_content::{Error, Result};
use pier_oci::{Algorithm, Digest};
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::blob_name;
use crate::{
    folder::BLOBS,
    sys::{At as _, Folder, invalid, sync_data},
};

/// Bytes handed to a stream at once.
const CHUNK: usize = 1 << 20;

/// Where an archive goes.
pub enum ArchiveOutput {
    /// A file, which appears or is replaced when the archive is complete. A link to a file stays one.
    File(PathBuf),
    /// A stream, such as standard output.
    Stream {
        /// The stream. Nothing is written to it before the archive is complete.
        writer: Box<dyn Write + Send>,
        /// The folder where the archive's content is kept until then.
        staging: PathBuf,
    },
}

impl fmt::Debug for ArchiveOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Stream { staging, .. } => {
                f.debug_struct("Stream").field("staging", staging).finish_non_exhaustive()
            }
        }
    }
}

/// What an archive holds.
pub(crate) struct Contents {
    /// Files by name, in the order in which they are written.
    pub(crate) documents: Vec<(&'static str, Vec<u8>)>,
    /// Blobs, which lie in the staged layout.
    pub(crate) blobs: Vec<Digest>,
}

impl ArchiveOutput {
    /// The path, for people.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Stream { .. } => PathBuf::from("-"),
        }
    }

    /// The same with links followed, so that what they lead to is replaced and not they.
    ///
    /// # Errors
    /// [`Invalid`](Error::Invalid) for what is no file: a folder, or a device, which would be replaced by a file.
    pub(crate) fn resolved(self) -> Result<Self> {
        let Self::File(path) = self else { return Ok(self) };
        match fs::canonicalize(&path) {
            Ok(real) if real.is_file() => Ok(Self::File(real)),
            Ok(real) if real.is_dir() => Err(invalid(&path, "is a folder")),
            Ok(_) => Err(invalid(&path, "is neither a file nor a folder; standard output is written `-`")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::File(path)),
            Err(error) => Err(error).at("open", &path),
        }
    }

    /// A private folder for the content, where it can become the archive: beside the file. It goes with its owner, or
    /// stays behind, as `.pier-…`, when the process is killed.
    pub(crate) fn stage(&self) -> Result<TempDir> {
        let folder = match self {
            Self::File(path) => parent(path),
            Self::Stream { staging, .. } => staging.as_path(),
        };
        tempfile::Builder::new().prefix(".pier-").tempdir_in(folder).at("make a temporary folder in", folder)
    }

    /// Writes the archive from what was staged. Waits for the disk.
    pub(crate) fn write(self, contents: &Contents, stage: &TempDir, layout: &Path) -> Result<()> {
        match self {
            Self::Stream { writer, .. } => {
                let path = Path::new("-");
                let mut writer = BufWriter::with_capacity(CHUNK, writer);
                pack(&mut writer, contents, layout).at("write", path)?;
                writer.flush().at("write", path)
            }
            Self::File(path) => {
                let temporary = stage.path().join("archive.tar");
                let file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(&temporary)
                    .at("create", &temporary)?;
                let mut writer = BufWriter::with_capacity(CHUNK, file);
                pack(&mut writer, contents, layout).at("write", &temporary)?;
                let file = writer
                    .into_inner()
                    .map_err(|error| Error::io("write", &temporary, error.into_error()))?;
                sync_data(&file, &temporary)?;
                fs::rename(&temporary, &path).at("rename to", &path)?;
                Folder::open(parent(&path))?.sync()
            }
        }
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The tar: small files first, so that a reader from front to back knows what the blobs are, and blobs in the order of
/// their digests. Owners, times and modes are the same for all, so the same content gives the same bytes.
fn pack(writer: &mut impl Write, contents: &Contents, layout: &Path) -> io::Result<()> {
    let mut tar = tar::Builder::new(writer);
    for (name, bytes) in &contents.documents {
        tar.append_data(&mut header(EntryType::Regular, 0o644, bytes.len() as u64), name, bytes.as_slice())?;
    }
    let mut blobs = contents.blobs.clone();
    blobs.sort_unstable();
    blobs.dedup();
    let folder = |name: String| (header(EntryType::Directory, 0o755, 0), name);
    let (mut first, name) = folder(format!("{BLOBS}/"));
    tar.append_data(&mut first, name, io::empty())?;
    let mut entered: Option<Algorithm> = None;
    for digest in &blobs {
        if entered != Some(digest.algorithm()) {
            entered = Some(digest.algorithm());
            let (mut next, name) = folder(format!("{BLOBS}/{}/", digest.algorithm()));
            tar.append_data(&mut next, name, io::empty())?;
        }
        let name = blob_name(digest);
        let file = File::open(layout.join(&name))?;
        let size = file.metadata()?.len();
        let mut content = file.take(size);
        tar.append_data(&mut header(EntryType::Regular, 0o644, size), &name, &mut content)?;
        if content.limit() != 0 {
            // The header is written: what follows would be read as content.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    tar.finish()
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
