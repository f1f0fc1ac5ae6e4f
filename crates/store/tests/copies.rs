//! Images copied from one store into another by the verbs of the contract.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use pier_content::{
    BlobStore, ByteRange, Catalog, Commit, Completeness, CopyOptions, Error, Filling, Ingest, IngestKey,
    Mounted, Opened, Platforms, Progress, PutManifest, Result, Source, StoreSource, StoreTarget, TagRules,
    Target, copy,
};
use pier_oci::{Descriptor, Digest, Manifest, MediaType, Reference, Repository, Selector, Tag};
use pier_store::{Store, StoreOptions};
use tempfile::TempDir;

/// A store in a folder that goes with it.
struct Place {
    store: Arc<Store>,
    _folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path(), StoreOptions::default()).unwrap());
        Self { store, _folder: folder }
    }

    fn source(&self) -> StoreSource {
        StoreSource { blobs: self.store.clone(), catalog: self.store.clone() }
    }

    fn target(&self) -> StoreTarget {
        StoreTarget { blobs: self.store.clone(), catalog: self.store.clone() }
    }

    /// Commits a blob and shows it in the repository; gives its descriptor as JSON.
    async fn blob(&self, media_type: &MediaType, content: &[u8]) -> String {
        let (digest, size) = (Digest::sha256(content), content.len() as u64);
        let key = IngestKey::Blob { digest, size: Some(size) };
        if let Ingest::Filling(filling) = self.store.ingest(key).await.unwrap() {
            filling.write_at(0, vec![Bytes::copy_from_slice(content)]).await.unwrap();
            let link = Some(from().repository.local_name().unwrap());
            filling.commit(Commit { digest, link }).await.unwrap();
        }
        entry(media_type, content)
    }

    async fn manifest(&self, media_type: &MediaType, document: String, tags: Vec<Tag>) -> String {
        let manifest = Manifest::parse(document.clone().into(), Some(media_type)).unwrap();
        let put = PutManifest {
            repository: from().repository.local_name().unwrap(),
            manifest: Arc::new(manifest),
            tags,
            completeness: Completeness::Strict,
            rules: TagRules::default(),
        };
        self.store.put_manifest(put).await.unwrap();
        entry(media_type, document.as_bytes())
    }

    async fn image(&self, name: &str) -> String {
        let config = self.blob(&MediaType::OCI_CONFIG, format!("{{\"of\":\"{name}\"}}").as_bytes()).await;
        let base = self.blob(&MediaType::OCI_LAYER, b"the base of both").await;
        let own = self.blob(&MediaType::OCI_LAYER, format!("layer of {name}").as_bytes()).await;
        let document = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{base},{own}]}}"#);
        self.manifest(&MediaType::OCI_MANIFEST, document, Vec::new()).await
    }

    /// What the target repository says a tag is.
    async fn tagged(&self) -> Result<Arc<Manifest>> {
        let name = to().local_name().unwrap();
        self.store.resolve(&name, &Selector::Tag("t".parse().unwrap())).await
    }

    async fn shows(&self, content: &[u8]) -> bool {
        let name = to().local_name().unwrap();
        self.store.linked(&name, &Digest::sha256(content)).await.unwrap() == Some(content.len() as u64)
    }
}

fn entry(media_type: &MediaType, content: &[u8]) -> String {
    format!(
        r#"{{"mediaType":"{media_type}","digest":"{}","size":{}}}"#,
        Digest::sha256(content),
        content.len()
    )
}

