//! From a part to a blob: verified, durable, linked, leased, in an order that any crash leaves consistent.

use std::{path::PathBuf, sync::Arc, time::Duration};

use pier_content::{Blob, Body, Commit, Error, Result};
use pier_oci::Digest;

use super::{
    folder::{Data, Writable},
    hashing::Hashing,
    shared::{Phase, Rejected},
    table::PartKey,
    writer::Inner,
};
use crate::{
    catalog::blob_rows,
    store::{Context, blocking},
    sys,
};

/// How often a commit starts over because the collector has just taken the file that it found in place.
const ATTEMPTS: usize = 8;

/// More than any commit takes from its announcement to its row.
const COMMIT_TIME: Duration = Duration::from_hours(1);

pub(super) async fn commit(inner: &Arc<Inner>, commit: Commit) -> Result<Blob> {
    let begun = begin(inner, &commit)?;
    let committing = Committing(inner);
    let verified = verify(inner, &commit.digest, begun).await?;
    let blob = publish(inner, &commit, &verified).await?;
    inner.shared().set_phase(Phase::Committed(blob.clone()));
    drop(committing);
    let done = Arc::clone(inner);
    let removed = blocking(move || {
        let _alone = done.alone();
        done.folder.remove()
    });
    if let Err(error) = removed.await {
        // The blob is committed. What is left of the part expires.
        tracing::warn!(%error, digest = %commit.digest, "cannot remove a part after its commit");
    }
    Ok(blob)
}

/// What a commit has found when it began.
#[derive(Clone, Copy)]
struct Begun {
    size: u64,
    /// The content that it is about. Work that comes late must not touch another.
    epoch: u64,
    /// This commit. Work of one that was given up must not act for a later one.
    commit: u64,
}

/// A file whose bytes hash to what was asked for, and which takes no more.
#[derive(Clone)]
struct Verified {
    data: Data,
    begun: Begun,
}

/// Puts the part back to taking bytes unless the commit came to its end.
struct Committing<'a>(&'a Arc<Inner>);

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        let mut state = self.0.shared().state();
        if matches!(state.phase, Phase::Committing) {
            state.phase = Phase::Filling;
            state.commit += 1;
        }
    }
}

/// Checks that all is there, and closes the part to writes.
fn begin(inner: &Inner, commit: &Commit) -> Result<Begun> {
    let key = &inner.shared().key;
    let invalid = |reason: String| Error::Invalid { subject: key.subject(), reason };
    if let PartKey::Blob(digest) = key
        && *digest != commit.digest
    {
        return Err(invalid(format!("it cannot be committed as `{}`", commit.digest)));
    }
    let mut state = inner.shared().state();
    if let Some(lost) = &state.lost {
        return Err(lost.to_error());
    }
    if !matches!(state.phase, Phase::Filling) {
        return Err(invalid("it cannot be committed twice".to_owned()));
    }
    let there = state.present.prefix_end();
    let whole = state.size.unwrap_or(there);
    if there != whole || state.present.end() != there || !state.claimed.is_empty() {
        return Err(invalid(format!("{there} of {whole} bytes are there from the beginning on")));
    }
    state.phase = Phase::Committing;
    state.commit += 1;
    Ok(Begun { size: whole, epoch: state.epoch, commit: state.commit })
}

/// Takes the hash to the end and compares. What does not match is thrown away.
async fn verify(inner: &Arc<Inner>, expected: &Digest, begun: Begun) -> Result<Verified> {
    let Begun { size, epoch, commit } = begun;
    let (worker, expected) = (Arc::clone(inner), *expected);
    blocking(move || {
        let _alone = worker.alone();
        worker.expect_commit(commit, epoch)?;
        let (data, hashing) = {
            let mut state = worker.shared().state();
            (state.data.clone(), state.hashing.take())
        };
        let data = data.ok_or_else(|| Error::Invalid {
            subject: worker.shared().key.subject(),
            reason: "it is not open".to_owned(),
        })?;
        let mut hashing = hashing
            .filter(|hashing| hashing.algorithm() == expected.algorithm())
            .unwrap_or_else(|| Hashing::new(expected.algorithm()));
        let outcome = hashing.catch_up(&data.file, &data.path, size, u64::MAX);
        // Kept, so that a commit that fails further on does not hash again.
        worker.shared().state().hashing = Some(hashing.clone());
        outcome?;
        let actual = hashing.finish();
        if actual != expected {
            worker.empty(Rejected::Digest { expected, actual })?;
            return Err(Error::Integrity { expected, actual, origin: None });
        }
        Ok(Verified { data, begun })
    })
    .await
}

