//! Several processes on one store, and one process after another.

use pier_oci::Digest;

use super::{Harness, blob_key, code, content, fill_holes, fill_range, linked, repository, unlinked};

/// A second process waits for the writer, with a bound, and then goes on where that stopped.
pub async fn another_handle_waits_and_then_takes_over(harness: impl Harness) {
    let stores = harness.stores();
    let Some(second) = harness.second() else { return };
    let bytes = content(70, 4000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    fill_range(&*part, &bytes, 0, 1000).await;
    assert_eq!(code(second.blobs.ingest(blob_key(digest, &bytes)).await), "busy");
    drop(part);
    let part = second.fill(digest, &bytes).await;
    assert_eq!(part.missing(), [(1000..4000).into()]);
    fill_holes(&*part, &bytes).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// What one process commits, deletes and links the other knows at once.
pub async fn another_handle_sees_what_is_committed(harness: impl Harness) {
    let stores = harness.stores();
    let Some(second) = harness.second() else { return };
    let bytes = content(71, 4000);
    let digest = Digest::sha256(&bytes);
    let a = repository("a");
    second.assert_blob(digest, None).await;
    stores.keep(&bytes, &a).await;
    second.assert_blob(digest, Some(&bytes)).await;
    assert_eq!(second.catalog.linked(&a, &digest).await.unwrap(), Some(4000));
    second.catalog.unlink(&a, &digest).await.unwrap();
    second.blobs.delete(&digest).await.unwrap();
    stores.assert_blob(digest, None).await;
    assert_eq!(stores.catalog.linked(&a, &digest).await.unwrap(), None);
}

/// What was acknowledged is there after the store was closed and opened.
pub async fn parts_and_blobs_survive_reopening(harness: impl Harness) {
    let (whole, partly) = (content(72, 4000), content(73, 4000));
    let (digest, begun) = (Digest::sha256(&whole), Digest::sha256(&partly));
    let a = repository("a");
    {
        let stores = harness.stores();
        let part = stores.fill(digest, &whole).await;
        fill_holes(&*part, &whole).await.unwrap();
        part.commit(linked(digest, &a)).await.unwrap();
        let part = stores.fill(begun, &partly).await;
        fill_range(&*part, &partly, 0, 1000).await;
    }
    let Some(harness) = harness.reopened() else { return };
    let stores = harness.stores();
    stores.assert_blob(digest, Some(&whole)).await;
    assert_eq!(stores.catalog.linked(&a, &digest).await.unwrap(), Some(4000));
    let part = stores.fill(begun, &partly).await;
    assert_eq!(part.missing(), [(1000..4000).into()]);
    fill_holes(&*part, &partly).await.unwrap();
    part.commit(unlinked(begun)).await.unwrap();
    stores.assert_blob(begun, Some(&partly)).await;
}
