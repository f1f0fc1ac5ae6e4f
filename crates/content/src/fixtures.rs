//! A source, a target and a part that tests can look into and break.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use pier_oci::{
    Descriptor, Digest, Manifest, Platform, Reference, Repository, RepositoryName, Selector, Tag,
};
use serde_json::{Value, json};

use crate::{
    Blob, Body, ByteRange, Commit, Completeness, Error, Filling, Mounted, Opened, Order, Origin, Progress,
    Result, Source, Subject, Target,
    manifests::{blobs_of, index_of},
};

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// Bytes of each chunk that a shelf streams.
pub(crate) const CHUNK: usize = 64;

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

pub(crate) fn repository(text: &str) -> Repository {
    reference(text).repository
}

pub(crate) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub(crate) fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(bytes)
}

/// A descriptor as it stands in a manifest.
pub(crate) fn entry(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes).to_string(), "size": bytes.len() })
}

pub(crate) fn entry_for(mut entry: Value, platform: &str) -> Value {
    let mut parts = platform.split('/');
    entry["platform"] = json!({ "os": parts.next(), "architecture": parts.next() });
    if let Some(variant) = parts.next() {
        entry["platform"]["variant"] = variant.into();
    }
    entry
}

pub(crate) fn parse(media_type: &str, document: &Value) -> Manifest {
    Manifest::parse(document.to_string().into(), Some(&media_type.parse().unwrap())).unwrap()
}

pub(crate) fn blob_descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(LAYER.parse().unwrap(), digest(bytes), bytes.len() as u64)
}

/// A source in memory that counts what it is asked and fails when it is told to.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) manifests: BTreeMap<Digest, Manifest>,
    pub(crate) tags: BTreeMap<String, Digest>,
    pub(crate) blobs: BTreeMap<Digest, Bytes>,
    pub(crate) referrers: BTreeMap<Digest, Vec<Descriptor>>,
    /// How each next call fails; when it is empty, calls succeed.
    pub(crate) failures: Mutex<Vec<Error>>,
    /// The call that fails, counted from zero.
    pub(crate) fails_at: Option<usize>,
    /// Streams break off behind so many bytes.
    pub(crate) breaks_after: Option<usize>,
    /// The blob that is opened and never sent.
    pub(crate) stalls: Option<Digest>,
    pub(crate) calls: AtomicUsize,
    pub(crate) asked: Mutex<Vec<String>>,
    pub(crate) served: AtomicUsize,
}

pub(crate) fn unavailable(retry_after: Option<Duration>) -> Error {
    Error::Unavailable { origin: "shelf".to_owned(), operation: "answer", retry_after, source: None }
}

impl Shelf {
    /// Keeps a blob and gives its entry.
    pub(crate) fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        self.blobs.insert(digest(bytes), Bytes::copy_from_slice(bytes));
        entry(media_type, bytes)
    }

    /// Keeps an image of these layers and gives its entry.
    pub(crate) fn image(&mut self, config: &str, layers: &[&[u8]]) -> Value {
        let config = self.blob(CONFIG, format!("{{\"config\":\"{config}\"}}").as_bytes());
        let layers: Vec<Value> = layers.iter().map(|layer| self.blob(LAYER, layer)).collect();
        self.keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers }))
    }

    pub(crate) fn index(&mut self, entries: &[Value]) -> Value {
        self.keep(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }))
    }

    /// Keeps a manifest and gives its entry.
    pub(crate) fn keep(&mut self, document: &Value) -> Value {
        let media_type = document["mediaType"].as_str().unwrap();
        let manifest = parse(media_type, document);
        let entry = entry(media_type, manifest.bytes());
        self.manifests.insert(manifest.digest(), manifest);
        entry
    }

    pub(crate) fn tag(&mut self, name: &str, entry: &Value) {
        self.tags.insert(name.to_owned(), named(entry));
    }

    pub(crate) fn descriptor(&self, entry: &Value) -> Descriptor {
        self.manifests[&named(entry)].descriptor()
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn call(&self, what: String) -> Result<()> {
        self.asked.lock().unwrap().push(what);
        let call = self.calls.fetch_add(1, SeqCst);
        let mut failures = self.failures.lock().unwrap();
        if !failures.is_empty() {
            return Err(failures.remove(0));
        }
        if self.fails_at == Some(call) { Err(unavailable(None)) } else { Ok(()) }
    }
}

