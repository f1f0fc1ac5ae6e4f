//! A registry in the process, for one test alone.
//!
//! It is the real one: Pier's registry over Pier's store, behind real connections on a port of loopback that the system chose. It runs on
//! a thread and a runtime of its own, so that it answers while a test blocks, works in tests that are not asynchronous, and ends with the
//! value, whoever has connections open. It is ready in about a millisecond, and any number of them run side by side.
//!
//! ```
//! use pier_testkit::{image::{ImageBuilder, Packing, Tree}, test_registry::TestRegistry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), pier_testkit::test_registry::Error> {
//! let registry = TestRegistry::builder().auth("me", "secret").start().await?;
//! let layer = Tree::new().file("etc/motd", "hello").pack(Packing::Gzip);
//! let image = ImageBuilder::new().layer(layer).build();
//! let digest = registry.push(&image, "library/alpine:latest").await?;
//!
//! // What any client pulls now, once it has logged in: `127.0.0.1:PORT/library/alpine:latest`.
//! let reference = registry.image_ref("library/alpine:latest");
//! assert!(reference.starts_with("127.0.0.1:"));
//! assert_eq!(digest, image.root.digest);
//!
//! // And a name that no other test has.
//! let mine = registry.image_ref_for_test();
//! assert_ne!(mine, registry.image_ref_for_test());
//! # Ok(())
//! # }
//! ```
//!
//! With [`storage_dir`](Builder::storage_dir) it serves real images from a folder that `pier testdata init` or `docker-registry` has made.
//!
//! | module | is about |
//! |---|---|
//! | `builder` | what a registry is to be like |
//! | `front` | connections, TLS, who may come in |
//! | `names` | names of repositories from names of tests |

mod builder;
mod front;
mod names;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use bytes::Bytes;
use pier_content::{
    BlobStore, Catalog, Claim, Commit, Completeness, CopyOptions, Ingest, IngestKey, Memory, Progress,
    PutManifest, Referrers, StoreRepository, TagRules, copy,
};
use pier_layout::DistributionFolder;
use pier_oci::{
    Digest, ManifestError, NameError, Reference, Registry as Host, Repository, RepositoryName, Selector, Tag,
};
use pier_registry::{Registry, SessionKey, Settings};
use pier_store::{Store, StoreOptions};

pub use self::builder::Builder;
use self::front::{Access, Api};
#[cfg(feature = "proxy")]
use crate::faults::FaultyProxy;
use crate::image::{BuiltBlob, BuiltImage};
use crate::server::Server;

/// Bytes that are written at once by [`TestRegistry::push`].
const PUSH_BYTES: usize = 1 << 20;

/// Tags that are listed at once.
const PAGE: usize = 1000;

/// A registry that runs until it is dropped. Any number of them run side by side.
pub struct TestRegistry {
    /// In front of the server, and ends before it.
    #[cfg(feature = "proxy")]
    proxy: Option<FaultyProxy>,
    server: Server,
    scheme: &'static str,
    #[cfg(feature = "tls")]
    ca_pem: Option<String>,
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
    /// In the storage folder of distribution, which is read as it is and never written: what is pushed, deleted and tagged stays in memory.
    /// `pier testdata init` makes such a folder, and so does `docker-registry`.
    StorageDir(PathBuf),
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
    /// Certificates cannot be made or used.
    #[cfg(feature = "tls")]
    #[error("the test registry cannot speak TLS")]
    Tls(#[from] crate::tls::Error),
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
        Builder::from(options).start().await
    }

    /// What a registry is to be like, one thing after the other.
    pub fn builder() -> Builder {
        Builder::default()
    }

