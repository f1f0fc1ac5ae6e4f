//! Reading, the same for a folder and for archives: a few entries, and content by digest.
//!
//! What each kind of place has to know is [`Holding`]; what the contract asks of a source is answered here, once.

use std::{collections::BTreeSet, fmt::Debug, path::Path, sync::Arc};

use pier_content::{ByteRange, Error, Opened, Result, Subject};
use pier_oci::{
    Descriptor, Digest, Kind, MAX_MANIFEST_BYTES, Manifest, ManifestError, MediaType, Reference, Registry,
    Repository, Selector, Tag, View,
};

use crate::{
    Entry,
    entry::{Found, Wanted, choose},
    extent::Extent,
    sys::blocking,
};

/// What holds entries and blobs. Every call may wait for the disk.
pub(crate) trait Holding: Debug + Send + Sync {
    /// Where it is, for people.
    fn path(&self) -> &Path;

    /// The word in front of the path on the command line.
    fn kind(&self) -> &'static str;

    /// What it lists now.
    fn entries(&self) -> Result<Vec<Entry>>;

    /// The bytes under a digest, which nobody has hashed yet.
    fn find(&self, digest: &Digest) -> Result<Option<Extent>>;
}

/// Something that holds content, as a source. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shelf(Arc<dyn Holding>);

impl Shelf {
    pub(crate) fn new(holding: impl Holding + 'static) -> Self {
        Self(Arc::new(holding))
    }

    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.0.kind(), self.0.path().display())
    }

    pub(crate) async fn entries(&self) -> Result<Vec<Entry>> {
        self.ask(|holding| holding.entries()).await
    }

    /// The digest that a user's words mean, as a reference for the contract.
    pub(crate) async fn reference(&self, name: Option<&str>) -> Result<Reference> {
        let name = name.map(str::to_owned);
        self.ask(move |holding| {
            let entries = holding.entries()?;
            let digest = match &name {
                None => only(holding, &entries)?,
                Some(text) => digest_of(choose(&entries, Wanted::Text(text), holding.path())?),
            };
            Ok(Reference { repository: placeholder(), tag: None, digest: Some(digest) })
        })
        .await
    }

    pub(crate) async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let (repository, selector) = (reference.repository.clone(), reference.selector());
        self.ask(move |holding| {
            let entries = holding.entries()?;
            match choose(&entries, Wanted::Selected(&repository, &selector), holding.path())? {
                Found::Entry(listed) => Ok(Descriptor::new(listed.media_type, listed.digest, listed.size)),
                Found::Digest(digest) => Ok(read(holding, &digest, None, MAX_MANIFEST_BYTES)?.descriptor()),
            }
        })
        .await
    }

    pub(crate) async fn manifest(
        &self,
        repository: &Repository,
        selector: &Selector,
        limit: u64,
    ) -> Result<Manifest> {
        let (repository, selector) = (repository.clone(), selector.clone());
        self.ask(move |holding| {
            let entries = holding.entries()?;
            match choose(&entries, Wanted::Selected(&repository, &selector), holding.path())? {
                Found::Entry(listed) => read_listed(holding, &listed, limit),
                Found::Digest(digest) => read(holding, &digest, None, limit),
            }
        })
        .await
    }

    pub(crate) async fn open(&self, descriptor: &Descriptor, range: ByteRange) -> Result<Opened> {
        let digest = descriptor.digest;
        let extent = self.ask(move |holding| found(holding, &digest)).await?;
        Ok(extent.open(range))
    }

    /// What the index lists and what a tag of the referrers tag schema lists, each once.
    pub(crate) async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        let digest = *digest;
        self.ask(move |holding| referrers(holding, &digest)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Holding) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let holding = Arc::clone(&self.0);
        blocking(move || question(&*holding)).await
    }
}

/// The repository that stands where the contract wants one: layouts and archives have none.
#[expect(clippy::expect_used, reason = "constant texts")]
fn placeholder() -> Repository {
    let registry: Registry = "localhost".parse().expect("a registry");
    Repository { registry, name: "layout".parse().expect("a name") }
}

fn digest_of(found: Found) -> Digest {
    match found {
        Found::Entry(descriptor) => descriptor.digest,
        Found::Digest(digest) => digest,
    }
}

/// The one image. Where several are listed, those that belong to another one do not count: what is about it, such as a
/// signature, and its own children, which some tools list beside it.
fn only(holding: &dyn Holding, entries: &[Entry]) -> Result<Digest> {
    match choose(entries, Wanted::Only, holding.path()) {
        Ok(found) => Ok(digest_of(found)),
        Err(Error::Ambiguous { .. }) => {
            choose(&independent(holding, entries)?, Wanted::Only, holding.path()).map(digest_of)
        }
        Err(error) => Err(error),
    }
}

fn independent(holding: &dyn Holding, entries: &[Entry]) -> Result<Vec<Entry>> {
    let mut dependent = BTreeSet::new();
    let mut children = BTreeSet::new();
    for descriptor in manifests(entries) {
        let manifest = read_listed(holding, descriptor, MAX_MANIFEST_BYTES)?;
        children.extend(manifest.children().map(|(_, child)| child.digest));
        if manifest.subject().is_some() {
            dependent.insert(descriptor.digest);
        }
    }
    let stands_alone = |entry: &&Entry| {
        let digest = &entry.descriptor.digest;
        let child = entry.names.is_empty() && children.contains(digest);
        !child && !dependent.contains(digest) && !entry.names.iter().any(|name| is_about(name))
    };
    Ok(entries.iter().filter(stands_alone).cloned().collect())
}

