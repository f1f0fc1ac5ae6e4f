//! Pulls and pushes that are killed, or whose network is cut, at any point: the next run moves what was missing and little else, and what
//! it leaves is right, digest by digest.
//!
//! A proxy counts the bytes. It is told nothing of the points: it says when so many bytes have passed, and then the process dies.

use std::{
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use pier_oci::{Digest, Selector};
use pier_testkit::{
    faults::{FaultyProxy, Kind, Pace, Script, Seen},
    image::{BuiltImage, ImageBuilder, IndexBuilder, Layer},
    test_registry::{Options, Storage, TestRegistry},
};

use crate::dice::{Dice, seed};

/// Points of each kind: 50 pulls killed, 50 pulls cut, and as many pushes.
const POINTS: usize = 50;

/// What an interruption may cost, in bytes a layer.
const LOST: u64 = 8 << 20;

/// Slow enough that a process does not end before it is killed, and that little waits in the kernel's buffers. Those of a connection that is
/// read can take many MiB while a busy disk keeps its reader waiting, so a pull is slower.
const PULL_PACE: Pace = Pace { bytes_per_second: Some(40_000_000), delay: Duration::ZERO };
const PUSH_PACE: Pace = Pace { bytes_per_second: Some(80_000_000), delay: Duration::ZERO };

/// How a run is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interruption {
    /// The process dies, and another one goes on.
    Kill,
    /// Every connection is cut, and the process itself goes on.
    Cut,
}

/// Two platforms that share a layer, a layer that is large enough for parallel ranges, and many small ones.
fn mixed() -> BuiltImage {
    let shared = Layer::random(1, 3_000_000);
    let mut large = ImageBuilder::new().platform("linux", "amd64", None).layer(shared.clone());
    large = large.layer(Layer::random(2, 34 << 20));
    let mut many = ImageBuilder::new().platform("linux", "arm64", None).layer(shared);
    for number in 0..12 {
        many = many.layer(Layer::random(100 + number, 100_000));
    }
    IndexBuilder::new().child(&large.build()).child(&many.build()).build()
}

async fn registry() -> TestRegistry {
    TestRegistry::start_with(Options { storage: Storage::Memory, ..Options::default() }).await.unwrap()
}

async fn proxy(registry: &TestRegistry, pace: Pace) -> FaultyProxy {
    FaultyProxy::start(registry.address(), Script::new().pace(pace)).await.unwrap()
}

fn pier(data: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_pier"))
        .args(arguments)
        .args(["--progress", "none"])
        .env_clear()
        .env("HOME", data)
        .env("PIER_DATA", data.join("store"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for a process to end by itself; says what it said when that was in an error.
async fn ended(child: Child) -> (ExitStatus, String) {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn moved(seen: &[Seen], kind: Kind) -> u64 {
    seen.iter().filter(|seen| seen.kind == kind).map(|seen| seen.downloaded + seen.uploaded).sum()
}

/// Runs `pier` until so many bytes of blobs have passed, interrupts it, and lets it, or the next one, come to its end.
async fn interrupted(
    proxy: &FaultyProxy,
    data: &Path,
    arguments: &[&str],
    kind: Kind,
    after: u64,
    how: Interruption,
) {
    let mut child = pier(data, arguments);
    proxy.wait_for(|seen| moved(seen, kind) >= after).await.unwrap();
    let last = match how {
        Interruption::Kill => {
            child.kill().unwrap();
            child.wait().unwrap();
            pier(data, arguments)
        }
        Interruption::Cut => {
            proxy.cut_all().await;
            child
        }
    };
    let (status, said) = ended(last).await;
    assert!(status.success(), "{arguments:?} {how:?} after {after} bytes: {status} {said}");
}

fn below(dice: &mut Dice, total: u64) -> u64 {
    1 + dice.roll() % (total * 95 / 100)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_is_interrupted_anywhere_fetches_the_rest_and_little_else() {
    let (registry, image) = (registry().await, mixed());
    registry.push(&image, "team/app:v1").await.unwrap();
    let mut dice = Dice::new(seed());
    let mut most = 0;
    for point in 0..2 * POINTS {
        let how = if point % 2 == 0 { Interruption::Kill } else { Interruption::Cut };
        let (proxy, data) = (proxy(&registry, PULL_PACE).await, tempfile::tempdir().unwrap());
        let reference = proxy.image_ref("team/app:v1");
        let arguments = ["pull", &reference, "--all-platforms"];
        let after = below(&mut dice, image.blob_bytes());
        interrupted(&proxy, data.path(), &arguments, Kind::Blob, after, how).await;
        for blob in &image.blobs {
            let again = proxy.downloaded(&blob.descriptor.digest) - blob.descriptor.size;
            assert!(again <= LOST, "{how:?} after {after}: {again} bytes of one blob came twice");
            most = most.max(again);
        }
        check_store(&data.path().join("store"), &image);
    }
    tell(&format!("at most {most} bytes of a blob came twice"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_is_interrupted_anywhere_sends_the_rest_and_little_else() {
    let (registry, image) = (registry().await, mixed());
    registry.push(&image, "team/app:v1").await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let reference = registry.image_ref("team/app:v1");
    let (status, said) = ended(pier(data.path(), &["pull", &reference, "--all-platforms"])).await;
    assert!(status.success(), "{said}");
    let mut dice = Dice::new(seed());
    let mut most = 0;
    for point in 0..2 * POINTS {
        let how = if point % 2 == 0 { Interruption::Kill } else { Interruption::Cut };
        // Another registry each time, so that nothing is there yet.
        let to = self::registry().await;
        let proxy = proxy(&to, PUSH_PACE).await;
        let target = proxy.image_ref("team/app:v1");
        let after = below(&mut dice, image.blob_bytes());
        interrupted(&proxy, data.path(), &["push", &reference, &target], Kind::Upload, after, how).await;
        let again = proxy.uploaded_blobs() - image.blob_bytes();
        // Four blobs are under way at once, and only one of them is large enough to lose more than itself.
        assert!(again <= LOST, "{how:?} after {after}: {again} bytes were sent twice");
        most = most.max(again);
        check_registry(&to, &image).await;
    }
    tell(&format!("at most {most} bytes were sent twice"));
}

/// Every blob is in the store, and is what its name says.
fn check_store(store: &Path, image: &BuiltImage) {
    for blob in &image.blobs {
        let digest = blob.descriptor.digest;
        let path = store.join("blobs").join(digest.algorithm().as_str()).join(digest.hex());
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(Digest::of(digest.algorithm(), &bytes), digest);
    }
}

/// The tag names what was pushed, and the registry has all of it. It verified each blob when it took it.
async fn check_registry(registry: &TestRegistry, image: &BuiltImage) {
    let selector = Selector::Tag("v1".parse().unwrap());
    let manifest = registry.catalog().resolve(&"team/app".parse().unwrap(), &selector).await.unwrap();
    assert_eq!(manifest.digest(), image.root.digest);
    for blob in &image.blobs {
        let held = registry.blobs().open(&blob.descriptor.digest).await.unwrap();
        assert_eq!(held.size, blob.descriptor.size);
    }
}

#[expect(
    clippy::print_stdout,
    reason = "how close it came is worth knowing when the bound is broken one day"
)]
fn tell(what: &str) {
    println!("{what}");
}