    async fn start_as(builder: Builder) -> Result<Self, Error> {
        #[cfg(feature = "tls")]
        let authority = builder.authority()?;
        #[cfg(feature = "tls")]
        let (scheme, ca_pem) = match &authority {
            Some(authority) => ("https", Some(authority.pem())),
            None => ("http", None),
        };
        #[cfg(not(feature = "tls"))]
        let scheme = "http";
        #[cfg(feature = "tls")]
        let is_proxied = builder.is_proxied();

        let Stores { blobs, catalog, folder } = Stores::open(builder.options.storage).await?;
        let completeness = builder.options.completeness;
        // Nobody but this process can reach it, so that sessions need no secret; and a push goes on after a restart on the same folder.
        let settings = Settings { completeness, ..Settings::new(SessionKey::new([0; 32])) };
        let registry = Registry::new(blobs.clone(), catalog.clone(), settings);
        let api = Api::new(registry.clone(), Access::of(builder.accounts));
        // Behind the proxy it is the proxy that speaks it.
        #[cfg(feature = "tls")]
        let api = match &authority {
            Some(authority) if !is_proxied => api.speaking_tls(authority)?,
            _ => api,
        };
        let failed = |source| Error::Io { operation: "listen on a port of loopback", source };
        let server = Server::start("test-registry", Arc::new(api)).await.map_err(failed)?;
        #[cfg(feature = "proxy")]
        let proxy = match (builder.script, &authority) {
            (None, _) => None,
            (Some(script), None) => Some(FaultyProxy::start(server.address(), script).await.map_err(failed)?),
            (Some(script), Some(authority)) => {
                let clients = crate::tls::Clients::Anyone;
                let started = FaultyProxy::start_tls(server.address(), script, authority, clients).await;
                Some(started.map_err(failed)?)
            }
        };
        Ok(Self {
            #[cfg(feature = "proxy")]
            proxy,
            server,
            scheme,
            #[cfg(feature = "tls")]
            ca_pem,
            #[cfg(feature = "mock")]
            registry,
            blobs,
            catalog,
            completeness,
            _folder: folder,
        })
    }

    /// Where clients connect: `127.0.0.1` and a port of the system's choice.
    pub fn address(&self) -> SocketAddr {
        #[cfg(feature = "proxy")]
        if let Some(proxy) = &self.proxy {
            return proxy.address();
        }
        self.server.address()
    }