fn for_platform(entry: &str, architecture: &str) -> String {
    let entry = entry.strip_suffix('}').unwrap();
    format!(r#"{entry},"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#)
}

fn from() -> Reference {
    "registry.test/from:t".parse().unwrap()
}

fn to() -> Repository {
    "registry.test:5000/to".parse::<Reference>().unwrap().repository
}

/// A store with an index of two images that share a layer.
async fn published() -> Place {
    let place = Place::new();
    let amd = for_platform(&place.image("amd").await, "amd64");
    let arm = for_platform(&place.image("arm").await, "arm64");
    let document = format!(r#"{{"schemaVersion":2,"manifests":[{amd},{arm}]}}"#);
    place.manifest(&MediaType::OCI_INDEX, document, vec!["t".parse().unwrap()]).await;
    place
}

async fn run(source: &dyn Source, place: &Place, platforms: Platforms) -> Result<pier_content::Copied> {
    let options =
        CopyOptions { platforms, blobs_at_once: NonZeroUsize::new(2).unwrap(), ..CopyOptions::default() };
    copy(source, &from(), &place.target(), &to(), &["t".parse().unwrap()], &options, &Progress::default())
        .await
}

#[tokio::test]
async fn an_index_arrives_whole_and_under_its_digest() {
    let (published, place) = (published().await, Place::new());
    let copied = run(&published.source(), &place, Platforms::All).await.unwrap();
    let manifest = place.tagged().await.unwrap();
    assert_eq!(copied.completeness, Completeness::Strict);
    assert_eq!(copied.root, manifest.descriptor());
    assert_eq!(
        manifest.bytes(),
        published.source().manifest(&from().repository, &from().selector(), 4096).await.unwrap().bytes()
    );
    for content in [&b"the base of both"[..], b"layer of amd", b"layer of arm"] {
        assert!(place.shows(content).await);
    }
}

#[tokio::test]
async fn one_platform_leaves_the_other_absent_and_the_rest_can_follow() {
    let (published, place) = (published().await, Place::new());
    let one = Platforms::One("linux/arm64".parse().unwrap());
    let copied = run(&published.source(), &place, one).await.unwrap();
    assert_eq!(copied.completeness, Completeness::Sparse);
    assert!(place.shows(b"layer of arm").await);
    assert!(!place.shows(b"layer of amd").await);

    let copied = run(&published.source(), &place, Platforms::All).await.unwrap();
    assert_eq!(copied.completeness, Completeness::Strict);
    assert!(place.shows(b"layer of amd").await);
}

#[tokio::test]
async fn a_store_gives_a_blob_only_where_it_is_linked() {
    let published = published().await;
    let content = b"layer of amd";
    let descriptor = Descriptor::new(MediaType::OCI_LAYER, Digest::sha256(content), content.len() as u64);
    let source = published.source();
    source.open(&from().repository, &descriptor, ByteRange::ALL).await.unwrap();
    let Err(error) = source.open(&to(), &descriptor, ByteRange::ALL).await else { panic!("it was opened") };
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_above_the_limit_is_not_given() {
    let published = published().await;
    let size = published.source().resolve(&from()).await.unwrap().size;
    let outcome = published.source().manifest(&from().repository, &from().selector(), size - 1).await;
    let Err(Error::Size { expected, actual, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!((expected, actual), (size - 1, size));
}

#[tokio::test]
async fn mounts_only_from_a_repository_that_shows_the_blob() {
    let published = published().await;
    let target = published.target();
    let digest = Digest::sha256(b"layer of amd");
    let third = "registry.test/third".parse::<Reference>().unwrap().repository;
    assert_eq!(target.mount(&to(), &digest, &third).await.unwrap(), Mounted::No);
    assert_eq!(target.mount(&to(), &digest, &from().repository).await.unwrap(), Mounted::Yes);
    assert!(published.shows(b"layer of amd").await);
}

/// A source whose call with a number fails.
#[derive(Debug)]
struct Failing {
    source: StoreSource,
    calls: AtomicUsize,
    at: usize,
}

impl Failing {
    fn call(&self) -> Result<()> {
        if self.calls.fetch_add(1, Ordering::SeqCst) != self.at {
            return Ok(());
        }
        Err(Error::Unavailable { origin: self.name(), operation: "answer", retry_after: None, source: None })
    }
}

#[async_trait]
impl Source for Failing {
    fn name(&self) -> String {
        "failing".to_owned()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        self.call()?;
        self.source.resolve(reference).await
    }

    async fn manifest(&self, repository: &Repository, selector: &Selector, limit: u64) -> Result<Manifest> {
        self.call()?;
        self.source.manifest(repository, selector, limit).await
    }

    async fn open(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
    ) -> Result<Opened> {
        self.call()?;
        self.source.open(repository, descriptor, range).await
    }

    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.call()?;
        self.source.referrers(repository, digest).await
    }

    async fn fill(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        filling: &dyn Filling,
    ) -> Result<()> {
        self.call()?;
        self.source.fill(repository, descriptor, filling).await
    }
}

#[tokio::test]
async fn a_failure_at_any_call_leaves_nothing_named_and_the_next_run_completes() {
    let published = published().await;
    let failing = |at| Failing { source: published.source(), calls: AtomicUsize::new(0), at };
    let counting = failing(usize::MAX);
    run(&counting, &Place::new(), Platforms::All).await.unwrap();
    let calls = counting.calls.load(Ordering::SeqCst);
    assert_eq!(calls, 8, "three manifests and five blobs");
    for at in 0..calls {
        let place = Place::new();
        let error = run(&failing(at), &place, Platforms::All).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{at}: {error}");
        let error = place.tagged().await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{at}: {error}");
        let page = place.store.repositories(None, 10).await.unwrap();
        assert_eq!(page.items, [], "{at}: no manifest is shown");

        run(&failing(usize::MAX), &place, Platforms::All).await.unwrap();
        let digest = published.source().resolve(&from()).await.unwrap().digest;
        assert_eq!(place.tagged().await.unwrap().digest(), digest, "{at}");
    }
}
