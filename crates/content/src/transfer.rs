//! One blob from a source into a store: joined, resumed, verified, blamed.

use pier_oci::{Descriptor, RepositoryName};

use crate::{
    Blob, BlobStore, Catalog, Claim, Commit, Error, Event, Filling, Ingest, IngestKey, Origin, Progress,
    Result, Subject, observed::Observed,
};

/// How often a transfer takes over from writers that vanish before it gives up.
const TAKE_OVERS: usize = 16;

/// Where a transferred blob goes.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The store.
    pub blobs: &'a dyn BlobStore,
    /// Names of the same store.
    pub catalog: &'a dyn Catalog,
    /// The repository that shows the blob afterwards.
    pub repository: &'a RepositoryName,
}

/// Brings a blob into a store and lets a repository show it.
///
/// Fetches what is missing and nothing else; joins a transfer of the same blob that is under way in this process,
/// waits for one of another process, and takes over when its writer vanishes.
///
/// Content that came in several runs or from several sources and is wrong is dropped and fetched once more,
/// whole, from one source at a time; only then is it an [`Error::Integrity`], and it names the source.
///
/// A blob that the store has, but the repository does not show, is shown only after the source has given a byte of
/// it: knowing a digest is no right to read the content.
pub async fn transfer(
    origin: Origin<'_>,
    descriptor: &Descriptor,
    destination: Destination<'_>,
    progress: &Progress,
) -> Result<Blob> {
    let Destination { blobs, catalog, repository } = destination;
    let key = IngestKey::Blob { digest: descriptor.digest, size: Some(descriptor.size) };
    for _ in 0..TAKE_OVERS {
        match blobs.ingest(key.clone()).await? {
            Ingest::Present(blob) => {
                check_size(descriptor, &blob)?;
                show(catalog, repository, descriptor, origin).await?;
                progress.emit(|| Event::Present(descriptor.clone()));
                return Ok(blob);
            }
            Ingest::Following(following) => {
                progress.emit(|| Event::Started { descriptor: descriptor.clone(), done: 0 });
                match following.committed().await {
                    Ok(blob) => {
                        check_size(descriptor, &blob)?;
                        show(catalog, repository, descriptor, origin).await?;
                        progress.emit(|| Event::Committed(descriptor.clone()));
                        return Ok(blob);
                    }
                    // The writer is gone, or had its bytes from somebody else: become the writer.
                    Err(Error::Abandoned { .. } | Error::Integrity { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ingest::Filling(filling) => {
                let blob = fill_and_commit(&*filling, origin, descriptor, repository, progress).await?;
                progress.emit(|| Event::Committed(descriptor.clone()));
                return Ok(blob);
            }
        }
    }
    Err(Error::Abandoned { subject: Subject::Blob(descriptor.digest) })
}

/// The store may have the blob under this digest with a size that the descriptor lies about.
fn check_size(descriptor: &Descriptor, blob: &Blob) -> Result<()> {
    if descriptor.size == blob.size {
        return Ok(());
    }
    Err(Error::Size {
        subject: Subject::Blob(descriptor.digest),
        expected: descriptor.size,
        actual: blob.size,
        origin: None,
    })
}

async fn show(
    catalog: &dyn Catalog,
    repository: &RepositoryName,
    descriptor: &Descriptor,
    origin: Origin<'_>,
) -> Result<()> {
    let claim = if catalog.linked(repository, &descriptor.digest).await?.is_some() {
        Claim::From(repository.clone())
    } else {
        prove(origin, descriptor).await?;
        Claim::Proven
    };
    catalog.link(repository, &descriptor.digest, claim).await.map(drop)
}

/// Asks the source for the first byte, which it gives only to those who may read the blob there.
async fn prove(origin: Origin<'_>, descriptor: &Descriptor) -> Result<()> {
    use futures_util::StreamExt as _;
    if descriptor.size == 0 {
        return Ok(());
    }
    let mut opened = origin.source.open(origin.repository, descriptor, (0..1).into()).await?;
    match opened.stream.next().await {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error),
        None => Err(Error::Unavailable {
            origin: origin.source.name(),
            operation: "read the first byte of a blob",
            retry_after: None,
            source: None,
        }),
    }
}

async fn fill_and_commit(
    filling: &dyn Filling,
    origin: Origin<'_>,
    descriptor: &Descriptor,
    repository: &RepositoryName,
    progress: &Progress,
) -> Result<Blob> {
    let missing: Option<u64> = filling.missing().iter().map(crate::ByteRange::len).sum();
    let done = descriptor.size.saturating_sub(missing.unwrap_or(descriptor.size));
    progress.emit(|| Event::Started { descriptor: descriptor.clone(), done });
    let observed = Observed { filling, digest: descriptor.digest, progress };
    let commit = Commit { digest: descriptor.digest, link: Some(repository.clone()) };

    origin.source.fill(origin.repository, descriptor, &observed).await?;
    let error = match filling.commit(commit.clone()).await {
        Err(error) if error.is_integrity() => error,
        outcome => return outcome,
    };
    let parts = origin.source.parts();
    if done == 0 && parts.is_empty() {
        return Err(error.blaming(&origin.source.name()));
    }
    // Nobody can say whose bytes were wrong. Each source in turn sends all of them.
    let alone = if parts.is_empty() { vec![origin.source] } else { parts };
    let mut last = error;
    for source in alone {
        progress.emit(|| Event::Discarded(descriptor.digest));
        if let Err(error) = source.fill(origin.repository, descriptor, &observed).await {
            // What it did send must not be mixed with what the next one sends.
            last = error;
            filling.reset().await?;
            continue;
        }
        match filling.commit(commit.clone()).await {
            Err(error) if error.is_integrity() => last = error.blaming(&source.name()),
            outcome => return outcome,
        }
    }
    Err(last)
}