    /// `http://127.0.0.1:PORT`, or `https:`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address())
    }

    /// The certificate of the authority that clients have to trust, PEM; none without TLS.
    #[cfg(feature = "tls")]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// The proxy that strikes requests and writes them down, when there were faults to expect ([`Builder::fault`]).
    #[cfg(feature = "proxy")]
    pub fn proxy(&self) -> Option<&FaultyProxy> {
        self.proxy.as_ref()
    }

    /// What a client calls the image `name` of this registry: `127.0.0.1:PORT/name`.
    pub fn image_ref(&self, name: &str) -> String {
        format!("{}/{name}", self.address())
    }

    /// What a client calls an image that this test alone has: `127.0.0.1:PORT/`, the name of the test in lower case, and a tag that is new
    /// each time. The name is that of the thread, which the test harness names by its test.
    pub fn image_ref_for_test(&self) -> String {
        self.image_ref(&format!("{}:{}", names::repository_for_test(), names::unique_tag()))
    }

    /// Whether there is an image `repository:tag` or `repository@digest`.
    pub async fn exists(&self, name: &str) -> Result<bool, Error> {
        let (repository, selector) = select(name)?;
        match self.catalog.resolve(&repository, &selector).await {
            Ok(_) => Ok(true),
            Err(pier_content::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Copies every tag of a repository, with what refers to it, into another one, which may then be changed without the first being
    /// touched. Gives what a client calls that.
    ///
    /// # Errors
    /// When there is no such repository.
    pub async fn clone_repo(&self, from: &str, to: &str) -> Result<String, Error> {
        let [from, to] = [repository(from)?, repository(to)?];
        let place = |name: &RepositoryName| StoreRepository {
            blobs: self.blobs.clone(),
            catalog: self.catalog.clone(),
            name: name.clone(),
        };
        let at = |name: &RepositoryName| -> Result<Repository, Error> {
            let registry: Host = "localhost".parse().map_err(wrong("localhost"))?;
            Ok(Repository { registry, name: name.clone() })
        };
        let options = CopyOptions { referrers: Referrers::Include, ..CopyOptions::default() };
        let mut last: Option<String> = None;
        loop {
            let page = self.catalog.tags(&from, last.as_deref(), PAGE).await?;
            for tag in &page.items {
                let reference = Reference { repository: at(&from)?, tag: Some(tag.clone()), digest: None };
                let (source, target, tags) = (place(&from), place(&to), std::slice::from_ref(tag));
                copy(&source, &reference, &target, &at(&to)?, tags, &options, &Progress::default()).await?;
            }
            last = page.items.last().map(ToString::to_string);
            if !page.more {
                return Ok(self.image_ref(to.as_str()));
            }
        }
    }

    /// Copies a repository into one that this test alone has. Gives what a client calls that.
    pub async fn clone_repo_for_test(&self, from: &str) -> Result<String, Error> {
        self.clone_repo(from, &self.repository_for_test()).await
    }

    /// The name of a repository that this test alone has: the name of the test, and something that is new each time.
    pub fn repository_for_test(&self) -> String {
        format!("{}/{}", names::repository_for_test(), names::unique_tag())
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

async fn fill(filling: &dyn pier_content::Filling, bytes: &Bytes) -> pier_content::Result<()> {
    for start in (0..bytes.len()).step_by(PUSH_BYTES) {
        let end = bytes.len().min(start + PUSH_BYTES);
        filling.write_at(start as u64, vec![bytes.slice(start..end)]).await?;
    }
    Ok(())
}

/// Where content is, opened.
struct Stores {
    blobs: Arc<dyn BlobStore>,
    catalog: Arc<dyn Catalog>,
    /// Removed with the registry.
    folder: Option<tempfile::TempDir>,
}

impl Stores {
    async fn open(storage: Storage) -> Result<Self, Error> {
        let on_disk = |path: &std::path::Path, folder| -> Result<Self, Error> {
            let store = Arc::new(Store::open(path, StoreOptions::default())?);
            Ok(Self { blobs: store.clone(), catalog: store, folder })
        };
        match storage {
            Storage::Memory => {
                let memory = Arc::new(Memory::default());
                Ok(Self { blobs: memory.clone(), catalog: memory, folder: None })
            }
            Storage::Folder(path) => on_disk(&path, None),
            Storage::TemporaryFolder => {
                let folder = tempfile::tempdir()
                    .map_err(|source| Error::Io { operation: "make a temporary folder", source })?;
                let path = folder.path().to_owned();
                on_disk(&path, Some(folder))
            }
            Storage::StorageDir(path) => {
                let folder = DistributionFolder::open(path).await?;
                let memory = Arc::new(Memory::over(Arc::new(folder.clone())));
                folder.names_into(&*memory).await?;
                Ok(Self { blobs: memory.clone(), catalog: memory, folder: None })
            }
        }
    }
}

/// `repository:tag`, the tag being `latest` where there is none.
fn parse(name: &str) -> Result<(RepositoryName, Tag), Error> {
    let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
    Ok((repository.parse().map_err(wrong(name))?, tag.parse().map_err(wrong(name))?))
}

/// The same, or `repository@digest`.
fn select(name: &str) -> Result<(RepositoryName, Selector), Error> {
    if let Some((before, digest)) = name.split_once('@')
        && let Ok(digest) = digest.parse()
    {
        let repository = before.split_once(':').map_or(before, |(repository, _)| repository);
        return Ok((repository.parse().map_err(wrong(name))?, Selector::Digest(digest)));
    }
    parse(name).map(|(repository, tag)| (repository, Selector::Tag(tag)))
}

fn repository(name: &str) -> Result<RepositoryName, Error> {
    name.parse().map_err(wrong(name))
}

fn wrong(name: &str) -> impl Fn(NameError) -> Error {
    let name = name.to_owned();
    move |source| Error::Name { name: name.clone(), source }
}

impl fmt::Debug for TestRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRegistry").field("address", &self.address()).finish_non_exhaustive()
    }
}
