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
