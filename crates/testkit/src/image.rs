//! Images made to measure: chosen content, sizes, compressions, platforms, media types, and lies.
//!
//! ```
//! use pier_testkit::image::{ImageBuilder, IndexBuilder, Packing, Tree};
//!
//! let layer = Tree::new().file("etc/motd", "hello").link("motd", "etc/motd").pack(Packing::Gzip);
//! let image = |architecture| ImageBuilder::new().platform("linux", architecture, None).layer(layer.clone()).build();
//! let (amd64, arm64) = (image("amd64"), image("arm64"));
//! let index = IndexBuilder::new().child(&amd64).child(&arm64).attestation(&amd64).build();
//! // Two images over one layer, and an attestation with a config and a layer of its own.
//! assert_eq!((index.manifests.len(), index.blobs.len()), (4, 5));
//! ```
//!
//! | module | makes |
//! |---|---|
//! | [`layer`] | a layer from chosen files, from a seed, or from a real folder |
//! | [`single`] | an image or an artifact: config, layers, annotations, subject |
//! | [`index`] | an index: platforms, nesting, attestations as BuildKit writes them |
//! | [`hostile`] | what nobody should send, and somebody will |
//! | [`layout`] | any of these as an OCI layout on disk, for other tools to read |
//!
//! Everything is deterministic: the same calls give the same bytes and digests, whenever and wherever they are made. What is built is
//! plain data ([`BuiltImage`]), to be pushed by any means: through a store, over HTTP, by another tool.

pub mod hostile;
pub mod index;
pub mod layer;
pub mod layout;
pub mod single;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use pier_oci::{Algorithm, Descriptor, Digest, Hasher, Manifest, ManifestError};

pub use hostile::Hostile;
pub use index::IndexBuilder;
pub use layer::{Layer, Packing, Tree};
pub use single::ImageBuilder;

use crate::engine;

/// What a builder made. A push sends the blobs, then the manifests in their order, and names the last of them.
#[derive(Clone, Debug)]
pub struct BuiltImage {
    /// Each blob once.
    pub blobs: Vec<BuiltBlob>,
    /// Each manifest once, children before those who name them; the last is the root.
    pub manifests: Vec<BuiltManifest>,
    /// What a tag would name. Has a platform when it is an image for one.
    pub root: Descriptor,
}

/// A manifest or an index as its author wrote it. Of a hostile one the bytes may be anything.
#[derive(Clone, Debug)]
pub struct BuiltManifest {
    /// As those who name it describe it.
    pub descriptor: Descriptor,
    /// What is sent.
    pub bytes: Bytes,
}

/// A config or a layer. Of a hostile image the content may be other than what the descriptor says.
#[derive(Clone, Debug)]
pub struct BuiltBlob {
    /// As the manifest describes it.
    pub descriptor: Descriptor,
    /// What is sent.
    pub content: Content,
}

/// Bytes in memory, or in a temporary file that goes with its last user.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory.
    Memory(Bytes),
    /// In a file: large layers are never in memory as a whole.
    File(Arc<tempfile::TempPath>),
}

/// Whether documents have the media types of OCI or those of Docker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `application/vnd.oci.image.…`
    #[default]
    Oci,
    /// `application/vnd.docker.…`
    Docker,
}

impl BuiltManifest {
    /// Reads the bytes as whoever receives them would.
    pub fn parse(&self) -> Result<Manifest, ManifestError> {
        let Descriptor { media_type, digest, .. } = &self.descriptor;
        Manifest::parse_expecting(self.bytes.clone(), Some(media_type), *digest)
    }
}

impl BuiltImage {
    /// All bytes of its blobs, as they are described.
    pub fn blob_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.descriptor.size).sum()
    }

    /// Takes what is not in it yet from another one, before its own manifests.
    fn adopt(&mut self, other: &Self) {
        let known: HashSet<Digest> = self.blobs.iter().map(|blob| blob.descriptor.digest).collect();
        self.blobs
            .extend(other.blobs.iter().filter(|blob| !known.contains(&blob.descriptor.digest)).cloned());
        let known: HashSet<Digest> =
            self.manifests.iter().map(|manifest| manifest.descriptor.digest).collect();
        let new = other.manifests.iter().filter(|manifest| !known.contains(&manifest.descriptor.digest));
        self.manifests.extend(new.cloned());
    }
}

impl Content {
    /// Opens it from its first byte on.
    pub fn open(&self) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(match self {
            Self::Memory(bytes) => Box::new(io::Cursor::new(bytes.clone())),
            Self::File(path) => Box::new(File::open(&**path)?),
        })
    }

    /// All of it in memory.
    pub fn bytes(&self) -> io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes.clone()),
            Self::File(path) => std::fs::read(&**path).map(Bytes::from),
        }
    }

    /// What it hashes to, and how many bytes it has.
    pub fn measure(&self, algorithm: Algorithm) -> io::Result<(Digest, u64)> {
        let mut hasher = Hasher::new(algorithm);
        let mut reader = self.open()?;
        let mut buffer = vec![0; 1 << 20];
        let mut size = 0;
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok((hasher.finish(), size)),
                read => {
                    hasher.update(&buffer[..read]);
                    size += read as u64;
                }
            }
        }
    }
}

/// What the image of [`busybox`] prints when it is run as it is.
pub const GREETING: &str = "hello from an image\n";

/// An image of this machine's static busybox, with a link for each of a few of its applets: the smallest image that runs and can do
/// something. It prints [`GREETING`]. It is for `linux/amd64` by what it says, whatever the machine is.
///
/// # Errors
/// [`engine::Error::Missing`] where there is no busybox, which [`or_skip`](crate::skip::or_skip) turns into a skip.
pub fn busybox() -> Result<BuiltImage, engine::Error> {
    busybox_for("amd64")
}

/// The same that says it is for another architecture.
pub fn busybox_for(architecture: &str) -> Result<BuiltImage, engine::Error> {
    let path = engine::static_busybox()?;
    let program =
        std::fs::read(path).map_err(|source| engine::Error::Io { operation: "read busybox", source })?;
    let mut tree = Tree::new().program("bin/busybox", program).folder("tmp");
    for applet in ["cat", "echo", "ls", "mkdir", "rm", "sh", "sleep", "true"] {
        tree = tree.link(&format!("bin/{applet}"), "busybox");
    }
    let image = ImageBuilder::new()
        .platform("linux", architecture, None)
        .layer(tree.pack(Packing::Gzip))
        .entrypoint(&["/bin/busybox"])
        .command(&["echo", GREETING.trim_end()]);
    Ok(image.build())
}

/// An image of one gzip layer: everything that can be read below a real folder. The layer goes through a temporary file, so that it may
/// be larger than memory.
pub fn from_folder(folder: &Path) -> io::Result<BuiltImage> {
    Ok(ImageBuilder::new().layer(Layer::from_folder(folder, u64::MAX, Packing::Gzip)?).build())
}
