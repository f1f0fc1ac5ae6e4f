//! Calls that are dropped at any of their awaits: the store is as if they had not been made, or had been made wholly.

use pier_oci::Digest;

use super::{Harness, blob_key, content, dropped_after, fill_holes, fill_range, linked, repository};
use crate::Ingest;

/// Bound on the awaits of one call. A call that is not over by then fails its case.
const POLLS: usize = 200;

/// Nothing stays held by a caller that went away.
pub async fn a_dropped_ingest_leaves_the_part_free(harness: impl Harness) {
    let stores = harness.stores();
    for polls in 1..POLLS {
        let bytes = content(60, 500 + polls);
        let digest = Digest::sha256(&bytes);
        let ended = dropped_after(polls, stores.blobs.ingest(blob_key(digest, &bytes))).await;
        let over = ended.is_some();
        drop(ended);
        stores.keep(&bytes, &repository("a")).await;
        stores.assert_blob(digest, Some(&bytes)).await;
        if over {
            return;
        }
    }
    panic!("the call does not end");
}

/// What a dropped write left behind is right or missing.
pub async fn a_dropped_write_leaves_right_bytes(harness: impl Harness) {
    let stores = harness.stores();
    for polls in 1..POLLS {
        let bytes = content(61, 5000 + polls);
        let digest = Digest::sha256(&bytes);
        let over = {
            let part = stores.fill(digest, &bytes).await;
            fill_range(&*part, &bytes, 0, 1000).await;
            dropped_after(polls, part.write_at(1000, vec![bytes.slice(1000..4000)])).await.is_some()
        };
        stores.keep(&bytes, &repository("a")).await;
        stores.assert_blob(digest, Some(&bytes)).await;
        if over {
            return;
        }
    }
    panic!("the call does not end");
}

/// After a dropped commit the blob is there with its link, or can be made.
pub async fn a_dropped_commit_leaves_all_or_nothing(harness: impl Harness) {
    let stores = harness.stores();
    let a = repository("a");
    for polls in 1..POLLS {
        let bytes = content(62, 3000 + polls);
        let digest = Digest::sha256(&bytes);
        let over = {
            let part = stores.fill(digest, &bytes).await;
            fill_holes(&*part, &bytes).await.unwrap();
            dropped_after(polls, part.commit(linked(digest, &a))).await.is_some()
        };
        let before = stores.blobs.ingest(blob_key(digest, &bytes)).await.unwrap();
        if let Ingest::Present(_) = &before {
            assert_eq!(stores.catalog.linked(&a, &digest).await.unwrap(), Some(bytes.len() as u64));
        }
        drop(before);
        stores.keep(&bytes, &a).await;
        stores.assert_blob(digest, Some(&bytes)).await;
        if over {
            return;
        }
    }
    panic!("the call does not end");
}

/// After a dropped reset the part has its bytes or none of them, and can be filled.
pub async fn a_dropped_reset_leaves_all_or_nothing(harness: impl Harness) {
    let stores = harness.stores();
    for polls in 1..POLLS {
        let bytes = content(63, 3000 + polls);
        let (digest, size) = (Digest::sha256(&bytes), bytes.len() as u64);
        let part = stores.fill(digest, &bytes).await;
        fill_range(&*part, &bytes, 0, 1000).await;
        let over = dropped_after(polls, part.reset()).await.is_some();
        let missing = part.missing();
        assert!(missing == [(0..size).into()] || missing == [(1000..size).into()], "{missing:?}");
        // What the dropped call still does may empty the part once more, while it is written to or before its commit.
        let mut outcome = Ok(());
        for _ in 0..10 {
            outcome = fill_holes(&*part, &bytes).await;
            if outcome.is_ok() {
                outcome = part.commit(linked(digest, &repository("a"))).await.map(drop);
            }
            if outcome.is_ok() {
                break;
            }
        }
        outcome.unwrap();
        stores.assert_blob(digest, Some(&bytes)).await;
        if over {
            return;
        }
    }
    panic!("the call does not end");
}

/// After a dropped abort the blob can be made.
pub async fn a_dropped_abort_leaves_the_part_usable(harness: impl Harness) {
    let stores = harness.stores();
    for polls in 1..POLLS {
        let bytes = content(64, 3000 + polls);
        let digest = Digest::sha256(&bytes);
        let over = {
            let part = stores.fill(digest, &bytes).await;
            fill_range(&*part, &bytes, 0, 1000).await;
            dropped_after(polls, part.abort()).await.is_some()
        };
        stores.keep(&bytes, &repository("a")).await;
        stores.assert_blob(digest, Some(&bytes)).await;
        if over {
            return;
        }
    }
    panic!("the call does not end");
}
