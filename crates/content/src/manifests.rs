//! The manifests of one repository, each fetched once and held against the descriptor that named it.
//!
//! A walk through a graph asks for the same manifest more than once, and what it meets was written by strangers:
//! here is the one bound on how many manifests a walk fetches and how much memory they take.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream};
use pier_oci::{ChildKind, Descriptor, Digest, Index, Kind, Manifest, Repository, Selector, View};

use crate::{Error, Result, Source, Subject};

/// Requests that are under way at once.
const AT_ONCE: usize = 4;

/// Manifests that one walk fetches at most. The largest indexes that people publish have a few hundred entries.
const MANIFESTS: usize = 4096;

/// Bytes of manifests that one walk holds at most.
const BYTES: u64 = 64 << 20;

/// Fetches manifests of one repository and keeps them.
#[derive(Debug)]
pub struct Manifests<'a> {
    source: &'a dyn Source,
    repository: &'a Repository,
    limit: u64,
    held: BTreeMap<Digest, Arc<Manifest>>,
    bytes: u64,
}

impl<'a> Manifests<'a> {
    /// Of `repository` at `source`; a single manifest may have `limit` bytes.
    pub fn new(source: &'a dyn Source, repository: &'a Repository, limit: u64) -> Self {
        Self { source, repository, limit, held: BTreeMap::new(), bytes: 0 }
    }

    /// The repository that they are in.
    pub fn repository(&self) -> &'a Repository {
        self.repository
    }

    /// What a tag or a digest names. A digest is checked, whatever the source did.
    pub async fn root(&mut self, selector: &Selector) -> Result<Arc<Manifest>> {
        let manifest = self.source.manifest(self.repository, selector, self.limit).await?;
        if let Selector::Digest(expected) = selector {
            check_digest(&manifest, expected, self.source)?;
        }
        let digest = manifest.digest();
        self.hold(manifest)?;
        self.held(&digest)
    }

    /// The manifest that a descriptor names, with the digest, size and media type that it says.
    pub async fn child(&mut self, descriptor: &Descriptor) -> Result<Arc<Manifest>> {
        self.fetch(std::slice::from_ref(descriptor)).await?;
        self.held(&descriptor.digest)
    }

    /// Fetches the manifests that descriptors name, several at once; [`held`](Self::held) gives them.
    pub async fn fetch(&mut self, descriptors: &[Descriptor]) -> Result<()> {
        let mut asked = BTreeSet::new();
        let missing: Vec<Descriptor> = descriptors
            .iter()
            .filter(|descriptor| {
                !self.held.contains_key(&descriptor.digest) && asked.insert(descriptor.digest)
            })
            .cloned()
            .collect();
        if self.held.len() + missing.len() > MANIFESTS {
            return Err(self.too_large());
        }
        let (source, repository, limit) = (self.source, self.repository, self.limit);
        let mut fetched = stream::iter(missing)
            .map(|descriptor| async move { fetch_one(source, repository, limit, &descriptor).await })
            .buffered(AT_ONCE);
        while let Some(manifest) = fetched.next().await {
            self.hold(manifest?)?;
        }
        Ok(())
    }

    /// A manifest that was fetched before; `NotFound` else.
    pub fn held(&self, digest: &Digest) -> Result<Arc<Manifest>> {
        self.held.get(digest).cloned().ok_or_else(|| Error::NotFound { subject: self.subject(*digest) })
    }

    /// A manifest of this repository as the subject of an error.
    pub fn subject(&self, digest: Digest) -> Subject {
        Subject::Manifest(self.repository.name.clone(), Selector::Digest(digest))
    }

    fn hold(&mut self, manifest: Manifest) -> Result<()> {
        self.bytes += manifest.size();
        if self.bytes > BYTES {
            return Err(self.too_large());
        }
        self.held.insert(manifest.digest(), Arc::new(manifest));
        Ok(())
    }

    fn too_large(&self) -> Error {
        Error::Invalid {
            subject: Subject::Repository(self.repository.name.clone()),
            reason: format!("the image has more than {MANIFESTS} manifests or {} MiB of them", BYTES >> 20),
        }
    }
}

async fn fetch_one(
    source: &dyn Source,
    repository: &Repository,
    limit: u64,
    descriptor: &Descriptor,
) -> Result<Manifest> {
    let selector = Selector::Digest(descriptor.digest);
    let manifest = source.manifest(repository, &selector, limit).await?;
    check_digest(&manifest, &descriptor.digest, source)?;
    let subject = || Subject::Manifest(repository.name.clone(), selector.clone());
    let actual = manifest.size();
    if actual != descriptor.size {
        let (expected, origin) = (descriptor.size, Some(source.name()));
        return Err(Error::Size { subject: subject(), expected, actual, origin });
    }
    // One document read as two kinds is how a checked index smuggles in unchecked content.
    if *manifest.media_type() != descriptor.media_type {
        let reason = format!(
            "its descriptor says `{}`, the manifest says `{}`",
            descriptor.media_type,
            manifest.media_type()
        );
        return Err(Error::Invalid { subject: subject(), reason });
    }
    Ok(manifest)
}

fn check_digest(manifest: &Manifest, expected: &Digest, source: &dyn Source) -> Result<()> {
    if manifest.digest() == *expected {
        return Ok(());
    }
    Err(Error::Integrity { expected: *expected, actual: manifest.digest(), origin: Some(source.name()) })
}

/// The view of a manifest that is an index.
pub(crate) fn index_of(manifest: &Manifest) -> Option<&Index> {
    match manifest.view() {
        View::Index(index) => Some(index),
        View::Image(_) => None,
    }
}

/// The config and the layers of an image, in this order; nothing of an index.
pub(crate) fn blobs_of(manifest: &Manifest) -> impl Iterator<Item = &Descriptor> {
    manifest.children().filter(|(kind, _)| *kind != ChildKind::Manifest).map(|(_, blob)| blob)
}

/// Whether a descriptor is one of an index.
pub(crate) fn is_index(descriptor: &Descriptor) -> bool {
    descriptor.media_type.kind() == Kind::Index
}

/// Whether a descriptor is one of a manifest or an index. Schema 1 counts, so that it is refused by its name.
pub(crate) fn is_manifest(descriptor: &Descriptor) -> bool {
    descriptor.media_type.kind() != Kind::Blob
}