/// The digest that an entry names.
pub(crate) fn named(entry: &Value) -> Digest {
    entry["digest"].as_str().unwrap().parse().unwrap()
}

#[async_trait]
impl Source for Shelf {
    fn name(&self) -> String {
        "shelf".to_owned()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let manifest = self.manifest(&reference.repository, &reference.selector(), u64::MAX).await?;
        Ok(manifest.descriptor())
    }

    async fn manifest(&self, repository: &Repository, selector: &Selector, _limit: u64) -> Result<Manifest> {
        let digest = match selector {
            Selector::Digest(digest) => Some(*digest),
            Selector::Tag(tag) => self.tags.get(tag.as_str()).copied(),
        };
        self.call(match selector {
            Selector::Digest(digest) => format!("manifest {digest}"),
            Selector::Tag(tag) => format!("manifest {tag}"),
        })?;
        let subject = Subject::Manifest(repository.name.clone(), selector.clone());
        digest.and_then(|digest| self.manifests.get(&digest)).cloned().ok_or(Error::NotFound { subject })
    }

    async fn open(&self, _: &Repository, descriptor: &Descriptor, range: ByteRange) -> Result<Opened> {
        let mut what = format!("open {}", descriptor.digest);
        let end = range.end.map_or(String::new(), |end| end.to_string());
        write!(what, " {}..{end}", range.start).unwrap();
        self.call(what)?;
        tokio::task::yield_now().await;
        if self.stalls == Some(descriptor.digest) {
            std::future::pending::<()>().await;
        }
        let blob =
            self.blobs.get(&descriptor.digest).ok_or_else(|| Error::blob_not_found(descriptor.digest))?;
        let start = usize::try_from(range.start).unwrap();
        let end = range.end.map_or(blob.len(), |end| usize::try_from(end).unwrap().min(blob.len()));
        let mut wanted = blob.slice(start..end);
        let broken = self.breaks_after.is_some_and(|limit| limit < wanted.len());
        if let (true, Some(limit)) = (broken, self.breaks_after) {
            wanted.truncate(limit);
        }
        self.served.fetch_add(wanted.len(), SeqCst);
        let chunks: Vec<_> = (0..wanted.len())
            .step_by(CHUNK)
            .map(|at| wanted.slice(at..(at + CHUNK).min(wanted.len())))
            .collect();
        let ending = broken.then(|| Err(unavailable(None)));
        Ok(Opened {
            start: range.start,
            size: Some(blob.len() as u64),
            stream: stream::iter(chunks.into_iter().map(Ok).chain(ending)).boxed(),
        })
    }

    async fn referrers(&self, _: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.call(format!("referrers {digest}"))?;
        Ok(self.referrers.get(digest).cloned().unwrap_or_default())
    }
}

/// A part in memory: each byte is there or not.
#[derive(Debug)]
pub(crate) struct Part {
    size: usize,
    bytes: Mutex<BTreeMap<usize, u8>>,
}

impl Part {
    pub(crate) fn new(size: usize) -> Self {
        Self { size, bytes: Mutex::default() }
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().values().copied().collect()
    }

    pub(crate) fn holds(&self) -> usize {
        self.bytes.lock().unwrap().len()
    }
}

#[async_trait]
impl Filling for Part {
    fn order(&self) -> Order {
        Order::Any
    }

    fn missing(&self) -> Vec<ByteRange> {
        let bytes = self.bytes.lock().unwrap();
        let mut holes: Vec<ByteRange> = Vec::new();
        for at in (0..self.size).filter(|at| !bytes.contains_key(at)) {
            let at = at as u64;
            match holes.last_mut() {
                Some(hole) if hole.end == Some(at) => hole.end = Some(at + 1),
                _ => holes.push((at..at + 1).into()),
            }
        }
        holes
    }

