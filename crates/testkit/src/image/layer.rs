//! Layers: from chosen files, from a seed, from a real folder.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use pier_oci::{Algorithm, Digest, Hasher, MediaType};
use tar::{EntryType, Header};

use super::{Content, Format};

/// A layer's content, ready to be named by images.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(super) content: Content,
    /// The digest of the tar in it; of the content itself when that is no tar.
    pub(super) diff_id: Digest,
    pub(super) packing: Packing,
}

/// How a layer's tar is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Tar,
    /// gzip, its fastest level.
    Gzip,
    /// Zstandard, its default level.
    Zstd,
}

/// Files that become a layer, in the order in which they were named. All belong to root and are from 1970.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    entries: Vec<(String, Entry)>,
}

#[derive(Clone, Debug)]
enum Entry {
    Folder,
    File { mode: u32, content: Bytes },
    Link { target: String },
}

impl Tree {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file that its owner may write and all may read.
    #[must_use]
    pub fn file(self, path: &str, content: impl Into<Bytes>) -> Self {
        self.entry(path, Entry::File { mode: 0o644, content: content.into() })
    }

    /// A file that all may run.
    #[must_use]
    pub fn program(self, path: &str, content: impl Into<Bytes>) -> Self {
        self.entry(path, Entry::File { mode: 0o755, content: content.into() })
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        self.entry(path, Entry::Link { target: target.to_owned() })
    }

    /// A folder, which files in it do not need.
    #[must_use]
    pub fn folder(self, path: &str) -> Self {
        self.entry(path, Entry::Folder)
    }

    /// The mark that hides what lower layers have at this path (image specification, "Whiteouts").
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let marked = match path.rsplit_once('/') {
            Some((folder, name)) => format!("{folder}/.wh.{name}"),
            None => format!(".wh.{path}"),
        };
        self.file(&marked, Bytes::new())
    }

    fn entry(mut self, path: &str, entry: Entry) -> Self {
        self.entries.push((path.to_owned(), entry));
        self
    }

    /// The layer.
    ///
    /// # Panics
    /// When a path cannot stand in a tar, such as an empty one.
    #[expect(clippy::expect_used, reason = "memory takes all bytes, and a path is the test's own")]
    pub fn pack(&self, packing: Packing) -> Layer {
        let mut packer = Packer::new(Vec::new(), packing).expect("memory takes bytes");
        let mut tar = tar::Builder::new(&mut packer);
        for (path, entry) in &self.entries {
            append(&mut tar, path, entry).expect("a path that a tar can hold");
        }
        tar.finish().expect("memory takes bytes");
        drop(tar);
        let (bytes, diff_id) = packer.finish().expect("memory takes bytes");
        Layer { content: Content::Memory(bytes.into()), diff_id, packing }
    }
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, entry: &Entry) -> io::Result<()> {
    match entry {
        Entry::Folder => tar.append_data(&mut header(EntryType::Directory, 0o755, 0), path, io::empty()),
        Entry::File { mode, content } => {
            tar.append_data(&mut header(EntryType::Regular, *mode, content.len() as u64), path, &content[..])
        }
        Entry::Link { target } => tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target),
    }
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

impl Layer {
    /// So many bytes from a seed: no tar, and nothing that could be compressed. For tests that move layers and do not look into them.
    pub fn random(seed: u64, bytes: usize) -> Self {
        let content = random(seed, bytes);
        Self { diff_id: Digest::sha256(&content), content: Content::Memory(content), packing: Packing::Tar }
    }

    /// What can be read below a real folder, in order of the names, until its files come to `bytes`. Permissions and links are kept;
    /// owners, times, devices and sockets are not. The content goes through a temporary file and not through memory.
    pub fn from_folder(folder: &Path, bytes: u64, packing: Packing) -> io::Result<Self> {
        let file = tempfile::NamedTempFile::new()?;
        let (file, path) = file.into_parts();
        let mut packer = Packer::new(BufWriter::new(file), packing)?;
        let mut tar = tar::Builder::new(&mut packer);
        let mut left = bytes;
        append_folder(&mut tar, folder, Path::new(""), &mut left)?;
        tar.finish()?;
        drop(tar);
        let (mut file, diff_id) = packer.finish()?;
        file.flush()?;
        Ok(Self { content: Content::File(Arc::new(path)), diff_id, packing })
    }