/// Makes the file durable under its digest, and then the row.
async fn publish(inner: &Arc<Inner>, commit: &Commit, verified: &Verified) -> Result<Blob> {
    let context = &inner.context;
    let path = context.dir.blob(&commit.digest);
    for attempt in 0..ATTEMPTS {
        // A blob that is there already, by whomever, is durable: its row says so, and these bytes are not needed. Only
        // when its file turns out to be gone in spite of the row, this one takes the place.
        let known = attempt == 0 && context.catalog.blob_size(&commit.digest).await?.is_some();
        let place = if known { Place::Theirs } else { Place::Ours };
        if place == Place::Ours {
            let (synced, queued) =
                futures_util::future::join(sync(inner, verified), announce(context, &commit.digest)).await;
            synced?;
            queued?;
            link(inner, verified, path.clone(), commit.digest).await?;
        }
        if write_row(context, commit, verified.begun.size, path.clone(), place).await? {
            return open(context, commit.digest, verified.begun.size).await;
        }
    }
    Err(Error::Unavailable {
        origin: "the store".to_owned(),
        operation: "commit a blob that is collected again and again",
        retry_after: None,
        source: None,
    })
}

/// Makes the bytes durable. A device may report a failure to write only once, and then call the same bytes clean:
/// so after a failure they are thrown away.
async fn sync(inner: &Arc<Inner>, verified: &Verified) -> Result<()> {
    let (worker, Verified { data, begun }) = (Arc::clone(inner), verified.clone());
    blocking(move || {
        // Alone, so that a sync that is under way is over, and its failure known.
        let _alone = worker.alone();
        worker.expect_commit(begun.commit, begun.epoch)?;
        let sealed = worker.shared().state().writable == Writable::Sealed;
        let trimmed = if sealed { Ok(()) } else { sys::trim(&data.file, &data.path, begun.size) };
        let synced = trimmed.and_then(|()| sys::sync_data(&data.file, &data.path));
        if let Err(error) = &synced {
            worker.lose(error, &data);
            worker.empty(Rejected::Reset)?;
        }
        synced
    })
    .await
}

/// Has the collector look for the file later, before there is one: whatever a crash leaves is found without a walk.
async fn announce(context: &Arc<Context>, digest: &Digest) -> Result<()> {
    let digest = *digest;
    let until = context.clock.now().after(COMMIT_TIME);
    context
        .catalog
        .write_checked("announce a blob", move |connection| blob_rows::announce(connection, &digest, until))
        .await
}

/// Gives the verified file its place, whatever is there, and makes that durable.
async fn link(inner: &Arc<Inner>, verified: &Verified, path: PathBuf, digest: Digest) -> Result<()> {
    let (worker, Verified { data, begun }) = (Arc::clone(inner), verified.clone());
    blocking(move || {
        let _alone = worker.alone();
        worker.expect_commit(begun.commit, begun.epoch)?;
        // From here on it is in two places: not another byte may be written to it.
        worker.shared().state().writable = Writable::Sealed;
        sys::link_over(&data.path, &worker.folder.sealed(), &path)?;
        sys::make_read_only(&data.file, &data.path)?;
        sys::sync_folder(&worker.context.dir.blobs(digest.algorithm()))
    })
    .await
}

/// Whose file is to be in place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The one of this commit.
    Ours,
    /// That of whoever committed the digest before.
    Theirs,
}

/// Writes row, link and lease in one transaction. `false` when the collector has taken the file meanwhile, which it
/// does only under the same lock.
async fn write_row(
    context: &Arc<Context>,
    commit: &Commit,
    size: u64,
    path: PathBuf,
    place: Place,
) -> Result<bool> {
    let Commit { digest, link } = commit.clone();
    let now = context.clock.now();
    let lease = now.after(context.options.lease);
    context
        .catalog
        .write_checked("commit a blob", move |connection| {
            // Their file may stay for a moment when it was found corrupt and their row was taken away.
            let forgotten = place == Place::Theirs && blob_rows::size(connection, &digest)?.is_none();
            let there = path.try_exists().map_err(|error| Error::io("look for", &path, error))?;
            if forgotten || !there {
                return Ok(false);
            }
            blob_rows::commit(connection, &digest, size, link.as_ref(), now, lease)?;
            Ok(true)
        })
        .await
}

async fn open(context: &Arc<Context>, digest: Digest, size: u64) -> Result<Blob> {
    let context = Arc::clone(context);
    blocking(move || {
        let file = context.blobs.open(&digest)?;
        Ok(Blob { digest, size, body: Body::File(Arc::new(file)) })
    })
    .await
}
