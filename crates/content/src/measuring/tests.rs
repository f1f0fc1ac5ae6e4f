//! What is measured survives callers that give up.

use std::sync::mpsc;

use futures_util::FutureExt as _;
use pier_oci::MediaType;

use super::*;

fn part(content: &[u8]) -> (Measuring, Commit) {
    let digest = Digest::sha256(content);
    let descriptor = Descriptor::new(MediaType::OCI_CONFIG, digest, content.len() as u64);
    (
        Measuring::new(&descriptor, Measure::Unpacked(Algorithm::Sha256, 1 << 20)),
        Commit { digest, link: None },
    )
}

/// Runs on a runtime whose one blocking thread does nothing until the sender is dropped: workers wait.
fn with_workers_held<F: Future>(test: impl FnOnce(mpsc::Sender<()>) -> F) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (release, held) = mpsc::channel::<()>();
        let holding = tokio::task::spawn_blocking(move || held.recv());
        test(release).await;
        assert!(holding.await.unwrap().is_err());
    });
}

#[test]
fn a_commit_that_is_dropped_is_gone_on_with_by_the_next() {
    with_workers_held(async |release| {
        let (part, commit) = part(b"content");
        part.write_at(0, vec![Bytes::from_static(b"content")]).await.unwrap();
        assert!(part.commit(commit.clone()).now_or_never().is_none());
        assert_eq!(part.missing(), []);
        drop(release);
        let blob = part.commit(commit.clone()).await.unwrap();
        assert_eq!((blob.digest, blob.size), (commit.digest, 7));
        assert_eq!(part.unpacked().unwrap().unwrap().digest, commit.digest);
    });
}

#[test]
fn a_write_that_is_dropped_has_done_nothing() {
    with_workers_held(async |release| {
        let (part, commit) = part(b"abcd");
        for (at, byte) in [(0, b"a"), (1, b"b")] {
            part.write_at(at, vec![Bytes::from_static(byte)]).await.unwrap();
        }
        // The queue is full.
        assert!(part.write_at(2, vec![Bytes::from_static(b"x")]).now_or_never().is_none());
        assert_eq!(part.missing(), [ByteRange::from(2..4)]);
        drop(release);
        part.write_at(2, vec![Bytes::from_static(b"cd")]).await.unwrap();
        part.commit(commit).await.unwrap();
    });
}

#[tokio::test]
async fn what_is_wrong_begins_anew_and_what_is_committed_stays() {
    let (part, commit) = part(b"content");
    part.write_at(0, vec![Bytes::from_static(b"CONTENT")]).await.unwrap();
    assert!(matches!(part.commit(commit.clone()).await, Err(Error::Integrity { .. })));
    assert_eq!(part.missing(), [ByteRange::from(0..7)]);
    part.write_at(0, vec![Bytes::from_static(b"con")]).await.unwrap();
    part.reset().await.unwrap();
    // What has arrived is not taken a second time.
    part.write_at(0, vec![Bytes::from_static(b"cont")]).await.unwrap();
    part.write_at(2, vec![Bytes::from_static(b"nt"), Bytes::from_static(b"ent")]).await.unwrap();
    part.commit(commit.clone()).await.unwrap();
    assert!(part.commit(commit).await.is_err());
    assert!(part.reset().await.is_err());
}

#[tokio::test]
async fn nothing_at_all_can_be_measured() {
    let (part, commit) = part(b"");
    assert_eq!(part.missing(), []);
    part.commit(commit).await.unwrap();
    assert_eq!(part.unpacked().unwrap().unwrap().size, 0);
}
