//! A place that is read from.

use std::{
    env, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use pier_content::{Error, Progress, Source, StoreRepository};
use pier_layout::{ArchiveInput, DockerArchive, OciArchive, OciLayout, Spool};
use pier_oci::{Reference, Repository};

use super::{Archive, Inside, Place, Sites, held};
use crate::failure::Failure;

/// An image at a place, ready to be read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) source: Arc<dyn Source>,
    /// What to ask the source for.
    pub(crate) reference: Reference,
    pub(crate) origin: Origin,
}

/// What is known of where content comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// A repository of a registry.
    Registry(Repository),
    /// A repository of the local store.
    Store(StoreRepository),
    /// A folder or an archive.
    Files,
}

impl Reading {
    /// Opens a place. An archive that cannot be read from any position is spooled first.
    ///
    /// # Errors
    /// When there is no such place, or, for what is on this machine, no such image at it.
    pub(crate) async fn open(place: &Place, sites: &Sites<'_>, progress: &Progress) -> Result<Self, Failure> {
        match place {
            Place::Registry(reference) => Ok(Self {
                source: sites.source(&reference.repository.registry, progress)?,
                reference: reference.clone(),
                origin: Origin::Registry(reference.repository.clone()),
            }),
            Place::Store(name) => {
                let repository = name.find(&sites.store()?).await?;
                Ok(Self {
                    source: Arc::new(repository.clone()),
                    reference: name.reference().clone(),
                    origin: Origin::Store(repository),
                })
            }
            Place::Layout(path, inside) => {
                let layout = OciLayout::open(path).await?;
                Ok(Self::files(layout.reference(inside.text().as_deref()).await?, layout))
            }
            Place::OciArchive(archive, inside) => {
                let archive = OciArchive::read(archive.input(), spool()).await?;
                Ok(Self::files(archive.reference(inside.text().as_deref()).await?, archive))
            }
            Place::DockerArchive(archive, inside) => {
                let archive = DockerArchive::read(archive.input(), spool()).await?;
                Ok(Self::files(archive.reference(inside.text().as_deref()).await?, archive))
            }
        }
    }

    fn files(reference: Reference, source: impl Source + 'static) -> Self {
        Self { source: Arc::new(source), reference, origin: Origin::Files }
    }

    /// What a failed copy from here says. A store that has some images of an index is told apart from one that has none:
    /// most often one platform was pulled, and all are to be copied.
    pub(crate) async fn explain(&self, error: Error) -> Failure {
        let Origin::Store(repository) = &self.origin else { return error.into() };
        if !matches!(error, Error::NotFound { .. }) {
            return error.into();
        }
        match held::explain(repository, &self.reference).await {
            Ok(Some(failure)) => failure,
            _ => error.into(),
        }
    }
}

impl Inside {
    /// What to look for there.
    fn text(&self) -> Option<String> {
        self.digest.map(|digest| format!("@{digest}")).or_else(|| self.name.clone())
    }
}

impl Archive {
    fn input(&self) -> ArchiveInput {
        match self {
            Self::File(path) => ArchiveInput::File(path.clone()),
            Self::Standard => ArchiveInput::Stream(Box::new(io::stdin())),
        }
    }
}

fn spool() -> Spool {
    Spool::in_folder(scratch())
}

/// Where large temporary files go: where the user says, else on a disk and not in memory, which `/tmp` often is.
pub(super) fn scratch() -> PathBuf {
    let disk = Path::new("/var/tmp");
    if env::var_os("TMPDIR").is_none() && disk.is_dir() { disk.to_owned() } else { env::temp_dir() }
}
