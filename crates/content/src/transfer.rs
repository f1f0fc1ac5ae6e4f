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
/// whole, from one source at a time; only then is it an [`Error::Integrity`], and it names the source. When no source
/// can be reached for that, it is an [`Error::Unavailable`] whose cause says what was wrong; when none has the content
/// any more, an [`Error::Integrity`] without a name.
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
                    Err(Error::Abandoned { .. }) => {}
                    Err(error) if error.is_integrity() => {}
                    Err(error) => return Err(error),
                }
            }
            Ingest::Filling(filling) => {
                // Others have brought all of it and did not come to commit it: as good as present.
                if filling.missing().is_empty()
                    && catalog.linked(repository, &descriptor.digest).await?.is_none()
                {
                    prove(origin, descriptor).await?;
                }
                let commit = Commit { digest: descriptor.digest, link: Some(repository.clone()) };
                let blob = fill_and_commit(&*filling, origin, descriptor, commit, progress).await?;
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
    while let Some(bytes) = opened.stream.next().await {
        if !bytes?.is_empty() {
            return Ok(());
        }
    }
    Err(Error::Unavailable {
        origin: origin.source.name(),
        operation: "read the first byte of a blob",
        retry_after: None,
        source: None,
    })
}

/// Fills what is missing of a part and commits it, under the same rules for wrong content as [`transfer`].
///
/// For targets that hold a part themselves; the digest of `commit` is the descriptor's.
pub async fn fill_and_commit(
    filling: &dyn Filling,
    origin: Origin<'_>,
    descriptor: &Descriptor,
    commit: Commit,
    progress: &Progress,
) -> Result<Blob> {
    let missing: Option<u64> = filling.missing().iter().map(crate::ByteRange::len).sum();
    let done = descriptor.size.saturating_sub(missing.unwrap_or(descriptor.size));
    progress.emit(|| Event::Started { descriptor: descriptor.clone(), done });
    let observed = Observed { filling, digest: descriptor.digest, progress };

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
    let mut verdict = Verdict { wrong: error, worth_asking_again: None };
    for source in alone {
        progress.emit(|| Event::Discarded(descriptor.digest));
        match source.fill(origin.repository, descriptor, &observed).await {
            Ok(()) => match filling.commit(commit.clone()).await {
                Err(error) if error.is_integrity() => {
                    let error = error.blaming(&source.name());
                    // When the next source sends the right bytes, nothing else tells of this one.
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a source sent wrong content, asking the next"
                    );
                    verdict.wrong = error;
                }
                outcome => return outcome,
            },
            Err(failure) => {
                // What it did send must not be mixed with what the next one sends.
                filling.reset().await?;
                verdict.note(source.name(), failure)?;
            }
        }
    }
    Err(verdict.into_error())
}

/// What is known once mixed content was wrong.
struct Verdict {
    /// The mixture's mismatch, or that of the last source that sent everything alone.
    wrong: Error,
    /// The last source that may send it another time.
    worth_asking_again: Option<(String, Error)>,
}

impl Verdict {
    /// Notes why a source could not be asked alone, or gives it back when that is no fault of the source.
    fn note(&mut self, origin: String, failure: Error) -> Result<()> {
        match failure {
            Error::StorageFull { .. } | Error::Io { .. } | Error::Database { .. } => return Err(failure),
            failure if failure.is_retryable() => self.worth_asking_again = Some((origin, failure)),
            failure => {
                tracing::debug!(origin, error = &failure as &dyn std::error::Error, "cannot send it alone");
            }
        }
        Ok(())
    }

    /// A source that is known to lie is named. Before that somebody has to have been asked: while nobody could be,
    /// the call failed to reach them, and says what it was about.
    fn into_error(self) -> Error {
        let Self { wrong, worth_asking_again } = self;
        let named =
            matches!(&wrong, Error::Integrity { origin: Some(_), .. } | Error::Size { origin: Some(_), .. });
        match worth_asking_again {
            Some((origin, failure)) if !named => Error::Unavailable {
                origin,
                operation: "fetch content anew that did not match its digest",
                retry_after: failure.retry_after(),
                source: Some(Box::new(NotFetchedAnew { wrong, failure })),
            },
            _ => wrong,
        }
    }
}

/// Why there is no verdict on content that was wrong.
#[derive(Debug, thiserror::Error)]
#[error("{wrong}; it came in several runs or from several sources, and none of them sent all of it")]
struct NotFetchedAnew {
    wrong: Error,
    #[source]
    failure: Error,
}
