//! From a part to a blob: verified, durable, linked, leased, in an order that any crash leaves consistent.

use std::{path::Path, sync::Arc};

use pier_content::{Blob, Body, Commit, Error, Result};
use pier_oci::Digest;

use super::{
    hashing::Hashing,
    shared::{Phase, Rejected},
    table::PartKey,
    writer::Inner,
};
use crate::{
    catalog::blob_rows,
    store::{Context, blocking},
    sys::{self, Linked},
};

/// How often a commit starts over because the collector has just taken the file that it found in place.
const ATTEMPTS: usize = 8;

pub(super) async fn commit(inner: &Arc<Inner>, commit: Commit) -> Result<Blob> {
    let size = begin(inner, &commit)?;
    let committing = Committing(inner);
    verify(inner, &commit.digest, size).await?;
    let blob = publish(inner, &commit, size).await?;
    inner.shared().set_phase(Phase::Committed(blob.clone()));
    drop(committing);
    let done = Arc::clone(inner);
    if let Err(error) = blocking(move || done.folder.remove()).await {
        // The blob is committed. What is left of the part expires.
        tracing::warn!(%error, digest = %commit.digest, "cannot remove a part after its commit");
    }
    Ok(blob)
}

/// Puts the part back to taking bytes unless the commit came to its end.
struct Committing<'a>(&'a Arc<Inner>);

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        let mut state = self.0.shared().state();
        if matches!(state.phase, Phase::Committing) {
            state.phase = Phase::Filling;
        }
    }
}

/// Checks that all is there, and closes the part to writes. Gives the size.
fn begin(inner: &Inner, commit: &Commit) -> Result<u64> {
    let key = &inner.shared().key;
    let invalid = |reason: String| Error::Invalid { subject: key.subject(), reason };
    if let PartKey::Blob(digest) = key
        && *digest != commit.digest
    {
        return Err(invalid(format!("it cannot be committed as `{}`", commit.digest)));
    }
    let mut state = inner.shared().state();
    if !matches!(state.phase, Phase::Filling) {
        return Err(invalid("it cannot be committed twice".to_owned()));
    }
    let there = state.present.prefix_end();
    let whole = state.size.unwrap_or(there);
    if there != whole || state.present.end() != there || !state.claimed.is_empty() {
        return Err(invalid(format!("{there} of {whole} bytes are there from the beginning on")));
    }
    state.phase = Phase::Committing;
    Ok(whole)
}

/// Takes the hash to the end and compares. What does not match is thrown away.
async fn verify(inner: &Arc<Inner>, expected: &Digest, size: u64) -> Result<()> {
    let worker = Arc::clone(inner);
    let algorithm = expected.algorithm();
    let actual = blocking(move || {
        let (data, hashing) = {
            let mut state = worker.shared().state();
            (state.data.clone(), state.hashing.take())
        };
        let data = data.ok_or_else(|| Error::Invalid {
            subject: worker.shared().key.subject(),
            reason: "it is not open".to_owned(),
        })?;
        let mut hashing = hashing
            .filter(|hashing| hashing.algorithm() == algorithm)
            .unwrap_or_else(|| Hashing::new(algorithm));
        let outcome = hashing.catch_up(&data.file, &data.path, size, u64::MAX);
        // Kept, so that a commit that fails further on does not hash again.
        worker.shared().state().hashing = Some(hashing.clone());
        outcome.map(|()| hashing.finish())
    })
    .await?;
    if actual == *expected {
        return Ok(());
    }
    let expected = *expected;
    let worker = Arc::clone(inner);
    blocking(move || worker.reset(Rejected::Digest { expected, actual })).await?;
    Err(Error::Integrity { expected, actual, origin: None })
}

/// Makes the file durable under its digest, and then the row.
async fn publish(inner: &Arc<Inner>, commit: &Commit, size: u64) -> Result<Blob> {
    let context = &inner.context;
    let path = context.dir.blob(&commit.digest);
    for _ in 0..ATTEMPTS {
        // A blob that is there already, by whomever, is durable: its row says so. These bytes are not needed.
        if context.catalog.blob_size(&commit.digest).await?.is_none() {
            let (synced, queued) =
                futures_util::future::join(sync(inner, size), announce(context, &commit.digest)).await;
            synced?;
            queued?;
            link(inner, &path, commit.digest).await?;
        }
        if write_row(context, commit, size, path.clone()).await? {
            return open(context, commit.digest, size).await;
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
/// so after a failure they are not to be trusted any more.
async fn sync(inner: &Arc<Inner>, size: u64) -> Result<()> {
    let flushed = inner.flushed().await;
    let worker = Arc::clone(inner);
    blocking(move || {
        let Some(data) = worker.shared().state().data.clone() else { return Ok(()) };
        let synced = flushed
            .and_then(|()| {
                if worker.reserved_beyond(size) { sys::trim(&data.file, &data.path, size) } else { Ok(()) }
            })
            .and_then(|()| sys::sync_data(&data.file, &data.path));
        if synced.is_err() {
            worker.reset(Rejected::Reset)?;
        }
        synced
    })
    .await
}

/// Has the collector look for the file later, before there is one: whatever a crash leaves is found without a walk.
async fn announce(context: &Arc<Context>, digest: &Digest) -> Result<()> {
    let digest = *digest;
    let due = context.clock.now().after(context.options.lease);
    context
        .catalog
        .write("announce a blob", move |connection| blob_rows::queue_review(connection, &digest, due))
        .await
}

async fn link(inner: &Arc<Inner>, path: &Path, digest: Digest) -> Result<()> {
    let worker = Arc::clone(inner);
    let path = path.to_owned();
    blocking(move || {
        let Some(data) = worker.shared().state().data.clone() else { return Ok(()) };
        sys::make_read_only(&data.file, &data.path)?;
        match sys::link(&data.path, &path)? {
            // Another process may have linked it and not have synced the folder yet: the sync below serves both.
            Linked::New | Linked::AlreadyThere => {}
        }
        sys::sync_folder(&worker.context.dir.blobs(digest.algorithm()))
    })
    .await
}

/// Writes row, link and lease in one transaction. `false` when the collector has taken the file meanwhile, which it
/// does only under the same lock.
async fn write_row(
    context: &Arc<Context>,
    commit: &Commit,
    size: u64,
    path: std::path::PathBuf,
) -> Result<bool> {
    let Commit { digest, link } = commit.clone();
    let now = context.clock.now();
    let lease = now.after(context.options.lease);
    context
        .catalog
        .write("commit a blob", move |connection| {
            if !path.exists() {
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

impl Inner {
    /// Whether space was reserved that the content does not need.
    fn reserved_beyond(&self, size: u64) -> bool {
        self.shared().state().reserved > size
    }
}
