//! A layout as a place to write to.

use std::sync::Arc;

use async_trait::async_trait;
use pier_content::{
    Commit, Completeness, Error, Event, Mounted, Origin, Progress, Result, Target, fill_and_commit,
};
use pier_oci::{ChildKind, Descriptor, Digest, Kind, MAX_MANIFEST_BYTES, Manifest, Repository, Tag};

use super::OciLayout;
use crate::{
    extent::Extent,
    index::listed,
    part::{Part, Room},
    shelf::read,
    sys::{Stamp, blocking},
};

impl OciLayout {
    fn room(&self) -> Arc<dyn Room> {
        Arc::new(self.files.clone())
    }

    /// Whether a blob is there, whole and right. It is hashed once for as long as its file does not change.
    async fn has_blob(&self, digest: Digest, size: u64) -> Result<bool> {
        let layout = self.clone();
        blocking(move || layout.verify(&digest, size)).await
    }

    fn verify(&self, digest: &Digest, size: u64) -> Result<bool> {
        let Some((file, actual, path)) = self.files.blob(digest)? else { return Ok(false) };
        if actual != size {
            return Ok(false);
        }
        let stamp = Stamp::of(&file, &path)?;
        if self.verified().get(digest) == Some(&stamp) {
            return Ok(true);
        }
        let extent = Extent::in_file(Arc::new(file), 0, size, path.clone());
        if extent.digest(digest.algorithm())? != *digest {
            tracing::warn!(path = %path.display(), "a blob of the layout is not what it is called");
            return Ok(false);
        }
        self.verified().insert(*digest, stamp);
        Ok(true)
    }

    /// What of a manifest's children is not there, each once, in its order.
    async fn lacks(&self, manifest: &Manifest) -> Result<Vec<Digest>> {
        let mut missing = Vec::new();
        for (kind, child) in manifest.children() {
            let exempt = kind == ChildKind::Layer && child.media_type.is_nondistributable();
            if !exempt && !self.has_blob(child.digest, child.size).await? && !missing.contains(&child.digest)
            {
                missing.push(child.digest);
            }
        }
        Ok(missing)
    }
}

#[async_trait]
impl Target for OciLayout {
    fn name(&self) -> String {
        self.shelf.name()
    }

    /// A blob counts as there when it has the size and hashes to the digest; a manifest when its config and layers
    /// are there too.
    async fn has(&self, _: &Repository, descriptor: &Descriptor) -> Result<bool> {
        let Descriptor { digest, size, .. } = *descriptor;
        if !self.has_blob(digest, size).await? {
            return Ok(false);
        }
        if descriptor.media_type.kind() == Kind::Blob {
            return Ok(true);
        }
        let (files, declared) = (self.files.clone(), descriptor.media_type.clone());
        let manifest = blocking(move || match read(&files, &digest, None, MAX_MANIFEST_BYTES) {
            Ok(manifest) => Ok((*manifest.media_type() == declared).then_some(manifest)),
            // The bytes are right: then this is no manifest, whatever its descriptor says.
            Err(Error::Invalid { .. }) => Ok(None),
            Err(error) => Err(error),
        })
        .await?;
        match manifest {
            Some(manifest) => {
                let image = manifest.media_type().kind() == Kind::Manifest;
                Ok(!image || self.lacks(&manifest).await?.is_empty())
            }
            None => Ok(false),
        }
    }

    /// All of a layout is one place, so what [`has`](Self::has) did not find cannot be mounted.
    async fn mount(&self, _: &Repository, _: &Digest, _: &Repository) -> Result<Mounted> {
        Ok(Mounted::No)
    }

    async fn upload(
        &self,
        _: &Repository,
        descriptor: &Descriptor,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()> {
        let (room, durability, wanted) = (self.room(), self.durability, descriptor.clone());
        let part = blocking(move || Part::begin(&room, &wanted, durability)).await?;
        let commit = Commit { digest: descriptor.digest, link: None };
        fill_and_commit(&part, origin, descriptor, commit, progress).await?;
        let stamp = blocking(move || part.stamp()).await?;
        self.verified().insert(descriptor.digest, stamp);
        progress.emit(|| Event::Committed(descriptor.clone()));
        Ok(())
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        tags: &[Tag],
        completeness: Completeness,
    ) -> Result<()> {
        if completeness == Completeness::Strict {
            let digests = self.lacks(manifest).await?;
            if !digests.is_empty() {
                return Err(Error::Missing { repository: repository.name.clone(), digests });
            }
        }
        let (digest, size) = (manifest.digest(), manifest.size());
        if !self.has_blob(digest, size).await? {
            let (room, durability, bytes) = (self.room(), self.durability, manifest.bytes().clone());
            let stamp = blocking(move || Part::put(&room, &digest, &bytes, durability)).await?;
            self.verified().insert(digest, stamp);
        }
        if tags.is_empty() && manifest.subject().is_none() {
            return Ok(());
        }
        self.add(listed(manifest), tags.to_vec()).await
    }
}
