//! Names, manifests and the graph.

use std::{fmt::Debug, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use pier_oci::{Descriptor, Digest, Manifest, RepositoryName, Selector, Tag};

use crate::{ImmutableTags, Result, TagRules};

/// What a repository shows: its manifests, their tags, and the blobs that it links.
///
/// Each call is one transaction: it happened wholly or not at all, and what it acknowledged is durable.
/// Names are per repository; bytes are shared between all of them.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// Stores a manifest and moves tags to it, in one step.
    ///
    /// # Errors
    /// [`Missing`](crate::Error::Missing) under [`Completeness::Strict`] when the repository lacks a child;
    /// [`Size`](crate::Error::Size) when a blob that it has is not as long as the manifest says;
    /// [`Changed`](crate::Error::Changed) and [`Immutable`](crate::Error::Immutable) when a tag may not move, and the
    /// latter also when the manifest is there under another media type and a tag that never moves leads to it.
    async fn put_manifest(&self, put: PutManifest) -> Result<Stored>;

    /// The manifest that a tag or a digest names in a repository, as it was stored, byte for byte.
    async fn resolve(&self, repository: &RepositoryName, selector: &Selector) -> Result<Arc<Manifest>>;

    /// Removes a manifest and every tag that names it. Content that nothing else names is collected later.
    ///
    /// # Errors
    /// [`Immutable`](crate::Error::Immutable) when a tag that never moves names it, or leads to it through indexes.
    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        immutable: &ImmutableTags,
    ) -> Result<()>;

    /// Removes a tag and keeps the manifest.
    ///
    /// # Errors
    /// [`Changed`](crate::Error::Changed) and [`Immutable`](crate::Error::Immutable) when the rules say no.
    async fn untag(&self, repository: &RepositoryName, tag: &Tag, rules: &TagRules) -> Result<()>;

    /// Where a tag has pointed, the latest first, at most `limit` moves. A tag that is gone has a history too, which a store
    /// may forget in time; one that never was has none.
    async fn tag_history(&self, repository: &RepositoryName, tag: &Tag, limit: usize)
    -> Result<Vec<TagMove>>;

    /// Up to `limit` tags in byte order, those after `after` (any string). `NotFound` for a repository that
    /// has never held anything, or of which the store has forgotten that it did.
    async fn tags(&self, repository: &RepositoryName, after: Option<&str>, limit: usize)
    -> Result<Page<Tag>>;

    /// Up to `limit` repositories that hold a manifest, in byte order, those after `after` (any string).
    async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<RepositoryName>>;

    /// Manifests of a repository that refer to a subject, which itself need not exist, in digest order.
    /// Descriptors carry the artifact type and the annotations, as the specification asks. A page ends early where
    /// its manifests have more than [`REFERRERS_BYTES`] together.
    async fn referrers(&self, repository: &RepositoryName, of: &ReferrersOf) -> Result<Page<Descriptor>>;

    /// Lets a repository show a committed blob, and leases it so that it is not collected before a manifest
    /// names it. Doing so again renews the lease. Gives the blob's size in bytes.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound) when the claim does not hold or the blob is not committed.
    async fn link(&self, repository: &RepositoryName, digest: &Digest, claim: Claim) -> Result<u64>;

    /// The size of a blob that the repository shows, `None` when it shows none.
    async fn linked(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<u64>>;

    /// Stops showing a blob. `NotFound` when it was not shown; [`InUse`](crate::Error::InUse) while a manifest
    /// of the repository names it.
    async fn unlink(&self, repository: &RepositoryName, digest: &Digest) -> Result<()>;
}

/// What [`Catalog::put_manifest`] stores.
#[derive(Clone, Debug)]
pub struct PutManifest {
    /// Where.
    pub repository: RepositoryName,
    /// What; its bytes are kept as they are.
    pub manifest: Arc<Manifest>,
    /// Tags that name it from then on.
    pub tags: Vec<Tag>,
    /// Whether all of its children have to be there.
    pub completeness: Completeness,
    /// What has to hold for each of the tags.
    pub rules: TagRules,
}

/// What [`Catalog::put_manifest`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Children that the repository does not have, each counted once.
    pub absent: usize,
}

/// A tag began to name something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagMove {
    /// What it named from then on; `None` when it was removed.
    pub digest: Option<Digest>,
    /// When.
    pub at: SystemTime,
}

/// A page of referrers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrersOf {
    /// What they refer to.
    pub subject: Digest,
    /// Only those of this type, which is that of the config where a manifest says none.
    pub artifact_type: Option<String>,
    /// Only those behind this digest, in the order of their text.
    pub after: Option<Digest>,
    /// How many at most.
    pub limit: usize,
}

/// Moves of one tag that are kept at least: a repository whose tag moves with every commit must not grow for ever.
pub const KEPT_MOVES: usize = 100;

/// Bytes that the manifests behind one page of referrers have at most, the last one left out: their descriptors carry
/// annotations, and clients read no index of more than 4 MiB.
pub const REFERRERS_BYTES: usize = 3 << 20;

/// Whether a manifest's children have to be in its repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// All of them, but for layers that may not be distributed. A missing subject is always accepted.
    Strict,
    /// Children may be left out on purpose, such as other platforms of an index.
    Sparse,
}

/// Why a repository may show a blob that is committed already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This repository shows it, and the caller may read there. The same repository renews its lease.
    From(RepositoryName),
    /// Some repository shows it, and the caller may read in all of them.
    FromAny,
    /// The caller has shown that it has the bytes, or that the place they come from would give them.
    Proven,
}

/// One page of an ordered listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Whether there is more behind the last item.
    pub more: bool,
}

impl<T> Page<T> {
    /// The first `limit` of what is left of a list. An item more than that tells that there is another page, and is
    /// all that is looked at behind this one.
    pub fn of(items: impl IntoIterator<Item = T>, limit: usize) -> Self {
        let mut items = items.into_iter();
        let on_it = items.by_ref().take(limit).collect();
        Self { items: on_it, more: items.next().is_some() }
    }
}

/// A page of referrers in the making, which also ends once its manifests have more than [`REFERRERS_BYTES`] together.
#[derive(Debug)]
pub struct ReferrersPage {
    limit: usize,
    bytes: usize,
    items: Vec<Descriptor>,
}

impl ReferrersPage {
    /// With nothing on it, and so many items at most.
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, items: Vec::new() }
    }

    /// Whether another one goes on it, however large that is.
    pub fn has_room(&self) -> bool {
        self.items.len() < self.limit && self.bytes < REFERRERS_BYTES
    }

    /// Puts a manifest on it.
    pub fn add(&mut self, manifest: &Manifest) {
        self.bytes += manifest.bytes().len();
        self.items.push(manifest.referrer_descriptor());
    }

    /// The last page of its list.
    pub fn last(self) -> Page<Descriptor> {
        Page { items: self.items, more: false }
    }

    /// A page that there is more behind.
    pub fn full(self) -> Page<Descriptor> {
        Page { items: self.items, more: true }
    }
}
