//! A place to read content from.

use std::fmt::Debug;

use async_trait::async_trait;
use pier_oci::{Descriptor, Digest, Manifest, Reference, Repository, Selector};

use crate::{Blob, ByteRange, ByteStream, Error, Filling, Result, Subject, pump};

/// A place to read content from: a registry, a layout, a swarm, a store.
///
/// Every call makes one attempt; waiting and trying again live in [`Retrying`](crate::Retrying) alone.
/// A digest that the caller holds is the only identity: what a source *says* about content is advice.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// Who this is, for people: a registry's host, a folder. Never holds a secret.
    fn name(&self) -> String;

    /// What a reference names now. The only call that turns a tag into a digest.
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor>;

    /// A manifest of at most `limit` bytes, fetched once and hashed. When `selector` is a digest, the manifest has it.
    async fn manifest(&self, repository: &Repository, selector: &Selector, limit: u64) -> Result<Manifest>;

    /// A blob's bytes, *not yet verified*. May start before the range that was asked for, or go on behind it,
    /// when the other side ignores ranges: [`Opened::start`] says where.
    async fn open(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
    ) -> Result<Opened>;

    /// The manifests whose subject is `digest`; empty when there are none.
    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>>;

    /// Fills the holes of a part, one after the other, and does not commit. Returns with holes left only in an error.
    ///
    /// The default asks [`open`](Self::open) for each hole. A source that has its own way, such as a swarm,
    /// overrides this and still has to heed [`Filling::order`].
    async fn fill(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        filling: &dyn Filling,
    ) -> Result<()> {
        fill_in_order(self, repository, descriptor, filling).await
    }

    /// The blob itself, where this source is a store of this process's, which hashed it when it took it in. Who sends it on need not hash it
    /// another time, and chooses the cheapest way to its bytes. `None`, the default, where bytes are only said to have their digest.
    async fn held(&self, _: &Repository, _: &Descriptor) -> Result<Option<Blob>> {
        Ok(None)
    }

    /// The sources behind this one, to be asked one by one when content that several of them sent is wrong.
    /// Empty when this is a single source.
    fn parts(&self) -> Vec<&dyn Source> {
        Vec::new()
    }
}

/// What [`Source::open`] gives.
#[expect(missing_debug_implementations, reason = "a stream of bytes has nothing to show")]
pub struct Opened {
    /// Where the stream starts in the content, in bytes; at most the start that was asked for.
    pub start: u64,
    /// The size of the whole content, when the other side said it.
    pub size: Option<u64>,
    /// The bytes.
    pub stream: ByteStream,
}

/// Opens every hole in turn and pumps it into the part: one attempt for each.
async fn fill_in_order<S: Source + ?Sized>(
    source: &S,
    repository: &Repository,
    descriptor: &Descriptor,
    filling: &dyn Filling,
) -> Result<()> {
    while let Some(hole) = filling.missing().first().copied() {
        let opened = source.open(repository, descriptor, hole).await?;
        check(source, descriptor, hole, &opened)?;
        let reached = pump(opened.stream, opened.start, hole, filling).await?;
        match hole.end {
            Some(end) if reached < end => {
                return Err(Error::Unavailable {
                    origin: source.name(),
                    operation: "read a blob: the stream ended early",
                    retry_after: None,
                    source: None,
                });
            }
            Some(_) => {}
            // Nobody has announced a size, so the end of the stream is the end of the content.
            None => break,
        }
    }
    Ok(())
}

/// Refuses a stream that cannot fill the hole, before a byte of it is written: asking again for the same hole would go
/// on for ever, and bytes of another content would only be found out at its end.
fn check<S: Source + ?Sized>(
    source: &S,
    descriptor: &Descriptor,
    hole: ByteRange,
    opened: &Opened,
) -> Result<()> {
    if let Some(actual) = opened.size.filter(|&size| size != descriptor.size) {
        let (subject, expected) = (Subject::Blob(descriptor.digest), descriptor.size);
        return Err(Error::Size { subject, expected, actual, origin: Some(source.name()) });
    }
    if opened.start > hole.start {
        // No fault of ours: another source may well begin where it was asked to.
        return Err(Error::Unavailable {
            origin: source.name(),
            operation: "read a blob: the stream starts behind what was asked for",
            retry_after: None,
            source: None,
        });
    }
    Ok(())
}
