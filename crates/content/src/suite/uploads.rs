//! Upload sessions: content whose size and digest are unknown until commit.

use pier_oci::{Algorithm, Digest};

use super::{Harness, Stores, code, content, fill_range, filling, linked, repository, session, unlinked};
use crate::{ByteRange, Error, IngestKey, Subject};

async fn uploaded(stores: &Stores, bits: u128, bytes: &bytes::Bytes) -> Box<dyn crate::Filling> {
    let part = stores.upload(IngestKey::NewUpload(session(bits))).await;
    fill_range(&*part, bytes, 0, bytes.len()).await;
    part
}

/// The next request goes on where the last one broke off.
pub async fn resumes_where_it_was_dropped(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(50, 3000);
    let digest = Digest::sha256(&bytes);
    let part = stores.upload(IngestKey::NewUpload(session(1))).await;
    assert_eq!((part.size(), part.missing()), (None, vec![ByteRange::ALL]));
    fill_range(&*part, &bytes, 0, 1000).await;
    drop(part);
    let part = stores.upload(IngestKey::Upload(session(1))).await;
    assert_eq!(part.missing(), [ByteRange::starting_at(1000)]);
    fill_range(&*part, &bytes, 1000, 3000).await;
    part.commit(linked(digest, &repository("a"))).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
    assert_eq!(stores.catalog.linked(&repository("a"), &digest).await.unwrap(), Some(3000));
}

/// A session that is not there, or is no longer.
pub async fn unknown_finished_and_aborted_sessions_are_not_found(harness: impl Harness) {
    let stores = harness.stores();
    assert_eq!(code(stores.blobs.ingest(IngestKey::Upload(session(2))).await), "not-found");
    let bytes = content(51, 100);
    let part = uploaded(&stores, 3, &bytes).await;
    part.commit(unlinked(Digest::sha256(&bytes))).await.unwrap();
    drop(part);
    assert_eq!(code(stores.blobs.ingest(IngestKey::Upload(session(3))).await), "not-found");
    let part = uploaded(&stores, 4, &bytes).await;
    part.abort().await.unwrap();
    drop(part);
    assert_eq!(code(stores.blobs.ingest(IngestKey::Upload(session(4))).await), "not-found");
}

/// Nobody said under which algorithm the content would be committed.
pub async fn commits_under_another_algorithm(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(52, 3000);
    let part = uploaded(&stores, 5, &bytes).await;
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// A client may send the content again in the same session.
pub async fn mismatch_keeps_the_session(harness: impl Harness) {
    let stores = harness.stores();
    let (bytes, wrong) = (content(53, 1000), content(54, 1000));
    let digest = Digest::sha256(&bytes);
    let part = uploaded(&stores, 6, &wrong).await;
    assert_eq!(code(part.commit(unlinked(digest)).await), "integrity");
    assert_eq!(part.missing(), [ByteRange::ALL]);
    fill_range(&*part, &bytes, 0, 1000).await;
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
    stores.assert_blob(Digest::sha256(&wrong), None).await;
}

/// Two pushes of one blob at once both succeed, and both repositories show it.
pub async fn two_sessions_commit_the_same_content(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(55, 1000);
    let digest = Digest::sha256(&bytes);
    let one = uploaded(&stores, 7, &bytes).await;
    let other = uploaded(&stores, 8, &bytes).await;
    let (a, b) = (repository("a"), repository("b"));
    let (first, second) =
        futures_util::future::join(one.commit(linked(digest, &a)), other.commit(linked(digest, &b))).await;
    assert_eq!((first.unwrap().size, second.unwrap().size), (1000, 1000));
    stores.assert_blob(digest, Some(&bytes)).await;
    for name in [&a, &b] {
        assert_eq!(stores.catalog.linked(name, &digest).await.unwrap(), Some(1000));
    }
}

/// A filler whose blob was pushed meanwhile commits all the same.
pub async fn a_session_finishes_what_a_filler_began(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(56, 1000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    fill_range(&*part, &bytes, 0, 1000).await;
    uploaded(&stores, 9, &bytes).await.commit(linked(digest, &repository("a"))).await.unwrap();
    part.commit(linked(digest, &repository("b"))).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
    assert_eq!(stores.catalog.linked(&repository("b"), &digest).await.unwrap(), Some(1000));
}

/// A push goes on after a restart of the server, where the store outlives it.
pub async fn uploads_survive_reopening(harness: impl Harness) {
    let bytes = content(57, 3000);
    let digest = Digest::sha256(&bytes);
    {
        let stores = harness.stores();
        let part = stores.upload(IngestKey::NewUpload(session(10))).await;
        fill_range(&*part, &bytes, 0, 1000).await;
    }
    let Some(harness) = harness.reopened() else { return };
    let stores = harness.stores();
    let part = stores.upload(IngestKey::Upload(session(10))).await;
    assert_eq!(part.missing(), [ByteRange::starting_at(1000)]);
    fill_range(&*part, &bytes, 1000, 3000).await;
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// A session has one request at a time: another one waits for it, some seconds and no more, and is never a second writer.
pub async fn a_held_session_is_busy_and_then_free(harness: impl Harness) {
    let stores = harness.stores();
    let held = stores.upload(IngestKey::NewUpload(session(11))).await;
    // The bound passes at once while everybody waits.
    tokio::time::pause();
    let outcome = stores.blobs.ingest(IngestKey::Upload(session(11))).await;
    tokio::time::resume();
    match outcome {
        Err(Error::Busy { subject, waited }) => {
            assert_eq!(subject, Subject::Upload(session(11)));
            assert!((5..=60).contains(&waited.as_secs()), "{waited:?}");
        }
        other => panic!("{other:?}"),
    }
    let next = stores.blobs.ingest(IngestKey::Upload(session(11)));
    let (next, ()) = futures_util::future::join(next, async { drop(held) }).await;
    assert_eq!(filling(next).missing(), [ByteRange::ALL]);
}
