//! One writer, from the first byte to the commit.

use bytes::Bytes;
use futures_util::future::try_join_all;
use pier_oci::{Algorithm, Digest};

use super::{
    Harness, blob_key, code, content, fill_holes, fill_range, filling, gather, linked, repository,
    takes_any_order, unlinked,
};
use crate::{ByteRange, Ingest, IngestKey};

/// A part is not a blob, not even when all of its bytes are there.
pub async fn shows_nothing_before_commit(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(1, 5000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    stores.assert_blob(digest, None).await;
    fill_holes(&*part, &bytes).await.unwrap();
    assert_eq!(part.missing(), []);
    stores.assert_blob(digest, None).await;
    drop(part);
    stores.assert_blob(digest, None).await;
}

/// All ways to look at a committed blob say the same, and asking to make it again gives it.
pub async fn commit_makes_stat_open_and_walk_agree(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(2, 70_000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    assert_eq!(part.size(), Some(70_000));
    fill_holes(&*part, &bytes).await.unwrap();
    let blob = part.commit(unlinked(digest)).await.unwrap();
    assert_eq!((blob.digest, blob.size), (digest, 70_000));
    assert_eq!(gather(blob.read((10..20).into()).await.unwrap()).await.unwrap(), bytes.slice(10..20));
    assert_eq!(
        gather(blob.read((69_990..90_000).into()).await.unwrap()).await.unwrap(),
        bytes.slice(69_990..)
    );
    stores.assert_blob(digest, Some(&bytes)).await;
    assert!(
        matches!(stores.blobs.ingest(blob_key(digest, &bytes)).await, Ok(Ingest::Present(found)) if found.digest == digest)
    );
    assert_eq!(code(part.write_at(0, vec![bytes]).await), "invalid");
    assert_eq!(code(part.commit(unlinked(digest)).await), "invalid");
}

/// Pages of all blobs, in the order of their digests.
pub async fn walk_goes_on_behind_a_digest(harness: impl Harness) {
    let stores = harness.stores();
    let mut expected = Vec::new();
    for seed in 0..5 {
        let bytes = content(seed, 10);
        expected.push(stores.keep(&bytes, &repository("a")).await.digest);
    }
    expected.sort();
    let (mut walked, mut after) = (Vec::new(), None);
    loop {
        let page = stores.blobs.walk(after.as_ref(), 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.digest);
        walked.extend(page.iter().map(|info| info.digest));
    }
    assert_eq!(walked, expected);
}

/// Who asks next goes on where the last writer stopped.
pub async fn keeps_what_a_dropped_filler_wrote(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(3, 9000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    fill_range(&*part, &bytes, 0, 4000).await;
    drop(part);
    let part = stores.fill(digest, &bytes).await;
    assert_eq!(part.missing(), [(4000..9000).into()]);
    fill_range(&*part, &bytes, 4000, 9000).await;
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// What is missing is exactly what nobody wrote, before and after a take-over. Front to back a gap is refused.
pub async fn leaves_exactly_the_holes(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(4, 1000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    if !takes_any_order(&*part) {
        assert_eq!(code(part.write_at(500, vec![bytes.slice(500..600)]).await), "out-of-range");
        return;
    }
    fill_range(&*part, &bytes, 700, 800).await;
    fill_range(&*part, &bytes, 100, 200).await;
    fill_range(&*part, &bytes, 150, 300).await;
    let holes: [ByteRange; 3] = [(0..100).into(), (300..700).into(), (800..1000).into()];
    assert_eq!(part.missing(), holes);
    drop(part);
    let part = stores.fill(digest, &bytes).await;
    assert_eq!(part.missing(), holes);
    fill_holes(&*part, &bytes).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// Bytes whose hash may have been taken already stay, whatever comes later.
pub async fn never_overwrites_present_bytes(harness: impl Harness) {
    let stores = harness.stores();
    let (bytes, wrong) = (content(5, 1000), content(99, 1000));
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    fill_range(&*part, &bytes, 0, 600).await;
    fill_range(&*part, &wrong, 100, 600).await;
    let mixed = [&wrong[500..600], &bytes[600..]].concat();
    part.write_at(500, vec![Bytes::from(mixed)]).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// A swarm writes from several tasks at once.
pub async fn takes_concurrent_overlapping_writes(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(6, 64_000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    if takes_any_order(&*part) {
        let starts = (0..64).rev().map(|piece| piece * 1000);
        let write = |start: usize| {
            let end = (start + 1500).min(bytes.len());
            part.write_at(start as u64, vec![bytes.slice(start..start + 700), bytes.slice(start + 700..end)])
        };
        try_join_all(starts.map(write)).await.unwrap();
    }
    // A write whose bytes another write had claimed may return before that other one: all are over now.
    fill_holes(&*part, &bytes).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// Without an announced size the last hole is open-ended.
pub async fn takes_a_blob_of_unknown_size(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(7, 3000);
    let digest = Digest::sha256(&bytes);
    let part = filling(stores.blobs.ingest(IngestKey::Blob { digest, size: None }).await);
    assert_eq!((part.size(), part.missing()), (None, vec![ByteRange::ALL]));
    fill_range(&*part, &bytes, 0, 1000).await;
    assert_eq!(part.missing(), [ByteRange::starting_at(1000)]);
    fill_range(&*part, &bytes, 1000, 3000).await;
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// More than was announced is refused; what was there stays.
pub async fn refuses_bytes_beyond_the_announced_size(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(8, 1000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    fill_range(&*part, &bytes, 0, 900).await;
    assert_eq!(code(part.write_at(900, vec![content(8, 101)]).await), "size");
    assert_eq!(part.missing(), [(900..1000).into()]);
    fill_holes(&*part, &bytes).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// A commit before its time changes nothing.
pub async fn refuses_to_commit_what_is_incomplete(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(9, 1000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    fill_range(&*part, &bytes, 0, 999).await;
    assert_eq!(code(part.commit(unlinked(digest)).await), "invalid");
    assert_eq!(part.missing(), [(999..1000).into()]);
    fill_holes(&*part, &bytes).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// The key's algorithm is the one that counts.
pub async fn takes_sha512(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(10, 2000);
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    let part = stores.fill(digest, &bytes).await;
    fill_holes(&*part, &bytes).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
    stores.assert_blob(Digest::sha256(&bytes), None).await;
}

/// Nothing has a digest too.
pub async fn keeps_an_empty_blob(harness: impl Harness) {
    let stores = harness.stores();
    let digest = Digest::sha256(b"");
    let part = stores.fill(digest, &Bytes::new()).await;
    assert_eq!(part.missing(), []);
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&Bytes::new())).await;
}

/// A part that was asked for by digest becomes that blob or none.
pub async fn refuses_another_digest_than_the_keys(harness: impl Harness) {
    let stores = harness.stores();
    let (asked, sent) = (content(11, 100), content(12, 100));
    let part = stores.fill(Digest::sha256(&asked), &asked).await;
    fill_holes(&*part, &sent).await.unwrap();
    assert_eq!(code(part.commit(unlinked(Digest::sha256(&sent))).await), "invalid");
    stores.assert_blob(Digest::sha256(&sent), None).await;
}

/// Wrong content goes, its writer stays and fills anew.
pub async fn mismatch_empties_the_part_and_keeps_it(harness: impl Harness) {
    let stores = harness.stores();
    let (bytes, wrong) = (content(13, 5000), content(14, 5000));
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    fill_holes(&*part, &wrong).await.unwrap();
    match part.commit(unlinked(digest)).await {
        Err(crate::Error::Integrity { expected, actual, origin: None }) => {
            assert_eq!((expected, actual), (digest, Digest::sha256(&wrong)));
        }
        other => panic!("{other:?}"),
    }
    stores.assert_blob(digest, None).await;
    assert_eq!(part.missing(), [(0..5000).into()]);
    assert!(matches!(stores.blobs.ingest(blob_key(digest, &bytes)).await, Ok(Ingest::Following(_))));
    fill_holes(&*part, &bytes).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// A writer that starts over has what it began with.
pub async fn reset_empties_the_part(harness: impl Harness) {
    let stores = harness.stores();
    let (bytes, wrong) = (content(15, 500), content(16, 500));
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    fill_range(&*part, &wrong, 0, 300).await;
    part.reset().await.unwrap();
    assert_eq!(part.missing(), [(0..500).into()]);
    fill_holes(&*part, &bytes).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// After an abort the next writer begins at the beginning.
pub async fn abort_throws_the_part_away(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(17, 500);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    fill_range(&*part, &bytes, 0, 300).await;
    part.abort().await.unwrap();
    assert_eq!(code(part.write_at(300, vec![bytes.slice(300..)]).await), "invalid");
    drop(part);
    stores.assert_blob(digest, None).await;
    assert_eq!(stores.fill(digest, &bytes).await.missing(), [(0..500).into()]);
}

/// A link comes with the commit, for its repository alone.
pub async fn commit_links_the_blob(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(18, 500);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    fill_holes(&*part, &bytes).await.unwrap();
    assert_eq!(stores.catalog.linked(&repository("a/b"), &digest).await.unwrap(), None);
    part.commit(linked(digest, &repository("a/b"))).await.unwrap();
    assert_eq!(stores.catalog.linked(&repository("a/b"), &digest).await.unwrap(), Some(500));
    assert_eq!(stores.catalog.linked(&repository("a"), &digest).await.unwrap(), None);
}

/// Who holds a blob reads it to its end.
pub async fn open_blob_outlives_its_deletion(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(19, 200_000);
    let blob = stores.keep(&bytes, &repository("a")).await;
    let opened = stores.blobs.open(&blob.digest).await.unwrap();
    stores.catalog.unlink(&repository("a"), &blob.digest).await.unwrap();
    stores.blobs.delete(&blob.digest).await.unwrap();
    stores.assert_blob(blob.digest, None).await;
    assert_eq!(gather(opened.read(ByteRange::ALL).await.unwrap()).await.unwrap(), bytes);
    assert_eq!(code(stores.blobs.delete(&blob.digest).await), "not-found");
    // What was removed can come back.
    stores.keep(&bytes, &repository("a")).await;
    stores.assert_blob(blob.digest, Some(&bytes)).await;
}

/// A blob that a repository shows stays.
pub async fn refuses_to_delete_what_is_shown(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(20, 100);
    let blob = stores.keep(&bytes, &repository("a")).await;
    assert_eq!(code(stores.blobs.delete(&blob.digest).await), "in-use");
    stores.assert_blob(blob.digest, Some(&bytes)).await;
}

/// Whoever asks first writes, and only one does.
pub async fn of_two_who_ask_at_once_one_writes(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(24, 1000);
    let digest = Digest::sha256(&bytes);
    let ask = || stores.blobs.ingest(blob_key(digest, &bytes));
    let (part, following) = match futures_util::future::join(ask(), ask()).await {
        (Ok(Ingest::Filling(part)), Ok(Ingest::Following(following)))
        | (Ok(Ingest::Following(following)), Ok(Ingest::Filling(part))) => (part, following),
        other => panic!("{other:?}"),
    };
    fill_holes(&*part, &bytes).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    assert_eq!(following.committed().await.unwrap().size, 1000);
}
