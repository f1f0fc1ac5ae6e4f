//! The contract as tests that every store passes: public functions over the traits, and macros that make each a test.
//!
//! ```ignore
//! struct Disk { /* a folder and a store in it */ }
//! impl pier_content::suite::Harness for Disk { /* … */ }
//! pier_content::blob_store_suite!(Disk);
//! pier_content::catalog_suite!(Disk);
//! ```
//!
//! Cases never sleep: they wait for what the store reports. A store that waits for other processes is to be opened
//! with a short bound by its harness.

pub mod cancelling;
pub mod filling;
pub mod following;
pub mod handles;
pub mod names;
pub mod remembering;
pub mod tags;
pub mod uploads;

use std::{future::Future, pin::pin, sync::Arc, task::Poll};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, future::poll_fn};
use pier_oci::{Digest, RepositoryName, SessionId};

use crate::{
    Blob, BlobStore, ByteRange, ByteStream, Catalog, Commit, Filling, Following, Ingest, IngestKey, Order,
    Result,
};

/// A store under test. Dropping it may remove its data.
pub trait Harness: Sized {
    /// A new store with nothing in it.
    fn fresh() -> Self;

    /// The store.
    fn stores(&self) -> Stores;

    /// The same data after the store was dropped and opened again; `None` where data ends with the store.
    fn reopened(self) -> Option<Self>;

    /// Another handle on the same data, as another process would have it; `None` where there is no such thing.
    /// Its wait for the first handle's writers has to be short.
    fn second(&self) -> Option<Stores>;
}

/// The two halves of a store.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Blobs.
    pub blobs: Arc<dyn BlobStore>,
    /// Names.
    pub catalog: Arc<dyn Catalog>,
}

impl Stores {
    /// Both halves of a store that is both.
    pub fn of<S: BlobStore + Catalog + 'static>(store: Arc<S>) -> Self {
        Self { blobs: Arc::clone(&store) as Arc<dyn BlobStore>, catalog: store }
    }

    /// Brings content in, whoever is at work on it, and links it.
    pub(crate) async fn keep(&self, bytes: &Bytes, repository: &RepositoryName) -> Blob {
        let digest = Digest::sha256(bytes);
        loop {
            match self.blobs.ingest(blob_key(digest, bytes)).await.unwrap() {
                Ingest::Present(blob) => {
                    self.catalog.link(repository, &digest, crate::Claim::Proven).await.unwrap();
                    return blob;
                }
                // A call that was dropped may go on for a moment; when it is over it tells.
                Ingest::Following(following) => drop(following.committed().await),
                Ingest::Filling(filling) => {
                    fill_holes(&*filling, bytes).await.unwrap();
                    return filling.commit(linked(digest, repository)).await.unwrap();
                }
            }
        }
    }

    /// The one writer of a blob that nobody holds.
    pub(crate) async fn fill(&self, digest: Digest, bytes: &Bytes) -> Box<dyn Filling> {
        filling(self.blobs.ingest(blob_key(digest, bytes)).await)
    }

    pub(crate) async fn follow(&self, digest: Digest, bytes: &Bytes) -> Box<dyn Following> {
        match self.blobs.ingest(blob_key(digest, bytes)).await.unwrap() {
            Ingest::Following(following) => following,
            other => panic!("expected to follow, got {other:?}"),
        }
    }

    pub(crate) async fn upload(&self, key: IngestKey) -> Box<dyn Filling> {
        filling(self.blobs.ingest(key).await)
    }

    /// Asserts that a blob is there with these bytes and size, or that there is none.
    pub(crate) async fn assert_blob(&self, digest: Digest, expected: Option<&Bytes>) {
        let info = self.blobs.stat(&digest).await.unwrap();
        let walked = self.blobs.walk(None, usize::MAX >> 1).await.unwrap();
        assert_eq!(info, walked.into_iter().find(|info| info.digest == digest));
        match expected {
            Some(bytes) => {
                assert_eq!(info.map(|info| info.size), Some(bytes.len() as u64));
                let blob = self.blobs.open(&digest).await.unwrap();
                assert_eq!((blob.digest, blob.size), (digest, bytes.len() as u64));
                assert_eq!(gather(blob.read(ByteRange::ALL).await.unwrap()).await.unwrap(), *bytes);
            }
            None => {
                assert_eq!(info, None);
                assert_eq!(code(self.blobs.open(&digest).await), "not-found");
            }
        }
    }
}

pub(crate) fn filling(ingest: Result<Ingest>) -> Box<dyn Filling> {
    match ingest.unwrap() {
        Ingest::Filling(filling) => filling,
        other => panic!("expected to fill, got {other:?}"),
    }
}

/// Content that is the same for the same seed, with every position different from its neighbours.
pub(crate) fn content(seed: u8, length: usize) -> Bytes {
    (0..length)
        .map(|at| seed.wrapping_add(at.wrapping_mul(31).to_le_bytes()[0] ^ at.to_le_bytes()[1]))
        .collect()
}

pub(crate) fn blob_key(digest: Digest, bytes: &Bytes) -> IngestKey {
    IngestKey::Blob { digest, size: Some(bytes.len() as u64) }
}

pub(crate) fn session(bits: u128) -> SessionId {
    SessionId::from_bits(bits)
}

