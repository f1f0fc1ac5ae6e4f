//! A tar of an OCI layout, to write to.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use pier_content::{Completeness, Mounted, Origin, Progress, Result, Target};
use pier_oci::{Descriptor, Digest, Manifest, Repository, Tag};
use tempfile::TempDir;

use super::output::{ArchiveOutput, Contents};
use crate::{
    folder::{INDEX_FILE, LAYOUT, LAYOUT_FILE, OciLayout},
    index::listed,
    part::Durability,
    sys::{blocking, invalid},
};

/// Writes an archive of an OCI layout.
///
/// As a [`Target`] it collects images, several if need be, in a temporary folder beside the archive; nothing is
/// visible before [`finish`](Self::finish), which replaces a file that is there. The archive is the same, byte for
/// byte, whenever the same images are put under the same tags in the same order.
#[derive(Debug)]
pub struct OciArchiveWriter {
    stage: Stage,
}

/// A layout on its way into an archive.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Only for its owner, at the end; what is written to need not be fit for sharing.
    output: Mutex<ArchiveOutput>,
    /// Where the archive goes, for people.
    pub(crate) path: PathBuf,
    pub(crate) layout: OciLayout,
    /// What was put last: the root, when nothing has a tag.
    last: Mutex<Option<Descriptor>>,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn begin(output: ArchiveOutput) -> Result<Self> {
        blocking(move || {
            let path = output.path();
            let output = output.resolved()?;
            let folder = output.stage()?;
            let layout = OciLayout::create_now(&folder.path().join("layout"), Durability::Staged)?;
            Ok(Self { output: Mutex::new(output), path, layout, last: Mutex::default(), folder })
        })
        .await
    }

    pub(crate) fn note(&self, manifest: &Manifest) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(listed(manifest));
    }

    pub(crate) fn last(&self) -> Option<Descriptor> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes the archive with these documents in front.
    pub(crate) async fn finish(self, documents: Vec<(&'static str, Vec<u8>)>) -> Result<()> {
        blocking(move || {
            let contents = Contents { documents, blobs: self.layout.blobs()? };
            let layout = self.folder.path().join("layout");
            let output = self.output.into_inner().unwrap_or_else(PoisonError::into_inner);
            output.write(&contents, &self.folder, &layout)
        })
        .await
    }
}

impl OciArchiveWriter {
    /// Begins an archive.
    pub async fn create(output: ArchiveOutput) -> Result<Self> {
        Ok(Self { stage: Stage::begin(output).await? })
    }

    /// Writes the archive. When nothing in it has a name, the manifest that was put last is listed without one.
    ///
    /// # Errors
    /// [`Invalid`](pier_content::Error::Invalid) when nothing was put into it.
    pub async fn finish(self) -> Result<()> {
        let Some(last) = self.stage.last() else {
            return Err(invalid(&self.stage.path, "nothing was put into the archive"));
        };
        if self.stage.layout.entries().await?.iter().all(|entry| entry.names.is_empty()) {
            self.stage.layout.list(&last).await?;
        }
        let layout = self.stage.layout.clone();
        let index = blocking(move || layout.index()).await?;
        self.stage.finish(vec![(LAYOUT_FILE, LAYOUT.to_vec()), (INDEX_FILE, index.to_vec())]).await
    }
}

#[async_trait]
impl Target for OciArchiveWriter {
    fn name(&self) -> String {
        format!("oci-archive:{}", self.stage.path.display())
    }

    async fn has(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool> {
        self.stage.layout.has(repository, descriptor).await
    }

    async fn mount(&self, _: &Repository, _: &Digest, _: &Repository) -> Result<Mounted> {
        Ok(Mounted::No)
    }

    async fn upload(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()> {
        self.stage.layout.upload(repository, descriptor, origin, progress).await
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        tags: &[Tag],
        completeness: Completeness,
    ) -> Result<()> {
        self.stage.layout.put_manifest(repository, manifest, tags, completeness).await?;
        self.stage.note(manifest);
        Ok(())
    }
}
