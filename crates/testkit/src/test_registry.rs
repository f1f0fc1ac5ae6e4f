//! A registry in the process, for one test alone.
//!
//! It is the real one: Pier's registry over Pier's store, behind real connections on a port of loopback that the system chose. It runs on
//! a thread and a runtime of its own, so that it answers while a test blocks, works in tests that are not asynchronous, and ends with the
//! value, whoever has connections open.
//!
//! ```
//! use pier_testkit::{image::{ImageBuilder, Packing, Tree}, test_registry::TestRegistry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), pier_testkit::test_registry::Error> {
//! let registry = TestRegistry::start().await?;
//! let layer = Tree::new().file("etc/motd", "hello").pack(Packing::Gzip);
//! let image = ImageBuilder::new().layer(layer).build();
//! let digest = registry.push(&image, "library/alpine:latest").await?;
//!
//! // What any client pulls now: `127.0.0.1:PORT/library/alpine:latest`.
//! let reference = registry.image_ref("library/alpine:latest");
//! assert!(reference.starts_with("127.0.0.1:"));
//! assert_eq!(digest, image.root.digest);
//! # Ok(())
//! # }
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use pier_content::{
    BlobStore, Catalog, Claim, Commit, Completeness, Ingest, IngestKey, Memory, PutManifest, TagRules,
};
use pier_oci::{Digest, ManifestError, NameError, RepositoryName, Tag};
use pier_registry::{FileSocket, Registry, SessionKey, Settings};
use pier_store::{Store, StoreOptions};
use tokio::net::TcpStream;

use crate::image::{BuiltBlob, BuiltImage};
use crate::server::{Serve, Server};

/// Bytes that are written at once by [`TestRegistry::push`].
const PUSH_BYTES: usize = 1 << 20;

/// A registry that runs until it is dropped. Any number of them run side by side.
pub struct TestRegistry {
    server: Server,
    #[cfg(feature = "mock")]
    registry: Registry,
    blobs: Arc<dyn BlobStore>,
    catalog: Arc<dyn Catalog>,
    completeness: Completeness,
    /// Behind the server, so that the folder goes last.
    _folder: Option<tempfile::TempDir>,
}

/// What a registry is to be like. The default suits most tests: a store in a temporary folder, complete manifests.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where content is.
    pub storage: Storage,
    /// Whether a manifest's children have to be there.
    pub completeness: Completeness,
}

/// Where a registry's content is.
#[derive(Clone, Debug, Default)]
pub enum Storage {
    /// In a store on disk, in a folder that goes with the registry.
    #[default]
    TemporaryFolder,
    /// In a store on disk, in this folder, which is made when it is not there and stays.
    Folder(PathBuf),
    /// In memory.
    Memory,
}

impl Default for Options {
    fn default() -> Self {
        Self { storage: Storage::default(), completeness: Completeness::Strict }
    }
}

