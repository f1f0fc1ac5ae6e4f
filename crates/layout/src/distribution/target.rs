//! The folder as a place to write to.
//!
//! Content first, then the link that shows it, each by a temporary name, synced, and renamed: whoever reads meanwhile,
//! distribution itself included, finds what was there or what is. Who is killed leaves no link to what is not there.

use std::sync::Arc;

use async_trait::async_trait;
use pier_content::{
    Commit, Completeness, Error, Event, Mounted, Origin, Progress, Result, Target, fill_and_commit,
};
use pier_oci::{ChildKind, Descriptor, Digest, Kind, Manifest, Repository, RepositoryName, Selector, Tag};

use super::{DistributionFolder, tree::Shown};
use crate::{
    part::{Part, Room},
    sys::blocking,
};

impl DistributionFolder {
    fn room(&self) -> Arc<dyn Room> {
        Arc::new(self.tree.clone())
    }

    /// Whether the content is there, whole and right, and the repository shows it.
    async fn holds(
        &self,
        repository: &RepositoryName,
        shown: Shown,
        digest: Digest,
        size: u64,
    ) -> Result<bool> {
        let (folder, repository) = (self.clone(), repository.clone());
        blocking(move || {
            Ok(folder.tree.shows(&repository, shown, &digest)? && folder.is_right(&digest, size)?)
        })
        .await
    }

    fn is_right(&self, digest: &Digest, size: u64) -> Result<bool> {
        self.verified.has(&self.tree, digest, size)
    }

    async fn show(&self, repository: &RepositoryName, shown: Shown, digest: Digest) -> Result<()> {
        let (repository, durability) = (repository.clone(), self.durability);
        self.ask(move |tree| tree.show(&repository, shown, &digest, durability)).await
    }

    /// What of a manifest's children the repository does not show, each once, in its order.
    async fn lacks(&self, repository: &RepositoryName, manifest: &Manifest) -> Result<Vec<Digest>> {
        let mut missing = Vec::new();
        for (kind, child) in manifest.children() {
            let shown = if kind == ChildKind::Manifest { Shown::Revision } else { Shown::Layer };
            let exempt = kind == ChildKind::Layer && child.media_type.is_nondistributable();
            if !exempt
                && !missing.contains(&child.digest)
                && !self.holds(repository, shown, child.digest, child.size).await?
            {
                missing.push(child.digest);
            }
        }
        Ok(missing)
    }
}

#[async_trait]
impl Target for DistributionFolder {
    fn name(&self) -> String {
        format!("the folder `{}`", self.tree.path().display())
    }

    /// A blob counts as there when the repository shows it and it hashes to the digest; an image when its config and
    /// layers are there too.
    async fn has(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool> {
        let Descriptor { digest, size, .. } = *descriptor;
        let kind = descriptor.media_type.kind();
        let shown = if kind == Kind::Blob { Shown::Layer } else { Shown::Revision };
        let is_there = self.holds(&repository.name, shown, digest, size).await?;
        if !is_there || kind == Kind::Blob {
            return Ok(is_there);
        }
        match pier_content::Catalog::resolve(self, &repository.name, &Selector::Digest(digest)).await {
            Ok(manifest) if *manifest.media_type() != descriptor.media_type => Ok(false),
            Ok(manifest) if kind == Kind::Manifest => {
                Ok(self.lacks(&repository.name, &manifest).await?.is_empty())
            }
            Ok(_) => Ok(true),
            // The bytes are right: then this is no manifest, whatever its descriptor says.
            Err(Error::Invalid { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn mount(&self, repository: &Repository, digest: &Digest, from: &Repository) -> Result<Mounted> {
        let (folder, name, digest) = (self.clone(), from.name.clone(), *digest);
        let is_there = blocking(move || {
            let Some(data) = folder.tree.blob(&digest)? else { return Ok(false) };
            Ok(folder.tree.shows(&name, Shown::Layer, &digest)? && folder.is_right(&digest, data.size)?)
        })
        .await?;
        if !is_there {
            return Ok(Mounted::No);
        }
        self.show(&repository.name, Shown::Layer, digest).await?;
        Ok(Mounted::Yes)
    }

    /// Content that is there, for whatever repository, is not sent again: a folder keeps no readers apart.
    async fn upload(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()> {
        let Descriptor { digest, size, .. } = *descriptor;
        let folder = self.clone();
        if blocking(move || folder.is_right(&digest, size)).await? {
            self.show(&repository.name, Shown::Layer, digest).await?;
            progress.emit(|| Event::Present(descriptor.clone()));
            return Ok(());
        }
        let (room, durability, wanted) = (self.room(), self.durability, descriptor.clone());
        let part = blocking(move || Part::begin(&room, &wanted, durability)).await?;
        let commit = Commit { digest, link: None };
        fill_and_commit(&part, origin, descriptor, commit, progress).await?;
        self.show(&repository.name, Shown::Layer, digest).await?;
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
        let name = &repository.name;
        if completeness == Completeness::Strict {
            let digests = self.lacks(name, manifest).await?;
            if !digests.is_empty() {
                return Err(Error::Missing { repository: name.clone(), digests });
            }
        }
        let (folder, digest, bytes) = (self.clone(), manifest.digest(), manifest.bytes().clone());
        blocking(move || {
            if folder.is_right(&digest, bytes.len() as u64)? {
                return Ok(());
            }
            Part::put(&folder.room(), &digest, &bytes, folder.durability).map(drop)
        })
        .await?;
        self.show(name, Shown::Revision, digest).await?;
        for tag in tags {
            let (name, tag, durability) = (name.clone(), tag.clone(), self.durability);
            self.ask(move |tree| tree.point(&name, &tag, &digest, durability)).await?;
        }
        Ok(())
    }
}
