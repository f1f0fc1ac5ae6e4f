//! An archive that `docker load` takes, to write to.
//!
//! Since Docker 25, `docker save` writes an archive that is an OCI layout too: one set of blobs, listed once in
//! `manifest.json` for those who know Docker's format, and once in `index.json`. This writes the same, so that an
//! engine which keeps manifests gets the very one that was copied, and others get an image with the same id.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pier_content::{Completeness, Error, Mounted, Origin, Progress, Result, Target};
use pier_oci::{Descriptor, Digest, Manifest, MediaType, Reference, Repository, Tag, View};
use serde::Serialize;

use super::{
    MANIFEST_FILE,
    documents::{self, Image},
};
use crate::{
    archive::{blob_name, output::ArchiveOutput, writer::Stage},
    folder::{INDEX_FILE, LAYOUT, LAYOUT_FILE},
    index::{IMAGE_NAME, REF_NAME},
    sys::invalid,
};

/// Writes an archive that `docker load`, `podman load` and skopeo take.
///
/// As a [`Target`] it collects images, several if need be, in a temporary folder beside the archive; nothing is
/// visible before [`finish`](Self::finish), which replaces a file that is there. Repository and tags become the
/// image's names. Layers stay packed as they are: gzip is taken by every engine, Zstandard not by Docker 20.10, and
/// crane wants all layers packed like the first. The archive is the same, byte for byte, whenever the same images are put
/// under the same names in the same order.
///
/// Each image in it is of one platform: an index is refused with [`SinglePlatform`](Error::SinglePlatform). Choose an
/// image first ([`select`](pier_content::select)) and copy that by its digest.
#[derive(Debug)]
pub struct DockerArchiveWriter {
    stage: Stage,
    images: Mutex<Vec<Put>>,
}

/// An image that was put.
#[derive(Debug)]
struct Put {
    descriptor: Descriptor,
    config: Digest,
    layers: Vec<Digest>,
    names: Vec<(Repository, Tag)>,
}

impl DockerArchiveWriter {
    /// Begins an archive.
    pub async fn create(output: ArchiveOutput) -> Result<Self> {
        Ok(Self { stage: Stage::begin(output).await?, images: Mutex::default() })
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// [`Invalid`](Error::Invalid) when nothing was put into it.
    pub async fn finish(self) -> Result<()> {
        let images = self.images.into_inner().unwrap_or_else(PoisonError::into_inner);
        if images.is_empty() {
            return Err(invalid(&self.stage.path, "nothing was put into the archive"));
        }
        let list: Vec<Image> = images.iter().map(Put::listed).collect();
        let documents = vec![
            (LAYOUT_FILE, LAYOUT.to_vec()),
            (INDEX_FILE, index(&images)),
            (MANIFEST_FILE, documents::list(&list)),
        ];
        self.stage.finish(documents).await
    }

    fn images(&self) -> MutexGuard<'_, Vec<Put>> {
        // Every change is one push.
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image, if it is one that Docker runs.
    fn image(&self, manifest: &Manifest) -> Result<Put> {
        let path = self.stage.path.clone();
        let View::Image(image) = manifest.view() else {
            return Err(Error::SinglePlatform { place: path });
        };
        let config = &image.config.media_type;
        if *config != MediaType::OCI_CONFIG && *config != MediaType::DOCKER_CONFIG {
            let reason = format!("`{}` is no image but an artifact with a `{config}`", manifest.digest());
            return Err(invalid(&path, reason));
        }
        Ok(Put {
            descriptor: manifest.descriptor(),
            config: image.config.digest,
            layers: image.layers.iter().map(|layer| layer.digest).collect(),
            names: Vec::new(),
        })
    }
}

impl Put {
    fn listed(&self) -> Image {
        Image {
            config: blob_name(&self.config),
            repo_tags: self.names.iter().map(|(repository, tag)| whole(repository, tag)).collect(),
            layers: self.layers.iter().map(blob_name).collect(),
        }
    }
}

/// A name with its registry, so that no engine's own default takes part.
fn whole(repository: &Repository, tag: &Tag) -> String {
    Reference { repository: repository.clone(), tag: Some(tag.clone()), digest: None }.to_string()
}

/// The index of the same images, with the names that containerd and Docker look for.
fn index(images: &[Put]) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Index {
        schema_version: u64,
        media_type: MediaType,
        manifests: Vec<Descriptor>,
    }
    let mut manifests = Vec::new();
    for Put { descriptor, names, .. } in images {
        if names.is_empty() {
            manifests.push(descriptor.clone());
        }
        manifests.extend(names.iter().map(|(repository, tag)| {
            let annotations = [(IMAGE_NAME, whole(repository, tag)), (REF_NAME, tag.to_string())]
                .map(|(key, name)| (key.to_owned(), name));
            Descriptor { annotations: annotations.into(), ..descriptor.clone() }
        }));
    }
    documents::written(&Index { schema_version: 2, media_type: MediaType::OCI_INDEX, manifests })
}

#[async_trait]
impl Target for DockerArchiveWriter {
    fn name(&self) -> String {
        format!("docker-archive:{}", self.stage.path.display())
    }

    /// Never for a manifest: each image has to be put, so that it is listed.
    async fn has(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool> {
        if descriptor.media_type.kind() != pier_oci::Kind::Blob {
            return Ok(false);
        }
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
        let mut image = self.image(manifest)?;
        self.stage.layout.put_manifest(repository, manifest, &[], completeness).await?;
        let names = tags.iter().map(|tag| (repository.clone(), tag.clone()));
        let mut images = self.images();
        // A name moves, as a tag does.
        for other in &mut *images {
            other.names.retain(|(other, tag)| other != repository || !tags.contains(tag));
        }
        match images.iter_mut().find(|known| known.descriptor.digest == image.descriptor.digest) {
            Some(known) => known.names.extend(names),
            None => {
                image.names.extend(names);
                images.push(image);
            }
        }
        Ok(())
    }
}