    /// The digest of the tar in it, before it was packed.
    pub fn diff_id(&self) -> Digest {
        self.diff_id
    }

    /// Its bytes as they are pushed.
    pub fn content(&self) -> &Content {
        &self.content
    }

    #[expect(clippy::expect_used, reason = "a constant text")]
    pub(super) fn media_type(&self, format: Format) -> MediaType {
        match (format, self.packing) {
            (Format::Oci, Packing::Tar) => MediaType::OCI_LAYER,
            (Format::Oci, Packing::Gzip) => MediaType::OCI_LAYER_GZIP,
            (Format::Oci, Packing::Zstd) => MediaType::OCI_LAYER_ZSTD,
            (Format::Docker, Packing::Gzip) => MediaType::DOCKER_LAYER,
            (Format::Docker, Packing::Tar) => {
                "application/vnd.docker.image.rootfs.diff.tar".parse().expect("a media type")
            }
            (Format::Docker, Packing::Zstd) => {
                "application/vnd.docker.image.rootfs.diff.tar.zstd".parse().expect("a media type")
            }
        }
    }
}

/// So many bytes that are the same for the same seed (SplitMix64).
pub fn random(seed: u64, bytes: usize) -> Bytes {
    let mut state = seed;
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        content.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    content.truncate(bytes);
    content.into()
}

/// Depth first. What cannot be read, or vanishes meanwhile, is left out: the folder is a living machine's.
fn append_folder(
    tar: &mut tar::Builder<impl Write>,
    folder: &Path,
    inside: &Path,
    left: &mut u64,
) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    for name in names {
        let (path, inside) = (folder.join(&name), inside.join(&name));
        let Ok(metadata) = path.symlink_metadata() else { continue };
        let mode = metadata.permissions().mode() & 0o7777;
        let kind = metadata.file_type();
        if *left == 0 {
            return Ok(());
        }
        if kind.is_dir() {
            tar.append_data(&mut header(EntryType::Directory, mode, 0), &inside, io::empty())?;
            append_folder(tar, &path, &inside, left)?;
        } else if kind.is_symlink() {
            let Ok(target) = fs::read_link(&path) else { continue };
            tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), &inside, target)?;
        } else if kind.is_file() {
            let Ok(file) = fs::File::open(&path) else { continue };
            let size = metadata.len();
            // A file that is written to meanwhile has to fill what its header has announced, and no more.
            let exactly = io::Read::take(io::Read::chain(file, io::repeat(0)), size);
            tar.append_data(&mut header(EntryType::Regular, mode, size), &inside, exactly)?;
            *left = left.saturating_sub(size);
        }
    }
    Ok(())
}

/// Hashes a tar on its way into a compression.
struct Packer<W: Write> {
    hasher: Hasher,
    inner: Packed<W>,
}

enum Packed<W: Write> {
    Tar(W),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Packer<W> {
    fn new(writer: W, packing: Packing) -> io::Result<Self> {
        let inner = match packing {
            Packing::Tar => Packed::Tar(writer),
            // No name and no time in the header.
            Packing::Gzip => Packed::Gzip(GzBuilder::new().mtime(0).write(writer, Compression::fast())),
            Packing::Zstd => Packed::Zstd(zstd::Encoder::new(writer, zstd::DEFAULT_COMPRESSION_LEVEL)?),
        };
        Ok(Self { hasher: Hasher::new(Algorithm::Sha256), inner })
    }

    /// What was written into, and the digest of what went in.
    fn finish(self) -> io::Result<(W, Digest)> {
        let writer = match self.inner {
            Packed::Tar(writer) => writer,
            Packed::Gzip(encoder) => encoder.finish()?,
            Packed::Zstd(encoder) => encoder.finish()?,
        };
        Ok((writer, self.hasher.finish()))
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.inner {
            Packed::Tar(writer) => writer.write(bytes),
            Packed::Gzip(encoder) => encoder.write(bytes),
            Packed::Zstd(encoder) => encoder.write(bytes),
        }?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.inner {
            Packed::Tar(writer) => writer.flush(),
            Packed::Gzip(encoder) => encoder.flush(),
            Packed::Zstd(encoder) => encoder.flush(),
        }
    }
}