/// Whether a name is one that tools without the referrers API give to what is about a manifest: `sha256-<hex>`, with
/// or without something behind it.
fn is_about(name: &str) -> bool {
    let schema = name.split('.').next().unwrap_or(name);
    schema.replacen('-', ":", 1).parse::<Digest>().is_ok()
}

/// What entries list as manifests, each once, so that an index cannot have one read any number of times.
fn manifests(entries: &[Entry]) -> impl Iterator<Item = &Descriptor> {
    let mut seen = BTreeSet::new();
    let listed = entries.iter().map(|entry| &entry.descriptor);
    listed
        .filter(|descriptor| matches!(descriptor.media_type.kind(), Kind::Manifest | Kind::Index))
        .filter(move |descriptor| seen.insert(descriptor.digest))
}

fn found(holding: &dyn Holding, digest: &Digest) -> Result<Extent> {
    let missing = || Error::NotFound { subject: Subject::BlobIn(holding.path().to_owned(), *digest) };
    holding.find(digest)?.ok_or_else(missing)
}

fn read_listed(holding: &dyn Holding, listed: &Descriptor, limit: u64) -> Result<Manifest> {
    let manifest = read(holding, &listed.digest, Some(&listed.media_type), limit)?;
    if manifest.size() == listed.size {
        return Ok(manifest);
    }
    Err(Error::Size {
        subject: Subject::BlobIn(holding.path().to_owned(), listed.digest),
        expected: listed.size,
        actual: manifest.size(),
        origin: None,
    })
}

/// A manifest, listed or not.
pub(crate) fn read(
    holding: &dyn Holding,
    digest: &Digest,
    declared: Option<&MediaType>,
    limit: u64,
) -> Result<Manifest> {
    let subject = || Subject::BlobIn(holding.path().to_owned(), *digest);
    let bytes = found(holding, digest)?.read_all(limit.min(MAX_MANIFEST_BYTES), subject)?;
    Manifest::parse_expecting(bytes, declared, *digest).map_err(|error| match error {
        ManifestError::Mismatch { expected, actual } => {
            let origin = Some(format!("{}:{}", holding.kind(), holding.path().display()));
            Error::Integrity { expected, actual, origin }
        }
        error => Error::Invalid { subject: subject(), reason: error.to_string() },
    })
}

fn referrers(holding: &dyn Holding, digest: &Digest) -> Result<Vec<Descriptor>> {
    let entries = holding.entries()?;
    let mut known = BTreeSet::new();
    let mut order = Vec::new();
    let mut add = |descriptor: Descriptor| {
        if known.insert(descriptor.digest) {
            order.push(descriptor);
        }
    };
    for descriptor in manifests(&entries) {
        let manifest = match read_listed(holding, descriptor, MAX_MANIFEST_BYTES) {
            Ok(manifest) => manifest,
            // Another image that is damaged or was left out is no reason to refuse this one.
            Err(error @ (Error::NotFound { .. } | Error::Invalid { .. })) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "cannot be a referrer");
                continue;
            }
            Err(error) if error.is_integrity() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot be a referrer");
                continue;
            }
            Err(error) => return Err(error),
        };
        if manifest.subject().is_some_and(|subject| subject.digest == *digest) {
            add(manifest.referrer_descriptor());
        }
    }
    // How tools list referrers that keep a layout as they would a registry without the referrers API.
    let schema = Tag::of_referrers(digest);
    if let Some(entry) = entries.iter().find(|entry| entry.names.iter().any(|name| name == schema.as_str()))
        && let View::Index(index) = read_listed(holding, &entry.descriptor, MAX_MANIFEST_BYTES)?.view()
    {
        index.manifests.iter().cloned().for_each(&mut add);
    }
    Ok(order)
}

/// Answers the contract with the shelf that a type has.
macro_rules! source_from_shelf {
    ($type:ty) => {
        #[async_trait::async_trait]
        impl pier_content::Source for $type {
            fn name(&self) -> String {
                self.shelf.name()
            }

            async fn resolve(
                &self,
                reference: &pier_oci::Reference,
            ) -> pier_content::Result<pier_oci::Descriptor> {
                self.shelf.resolve(reference).await
            }

            async fn manifest(
                &self,
                repository: &pier_oci::Repository,
                selector: &pier_oci::Selector,
                limit: u64,
            ) -> pier_content::Result<pier_oci::Manifest> {
                self.shelf.manifest(repository, selector, limit).await
            }

            async fn open(
                &self,
                _: &pier_oci::Repository,
                descriptor: &pier_oci::Descriptor,
                range: pier_content::ByteRange,
            ) -> pier_content::Result<pier_content::Opened> {
                self.shelf.open(descriptor, range).await
            }

            async fn referrers(
                &self,
                _: &pier_oci::Repository,
                digest: &pier_oci::Digest,
            ) -> pier_content::Result<Vec<pier_oci::Descriptor>> {
                self.shelf.referrers(digest).await
            }
        }
    };
}
pub(crate) use source_from_shelf;
