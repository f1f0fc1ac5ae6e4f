//! Readers beside the one writer.

use futures_util::{StreamExt as _, future::join_all};
use pier_oci::Digest;

use super::{
    Harness, code, content, dropped_after, fill_holes, fill_range, gather, takes_any_order, unlinked,
};
use crate::{ByteRange, Withheld};

/// Whole and in part, all readers get what the writer wrote, while it writes.
pub async fn followers_get_the_same_bytes(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(30, 100_000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    let ranges =
        [ByteRange::ALL, (0..100_000).into(), (500..70_000).into(), (99_999..100_000).into(), (7..7).into()];
    let mut readers = Vec::new();
    for range in ranges {
        readers.push(gather(stores.follow(digest, &bytes).await.read(range)));
    }
    let write = async {
        for start in (0..100_000).step_by(10_000) {
            fill_range(&*part, &bytes, start, start + 10_000).await;
        }
        part.commit(unlinked(digest)).await.unwrap();
    };
    let (read, ()) = futures_util::future::join(join_all(readers), write).await;
    let read: Vec<_> = read.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        read,
        [bytes.clone(), bytes.clone(), bytes.slice(500..70_000), bytes.slice(99_999..), bytes.slice(7..7)]
    );
}

/// Bytes come out in order, whatever order they went in, and none is given before all in front of it are there.
pub async fn a_range_with_holes_is_followed_in_order(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(42, 1000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    if !takes_any_order(&*part) {
        return;
    }
    fill_range(&*part, &bytes, 600, 800).await;
    let follower = stores.follow(digest, &bytes).await;
    assert!(follower.present().into_iter().eq(std::iter::once(600..800)));
    let reading = gather(follower.read((500..950).into()));
    let inside = gather(follower.read((650..750).into()));
    assert_eq!(inside.await.unwrap(), bytes.slice(650..750));
    let mut first = follower.read((500..950).into());
    let write = async {
        for (start, end) in [(900, 1000), (550, 600), (0, 100)] {
            fill_range(&*part, &bytes, start, end).await;
            assert!(dropped_after(1, first.next()).await.is_none());
        }
        assert!(follower.present().into_iter().eq([0..100, 550..800, 900..1000]));
        fill_range(&*part, &bytes, 500, 550).await;
        let mut got = Vec::new();
        while got.len() < 300 {
            got.extend_from_slice(&first.next().await.unwrap().unwrap());
        }
        assert_eq!(got, bytes[500..800]);
        fill_range(&*part, &bytes, 800, 900).await;
    };
    let (read, ()) = futures_util::future::join(reading, write).await;
    assert_eq!(read.unwrap(), bytes.slice(500..950));
}

/// What is present is read without waiting for more.
pub async fn a_late_follower_sees_what_is_present(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(31, 1000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    fill_range(&*part, &bytes, 0, 600).await;
    let follower = stores.follow(digest, &bytes).await;
    assert_eq!(follower.size(), Some(1000));
    assert!(follower.present().into_iter().eq(std::iter::once(0..600)));
    assert_eq!(gather(follower.read((100..600).into())).await.unwrap(), bytes.slice(100..600));
    fill_holes(&*part, &bytes).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    assert_eq!(follower.committed().await.unwrap().digest, digest);
    assert_eq!(gather(follower.read(ByteRange::ALL)).await.unwrap(), bytes);
}

/// A reader learns that nobody writes any more, whether it waits already or asks later.
pub async fn followers_of_a_dropped_filler_are_told(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(32, 1000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    let (early, late) = (stores.follow(digest, &bytes).await, stores.follow(digest, &bytes).await);
    fill_range(&*part, &bytes, 0, 600).await;
    let mut stream = early.read(ByteRange::ALL);
    assert_eq!(stream.next().await.unwrap().unwrap(), bytes.slice(0..600));
    let (outcome, ()) = futures_util::future::join(early.committed(), async { drop(part) }).await;
    assert_eq!(code(outcome), "abandoned");
    assert_eq!(code(stream.next().await.unwrap()), "abandoned");
    assert_eq!(code(late.committed().await), "abandoned");
}

/// A reader that looks only after the next writer began is told all the same.
pub async fn followers_of_a_dropped_filler_are_told_after_a_take_over(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(33, 1000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    let follower = stores.follow(digest, &bytes).await;
    drop(part);
    let next = stores.fill(digest, &bytes).await;
    assert_eq!(code(follower.committed().await), "abandoned");
    fill_holes(&*next, &bytes).await.unwrap();
    next.commit(unlinked(digest)).await.unwrap();
    stores.assert_blob(digest, Some(&bytes)).await;
}

/// Readers of what did not match never see the refill as its continuation.
pub async fn followers_of_wrong_content_are_told(harness: impl Harness) {
    let stores = harness.stores();
    let (bytes, wrong) = (content(34, 1000), content(35, 1000));
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    let follower = stores.follow(digest, &bytes).await;
    let mut stream = follower.read(ByteRange::ALL);
    fill_range(&*part, &wrong, 0, 600).await;
    assert_eq!(stream.next().await.unwrap().unwrap(), wrong.slice(0..600));
    fill_holes(&*part, &wrong).await.unwrap();
    assert_eq!(code(part.commit(unlinked(digest)).await), "integrity");
    let newer = stores.follow(digest, &bytes).await;
    fill_holes(&*part, &bytes).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    assert_eq!(code(follower.committed().await), "integrity");
    assert_eq!(code(gather(stream).await), "integrity");
    assert_eq!(newer.committed().await.unwrap().digest, digest);
    assert_eq!(gather(newer.read(ByteRange::ALL)).await.unwrap(), bytes);
}

/// An abort is the end for readers too.
pub async fn followers_of_aborted_content_are_told(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(36, 1000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    let follower = stores.follow(digest, &bytes).await;
    part.abort().await.unwrap();
    drop(part);
    assert_eq!(code(follower.committed().await), "abandoned");
}

/// A client that hangs up disturbs nobody.
pub async fn a_follower_dropped_midway_changes_nothing(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(37, 1000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    let (leaves, stays) = (stores.follow(digest, &bytes).await, stores.follow(digest, &bytes).await);
    fill_range(&*part, &bytes, 0, 500).await;
    let mut stream = leaves.read(ByteRange::ALL);
    stream.next().await.unwrap().unwrap();
    drop((stream, leaves));
    fill_holes(&*part, &bytes).await.unwrap();
    part.commit(unlinked(digest)).await.unwrap();
    assert_eq!(gather(stays.read(ByteRange::ALL)).await.unwrap(), bytes);
}

/// Bytes held back by [`Withheld`].
const HELD_BACK: usize = 64 << 10;

/// All but the last bytes flow at once, the last follow the commit.
pub async fn withheld_gives_the_last_bytes_after_the_commit(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(38, HELD_BACK + 1000);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    let withheld = Withheld::new(stores.follow(digest, &bytes).await).unwrap();
    assert_eq!(withheld.size(), bytes.len() as u64);
    let mut stream = withheld.read(ByteRange::ALL);
    fill_holes(&*part, &bytes).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), bytes.slice(..1000));
    assert!(dropped_after(1, stream.next()).await.is_none());
    part.commit(unlinked(digest)).await.unwrap();
    assert_eq!(gather(stream).await.unwrap(), bytes.slice(1000..));
}

/// A response with wrong bytes never reaches its length.
pub async fn withheld_is_cut_on_a_mismatch(harness: impl Harness) {
    let stores = harness.stores();
    let (bytes, wrong) = (content(39, HELD_BACK + 1000), content(40, HELD_BACK + 1000));
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    let mut stream = Withheld::new(stores.follow(digest, &bytes).await).unwrap().read(ByteRange::ALL);
    fill_holes(&*part, &wrong).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), wrong.slice(..1000));
    assert_eq!(code(part.commit(unlinked(digest)).await), "integrity");
    assert_eq!(code(stream.next().await.unwrap()), "integrity");
}

/// A receiver of a range has no digest to check it with.
pub async fn withheld_range_waits_for_the_commit(harness: impl Harness) {
    let stores = harness.stores();
    let bytes = content(41, HELD_BACK * 2);
    let digest = Digest::sha256(&bytes);
    let part = stores.fill(digest, &bytes).await;
    let mut stream = Withheld::new(stores.follow(digest, &bytes).await).unwrap().read((10..20).into());
    fill_holes(&*part, &bytes).await.unwrap();
    assert!(dropped_after(1, stream.next()).await.is_none());
    part.commit(unlinked(digest)).await.unwrap();
    assert_eq!(gather(stream).await.unwrap(), bytes.slice(10..20));
}