pub(crate) fn repository(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

pub(crate) fn unlinked(digest: Digest) -> Commit {
    Commit { digest, link: None }
}

pub(crate) fn linked(digest: Digest, repository: &RepositoryName) -> Commit {
    Commit { digest, link: Some(repository.clone()) }
}

/// Fills every hole in order from the content that belongs there.
pub(crate) async fn fill_holes(filling: &dyn Filling, bytes: &Bytes) -> Result<()> {
    for hole in filling.missing() {
        let start = index(hole.start);
        let end = hole.end.map_or(bytes.len(), index);
        filling.write_at(hole.start, vec![bytes.slice(start..end)]).await?;
    }
    Ok(())
}

/// Fills a range from the content that belongs there; front to back that is only possible at the end.
pub(crate) async fn fill_range(filling: &dyn Filling, bytes: &Bytes, start: usize, end: usize) {
    filling.write_at(start as u64, vec![bytes.slice(start..end)]).await.unwrap();
}

/// Whether the store takes bytes anywhere; cases about holes mean nothing to the others.
pub(crate) fn takes_any_order(filling: &dyn Filling) -> bool {
    filling.order() == Order::Any
}

pub(crate) fn index(position: u64) -> usize {
    usize::try_from(position).unwrap()
}

/// All bytes of a stream, or its error.
pub(crate) async fn gather(mut stream: ByteStream) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(bytes) = stream.next().await {
        all.extend_from_slice(&bytes?);
    }
    Ok(all.freeze())
}

/// The name of a call's error; `"ok"` when it did not fail.
pub(crate) fn code<T>(outcome: Result<T>) -> &'static str {
    outcome.map_or_else(|error| error.code(), |_| "ok")
}

/// Polls a future at most so many times and drops it then; its output when it came to its end.
pub(crate) async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Makes one test of each case, on a fresh store.
#[doc(hidden)]
#[macro_export]
macro_rules! suite_cases {
    ($harness:ty: $($module:ident { $($case:ident)* })*) => {$(
        mod $module {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    $crate::suite::$module::$case(<$harness as $crate::suite::Harness>::fresh()).await;
                }
            )*
        }
    )*};
}

/// Tests of a [`BlobStore`] through its [`Harness`], one for each case. Its user needs tokio's `macros`.
#[macro_export]
macro_rules! blob_store_suite {
    ($harness:ty) => {
        $crate::suite_cases! { $harness:
            filling {
                shows_nothing_before_commit
                commit_makes_stat_open_and_walk_agree
                walk_goes_on_behind_a_digest
                keeps_what_a_dropped_filler_wrote
                leaves_exactly_the_holes
                never_overwrites_present_bytes
                takes_concurrent_overlapping_writes
                takes_a_blob_of_unknown_size
                refuses_bytes_beyond_the_announced_size
                refuses_to_commit_what_is_incomplete
                takes_sha512
                keeps_an_empty_blob
                refuses_another_digest_than_the_keys
                mismatch_empties_the_part_and_keeps_it
                reset_empties_the_part
                abort_throws_the_part_away
                commit_links_the_blob
                open_blob_outlives_its_deletion
                refuses_to_delete_what_is_shown
                of_two_who_ask_at_once_one_writes
            }
            following {
                followers_get_the_same_bytes
                a_range_with_holes_is_followed_in_order
                a_late_follower_sees_what_is_present
                followers_of_a_dropped_filler_are_told
                followers_of_a_dropped_filler_are_told_after_a_take_over
                followers_of_wrong_content_are_told
                followers_of_aborted_content_are_told
                a_follower_dropped_midway_changes_nothing
                withheld_gives_the_last_bytes_after_the_commit
                withheld_is_cut_on_a_mismatch
                withheld_range_waits_for_the_commit
            }
            uploads {
                resumes_where_it_was_dropped
                unknown_finished_and_aborted_sessions_are_not_found
                commits_under_another_algorithm
                mismatch_keeps_the_session
                two_sessions_commit_the_same_content
                a_session_finishes_what_a_filler_began
                uploads_survive_reopening
                a_held_session_is_busy_and_then_free
            }
            cancelling {
                a_dropped_ingest_leaves_the_part_free
                a_dropped_write_leaves_right_bytes
                a_dropped_commit_leaves_all_or_nothing
                a_dropped_reset_leaves_all_or_nothing
                a_dropped_abort_leaves_the_part_usable
            }
            handles {
                another_handle_waits_and_then_takes_over
                another_handle_sees_what_is_committed
                parts_and_blobs_survive_reopening
            }
        }
    };
}

/// Tests of a [`Catalog`] through its [`Harness`], one for each case. Its user needs tokio's `macros`.
#[macro_export]
macro_rules! catalog_suite {
    ($harness:ty) => {
        $crate::suite_cases! { $harness:
            names {
                gives_manifests_back_byte_for_byte
                strict_names_missing_children_in_order
                sparse_accepts_missing_children
                checks_sizes_of_children
                exempts_layers_that_may_not_be_distributed
                tags_move
                deleting_a_manifest_removes_its_tags
                untagging_keeps_the_manifest
                pages_tags
                pages_repositories
                lists_referrers
                a_page_of_referrers_is_bounded_in_bytes
                links_are_claimed
                an_index_needs_its_manifests
                unlinks
                unlinking_what_is_not_shown_is_not_found
                dropped_calls_happen_wholly_or_not_at_all
                names_survive_reopening
            }
            tags {
                moves_from_what_is_expected
                of_many_who_expect_the_same_one_wins
                what_is_immutable_stays
                what_an_immutable_tag_leads_to_stays
                what_an_immutable_tag_leads_to_keeps_its_media_type
                tags_remember_where_they_pointed
                a_history_has_an_end
            }
        }
    };
}
