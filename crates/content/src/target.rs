//! A place to write images to.

use std::fmt::Debug;

use async_trait::async_trait;
use pier_oci::{Descriptor, Digest, Manifest, Repository, Tag};

use crate::{Completeness, Progress, Result, Source};

/// A place to write images to: a registry, a layout, a store. Leaves go first, roots next, tags last.
#[async_trait]
pub trait Target: Debug + Send + Sync {
    /// Who this is, for people. Never holds a secret.
    fn name(&self) -> String;

    /// Whether the repository shows this content already, so that it need not be sent.
    async fn has(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool>;

    /// Lets `repository` show a blob that `from` shows, without sending it. [`Mounted::No`] is not an error.
    async fn mount(&self, repository: &Repository, digest: &Digest, from: &Repository) -> Result<Mounted>;

    /// Sends a blob. The target reads it from `origin`, again from any offset when it has to.
    async fn upload(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()>;

    /// Stores a manifest whose children are there, and then moves the tags to it.
    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        tags: &[Tag],
        completeness: Completeness,
    ) -> Result<()>;
}

/// Where a blob is read from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The place.
    pub source: &'a dyn Source,
    /// The repository there that shows the blob.
    pub repository: &'a Repository,
}

/// The answer to [`Target::mount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounted {
    /// The repository shows the blob now.
    Yes,
    /// It has to be sent.
    No,
}