    fn size(&self) -> Option<u64> {
        Some(self.size as u64)
    }

    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()> {
        let mut bytes = self.bytes.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        for (at, byte) in (start..).zip(data.concat()) {
            bytes.entry(at).or_insert(byte);
        }
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<Blob> {
        let content = self.content();
        let actual = digest(&content);
        if actual != commit.digest {
            return Err(Error::Integrity { expected: commit.digest, actual, origin: None });
        }
        Ok(Blob { digest: actual, size: content.len() as u64, body: Body::Memory(content.into()) })
    }

    async fn reset(&self) -> Result<()> {
        self.bytes.lock().unwrap().clear();
        Ok(())
    }

    async fn abort(&self) -> Result<()> {
        self.reset().await
    }
}

/// A target in memory that insists on complete manifests and writes down what it was told, in order.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) blobs: Mutex<BTreeMap<(RepositoryName, Digest), u64>>,
    pub(crate) manifests: Mutex<BTreeMap<(RepositoryName, Digest), Manifest>>,
    pub(crate) tags: Mutex<BTreeMap<Tag, Digest>>,
    pub(crate) told: Mutex<Vec<String>>,
    /// The call that fails, counted from zero.
    pub(crate) fails_at: Option<usize>,
    pub(crate) calls: AtomicUsize,
    pub(crate) sending: AtomicUsize,
    pub(crate) sending_most: AtomicUsize,
}

impl Ledger {
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    fn call(&self) -> Result<()> {
        let call = self.calls.fetch_add(1, SeqCst);
        if self.fails_at == Some(call) {
            return Err(Error::StorageFull { operation: "write", path: "/data".into() });
        }
        Ok(())
    }

    /// What a manifest names and its repository lacks.
    fn lacks(&self, name: &RepositoryName, manifest: &Manifest) -> Vec<Digest> {
        let (blobs, manifests) = (self.blobs.lock().unwrap(), self.manifests.lock().unwrap());
        let there: BTreeSet<Digest> = blobs
            .keys()
            .chain(manifests.keys())
            .filter(|(at, _)| at == name)
            .map(|(_, digest)| *digest)
            .collect();
        let children = index_of(manifest).map(|index| index.manifests.clone()).unwrap_or_default();
        let named =
            blobs_of(manifest).chain(&children).filter(|child| !child.media_type.is_nondistributable());
        named.map(|child| child.digest).filter(|digest| !there.contains(digest)).collect()
    }
}

#[async_trait]
impl Target for Ledger {
    fn name(&self) -> String {
        "ledger".to_owned()
    }

    async fn has(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool> {
        self.call()?;
        let key = (repository.name.clone(), descriptor.digest);
        Ok(self.blobs.lock().unwrap().contains_key(&key) || self.manifests.lock().unwrap().contains_key(&key))
    }

    async fn mount(&self, repository: &Repository, digest: &Digest, from: &Repository) -> Result<Mounted> {
        self.call()?;
        let mut blobs = self.blobs.lock().unwrap();
        let Some(size) = blobs.get(&(from.name.clone(), *digest)).copied() else { return Ok(Mounted::No) };
        blobs.insert((repository.name.clone(), *digest), size);
        self.told.lock().unwrap().push(format!("mount {digest}"));
        Ok(Mounted::Yes)
    }

    async fn upload(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        origin: Origin<'_>,
        _: &Progress,
    ) -> Result<()> {
        self.call()?;
        let now = self.sending.fetch_add(1, SeqCst) + 1;
        self.sending_most.fetch_max(now, SeqCst);
        let part = Part::new(usize::try_from(descriptor.size).unwrap());
        let outcome = origin.source.fill(origin.repository, descriptor, &part).await;
        self.sending.fetch_sub(1, SeqCst);
        outcome?;
        part.commit(Commit { digest: descriptor.digest, link: None }).await?;
        self.told.lock().unwrap().push(format!("blob {}", descriptor.digest));
        self.blobs.lock().unwrap().insert((repository.name.clone(), descriptor.digest), descriptor.size);
        Ok(())
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        tags: &[Tag],
        completeness: Completeness,
    ) -> Result<()> {
        self.call()?;
        let name = repository.name.clone();
        let digests = self.lacks(&name, manifest);
        if completeness == Completeness::Strict && !digests.is_empty() {
            return Err(Error::Missing { repository: name, digests });
        }
        self.manifests.lock().unwrap().insert((name, manifest.digest()), manifest.clone());
        let mut told = format!("{completeness:?} {}", manifest.digest());
        for tag in tags {
            write!(told, " {tag}").unwrap();
            self.tags.lock().unwrap().insert(tag.clone(), manifest.digest());
        }
        self.told.lock().unwrap().push(told);
        Ok(())
    }
}
