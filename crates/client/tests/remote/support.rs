//! What the tests share: a registry, a client, images.

use std::{io::Write as _, sync::Arc};

use futures_util::TryStreamExt as _;
use pier_client::{Client, Remote};
use pier_content::{
    Blob, Body, ByteRange, ByteStream, CopyOptions, Error, Memory, Opened, Progress, Source, StoreSource,
    StoreTarget, copy,
};
use pier_oci::{Descriptor, Digest, Manifest, Reference, Registry, Repository, Selector};
use pier_testkit::{
    image::{BuiltImage, ImageBuilder, Layer, Packing, Tree},
    test_registry::{Options, Storage, TestRegistry},
};

pub(crate) async fn registry() -> TestRegistry {
    TestRegistry::start_with(Options { storage: Storage::Memory, ..Options::default() }).await.unwrap()
}

pub(crate) fn remote(registry: &TestRegistry) -> Remote {
    Client::builder().build().unwrap().remote(&name(registry)).unwrap()
}

pub(crate) fn name(registry: &TestRegistry) -> Registry {
    registry.address().to_string().parse().unwrap()
}

pub(crate) fn repository(registry: &TestRegistry, name: &str) -> Repository {
    Repository { registry: self::name(registry), name: name.parse().unwrap() }
}

pub(crate) fn reference(registry: &TestRegistry, name: &str) -> Reference {
    registry.image_ref(name).parse().unwrap()
}

pub(crate) fn image(seed: u64) -> BuiltImage {
    let tree = Tree::new().file("etc/motd", format!("hello {seed}"));
    ImageBuilder::new()
        .layer(tree.pack(Packing::Gzip))
        .layer(Layer::random(seed, 300_000))
        .layer(Layer::random(seed + 1000, 3_000_000))
        .build()
}

pub(crate) async fn read(stream: ByteStream) -> Vec<u8> {
    stream
        .try_fold(Vec::new(), |mut all, bytes| async move {
            all.extend_from_slice(&bytes);
            Ok(all)
        })
        .await
        .unwrap()
}

/// A source that gives the same bytes under every digest.
#[derive(Debug)]
pub(crate) struct Lying {
    pub(crate) bytes: bytes::Bytes,
}

#[async_trait::async_trait]
impl Source for Lying {
    fn name(&self) -> String {
        "a liar".to_owned()
    }

    async fn resolve(&self, _: &Reference) -> Result<Descriptor, Error> {
        Err(Error::Unsupported { what: "resolving" })
    }

    async fn manifest(&self, _: &Repository, _: &Selector, _: u64) -> Result<Manifest, Error> {
        Err(Error::Unsupported { what: "reading a manifest" })
    }

    async fn open(&self, _: &Repository, _: &Descriptor, range: ByteRange) -> Result<Opened, Error> {
        let start = usize::try_from(range.start).unwrap();
        let pieces: Vec<_> =
            self.bytes.slice(start..).chunks(100_000).map(bytes::Bytes::copy_from_slice).map(Ok).collect();
        Ok(Opened { start: range.start, size: None, stream: Box::pin(futures_util::stream::iter(pieces)) })
    }

    async fn referrers(&self, _: &Repository, _: &Digest) -> Result<Vec<Descriptor>, Error> {
        Ok(Vec::new())
    }
}

/// A store in memory that holds what a registry has under a name.
pub(crate) async fn pulled(registry: &TestRegistry, image: &str) -> StoreSource {
    let memory = Arc::new(Memory::default());
    let target = StoreTarget { blobs: memory.clone(), catalog: memory.clone() };
    let reference = reference(registry, image);
    let remote = remote(registry);
    let options = CopyOptions::default();
    let tags: Vec<_> = reference.tag.iter().cloned().collect();
    copy(&remote, &reference, &target, &reference.repository, &tags, &options, &Progress::default())
        .await
        .unwrap();
    StoreSource { blobs: memory.clone(), catalog: memory }
}

/// The same as places to push from: with blobs in files, which a connection may send by itself, and in memory.
pub(crate) async fn places(registry: &TestRegistry, image: &str) -> [Box<dyn Source>; 2] {
    let store = pulled(registry, image).await;
    [Box::new(InFiles(store.clone())), Box::new(store)]
}

/// A store, with every blob in a file as a store on disk has it.
#[derive(Debug)]
pub(crate) struct InFiles(pub(crate) StoreSource);

#[async_trait::async_trait]
impl Source for InFiles {
    fn name(&self) -> String {
        self.0.name()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Descriptor, Error> {
        self.0.resolve(reference).await
    }

    async fn manifest(
        &self,
        repository: &Repository,
        selector: &Selector,
        limit: u64,
    ) -> Result<Manifest, Error> {
        self.0.manifest(repository, selector, limit).await
    }

    async fn open(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
    ) -> Result<Opened, Error> {
        self.0.open(repository, descriptor, range).await
    }

    async fn held(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Option<Blob>, Error> {
        let Some(blob) = self.0.held(repository, descriptor).await? else { return Ok(None) };
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&read(blob.read(ByteRange::ALL).await?).await).unwrap();
        Ok(Some(Blob { body: Body::File(Arc::new(file)), ..blob }))
    }

    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>, Error> {
        self.0.referrers(repository, digest).await
    }
}