/// Why a registry could not be started or an image not be put into it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store cannot be opened.
    #[error("cannot open the test registry's store")]
    Open(#[from] pier_store::OpenError),
    /// The machine failed.
    #[error("cannot {operation}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// It is not `repository:tag`.
    #[error("`{name}` is not the name of an image here")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong with it.
        #[source]
        source: NameError,
    },
    /// A manifest that is none, or is another than its digest says.
    #[error("the registry refuses a manifest")]
    Manifest(#[from] ManifestError),
    /// The store refuses or fails.
    #[error("the registry's store fails")]
    Content(#[from] pier_content::Error),
}

impl TestRegistry {
    /// Starts an empty registry over a store in a temporary folder.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(Options::default()).await
    }

    /// Starts a registry that is like this.
    pub async fn start_with(options: Options) -> Result<Self, Error> {
        let Options { storage, completeness } = options;
        let (folder, path) = match storage {
            Storage::Memory => (None, None),
            Storage::Folder(path) => (None, Some(path)),
            Storage::TemporaryFolder => {
                let folder = tempfile::tempdir()
                    .map_err(|source| Error::Io { operation: "make a temporary folder", source })?;
                let path = folder.path().to_owned();
                (Some(folder), Some(path))
            }
        };
        let (blobs, catalog): (Arc<dyn BlobStore>, Arc<dyn Catalog>) = match path {
            Some(path) => {
                let store = Arc::new(Store::open(&path, StoreOptions::default())?);
                (store.clone(), store)
            }
            None => {
                let memory = Arc::new(Memory::default());
                (memory.clone(), memory)
            }
        };
        // Nobody but this process can reach it, so that sessions need no secret; and a push goes on after a restart on the same folder.
        let settings = Settings { completeness, ..Settings::new(SessionKey::new([0; 32])) };
        let registry = Registry::new(blobs.clone(), catalog.clone(), settings);
        let server = Server::start("test-registry", Arc::new(Api(registry.clone())))
            .await
            .map_err(|source| Error::Io { operation: "listen on a port of loopback", source })?;
        Ok(Self {
            server,
            #[cfg(feature = "mock")]
            registry,
            blobs,
            catalog,
            completeness,
            _folder: folder,
        })
    }

    /// Where it listens: `127.0.0.1` and a port of the system's choice.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// What a client calls the image `name` of this registry: `127.0.0.1:PORT/name`.
    pub fn image_ref(&self, name: &str) -> String {
        format!("{}/{name}", self.address())
    }

    /// The registry itself, for a server that speaks in its place.
    #[cfg(feature = "mock")]
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The store's blobs, to look into or to break.
    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.blobs
    }

    /// The store's names.
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.catalog
    }

    /// Puts an image into the registry as `repository:tag`, without a request: blobs first, manifests then, the tag last. What is there
    /// already is linked. Gives the root's digest.
    pub async fn push(&self, image: &BuiltImage, name: &str) -> Result<Digest, Error> {
        let (repository, tag) = parse(name)?;
        for blob in &image.blobs {
            self.put_blob(&repository, blob).await?;
        }
        for manifest in &image.manifests {
            let last = manifest.descriptor.digest == image.root.digest;
            let put = PutManifest {
                repository: repository.clone(),
                manifest: Arc::new(manifest.parse()?),
                tags: if last { vec![tag.clone()] } else { Vec::new() },
                completeness: self.completeness,
                rules: TagRules::default(),
            };
            self.catalog.put_manifest(put).await?;
        }
        Ok(image.root.digest)
    }

    async fn put_blob(&self, repository: &RepositoryName, blob: &BuiltBlob) -> Result<(), Error> {
        let (digest, size) = (blob.descriptor.digest, blob.descriptor.size);
        let bytes = blob.content.bytes().map_err(|source| Error::Io { operation: "read a layer", source })?;
        loop {
            match self.blobs.ingest(IngestKey::Blob { digest, size: Some(size) }).await? {
                Ingest::Present(_) => {
                    self.catalog.link(repository, &digest, Claim::Proven).await?;
                    return Ok(());
                }
                // Another push of this test is at it. When that fails it is this one's turn.
                Ingest::Following(following) => drop(following.committed().await),
                Ingest::Filling(filling) => {
                    // Whoever was at it before may have been a liar.
                    filling.reset().await?;
                    let outcome = fill(&*filling, &bytes).await;
                    let commit = Commit { digest, link: Some(repository.clone()) };
                    let outcome = match outcome {
                        Ok(()) => filling.commit(commit).await,
                        Err(error) => Err(error),
                    };
                    if outcome.is_err() {
                        // Nothing of a hostile image is left for the next push.
                        filling.abort().await?;
                    }
                    outcome?;
                    return Ok(());
                }
            }
        }
    }
}

/// What answers the connections.
struct Api(Registry);

impl Serve for Api {
    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let socket = FileSocket::new(stream);
        let service = self.0.connection(socket.queue());
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        // What goes wrong with a connection its client sees too, and the test is the client.
        let _ = builder.serve_connection(socket, service).await;
    }

    async fn settled(&self) {
        self.0.settled().await;
    }
}

async fn fill(filling: &dyn pier_content::Filling, bytes: &Bytes) -> pier_content::Result<()> {
    for start in (0..bytes.len()).step_by(PUSH_BYTES) {
        let end = bytes.len().min(start + PUSH_BYTES);
        filling.write_at(start as u64, vec![bytes.slice(start..end)]).await?;
    }
    Ok(())
}

fn parse(name: &str) -> Result<(RepositoryName, Tag), Error> {
    let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
    let wrong = |source| Error::Name { name: name.to_owned(), source };
    Ok((repository.parse().map_err(wrong)?, tag.parse().map_err(wrong)?))
}

impl fmt::Debug for TestRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRegistry").field("address", &self.address()).finish_non_exhaustive()
    }
}
