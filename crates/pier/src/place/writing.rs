//! A place that is written to.

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
};

use anyhow::anyhow;
use pier_content::{Progress, Target};
use pier_layout::{ArchiveOutput, DockerArchiveWriter, OciArchiveWriter, OciLayout};
use pier_oci::{Descriptor, Digest, Reference, Repository, Tag};

use super::{Archive, Inside, Origin, Place, Reading, Sites, reading::scratch};
use crate::failure::{Failure, Status};

/// A place, ready to take an image.
#[derive(Debug)]
pub(crate) struct Writing {
    to: To,
    /// The repository to give to the target; places that are no registries do not look at it.
    pub(crate) repository: Repository,
    /// What names the image there afterwards.
    pub(crate) tags: Vec<Tag>,
    /// What the image has to be, if the place says so.
    pub(crate) digest: Option<Digest>,
    /// The place without tag and digest, as it can be typed.
    pub(crate) name: String,
}

/// What takes the content.
#[derive(Debug)]
enum To {
    Registry(Arc<dyn Target>),
    Store(Box<dyn Target>),
    Layout(OciLayout),
    OciArchive(OciArchiveWriter),
    DockerArchive(DockerArchiveWriter),
}

/// Which images of an index a place can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capacity {
    /// Any of them, and the index with the others recorded as absent.
    Some,
    /// All of them. Others' registries and tools take an index without its images for a mistake.
    All,
    /// One, without an index.
    One,
}

impl Writing {
    /// Opens a place, or makes it.
    ///
    /// # Errors
    /// When it cannot be written to, or what is behind its path cannot name an image there.
    pub(crate) async fn open(
        place: &Place,
        from: &Reading,
        sites: &Sites<'_>,
        progress: &Progress,
    ) -> Result<Self, Failure> {
        let repository = from.reference.repository.clone();
        match place {
            Place::Registry(Reference { repository, tag, digest }) => Ok(Self {
                to: To::Registry(sites.target(&repository.registry, progress)?),
                repository: repository.clone(),
                tags: tag.iter().cloned().collect(),
                digest: *digest,
                name: repository.to_string(),
            }),
            Place::Store(stored) => {
                let store = sites.store_or_new()?;
                let there = stored.new_repository(&store);
                let Reference { tag, digest, .. } = stored.reference();
                Ok(Self {
                    repository,
                    tags: tag.iter().cloned().collect(),
                    digest: *digest,
                    name: format!("store:{}", there.name),
                    to: To::Store(Box::new(there)),
                })
            }
            Place::Layout(path, inside) => Ok(Self {
                tags: inside.tags()?,
                digest: inside.digest,
                name: format!("oci:{}", path.display()),
                to: To::Layout(OciLayout::create(path).await?),
                repository,
            }),
            Place::OciArchive(archive, inside) => Ok(Self {
                tags: inside.tags()?,
                digest: inside.digest,
                name: format!("oci-archive:{archive}"),
                to: To::OciArchive(OciArchiveWriter::create(archive.output()?).await?),
                repository,
            }),
            Place::DockerArchive(archive, inside) => {
                let named = inside.reference()?.or_else(|| from.reference_at_registry());
                Ok(Self {
                    tags: named.iter().filter_map(|reference| reference.tag.clone()).collect(),
                    digest: inside.digest,
                    name: format!("docker-archive:{archive}"),
                    to: To::DockerArchive(DockerArchiveWriter::create(archive.output()?).await?),
                    repository: named.map_or(repository, |reference| reference.repository),
                })
            }
        }
    }

    /// What takes the content.
    pub(crate) fn target(&self) -> &dyn Target {
        match &self.to {
            To::Registry(target) => target.as_ref(),
            To::Store(target) => target.as_ref(),
            To::Layout(target) => target,
            To::OciArchive(target) => target,
            To::DockerArchive(target) => target,
        }
    }

    pub(crate) fn capacity(&self) -> Capacity {
        match self.to {
            To::Store(_) => Capacity::Some,
            To::Registry(_) | To::Layout(_) | To::OciArchive(_) => Capacity::All,
            To::DockerArchive(_) => Capacity::One,
        }
    }

    /// Makes what was copied visible, where a copy alone does not.
    pub(crate) async fn finish(self, root: &Descriptor) -> Result<(), Failure> {
        match self.to {
            // What has no name would not be found again.
            To::Layout(layout) if self.tags.is_empty() => layout.list(root).await?,
            To::Registry(_) | To::Store(_) | To::Layout(_) => {}
            To::OciArchive(writer) => writer.finish().await?,
            To::DockerArchive(writer) => writer.finish().await?,
        }
        Ok(())
    }
}

impl Reading {
    /// The image's name at the registry that it comes from, if it has one.
    fn reference_at_registry(&self) -> Option<Reference> {
        let named = matches!(self.origin, Origin::Registry(_)) && self.reference.tag.is_some();
        named.then(|| self.reference.clone())
    }
}

impl Inside {
    /// The name as a tag.
    fn tags(&self) -> Result<Vec<Tag>, Failure> {
        let tag = self.name.as_deref().map(str::parse).transpose()?;
        Ok(tag.into_iter().collect())
    }

    /// The name as a reference.
    fn reference(&self) -> Result<Option<Reference>, Failure> {
        Ok(self.name.as_deref().map(str::parse).transpose()?)
    }
}

impl Archive {
    fn output(&self) -> Result<ArchiveOutput, Failure> {
        match self {
            Self::File(path) => Ok(ArchiveOutput::File(path.clone())),
            Self::Standard if io::stdout().is_terminal() => {
                Err(Failure::new(Status::Usage, anyhow!("an archive is not written to a terminal"))
                    .with_hint("redirect standard output to a file or a pipe"))
            }
            Self::Standard => {
                Ok(ArchiveOutput::Stream { writer: Box::new(io::stdout()), staging: scratch() })
            }
        }
    }
}
