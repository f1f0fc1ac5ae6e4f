//! Copies into a layout that are killed at any moment: what is there is right, and the next run goes on.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::{env, fs};

use pier_content::{CopyOptions, Event, Progress, copy};
use pier_layout::OciLayout;
use pier_oci::Digest;
use pier_testkit::image::{BuiltImage, ImageBuilder, Layer};

use crate::work::{all_of, folder, repository, tag, verified_blobs, written};

/// In the process that is killed: the folder of the source, and that of the target.
const CHILD: [&str; 2] = ["PIER_TEST_KILLED_FROM", "PIER_TEST_KILLED_TO"];

const LAYER: usize = 2_500_000;

fn image() -> BuiltImage {
    let layers = (0..3).map(|seed| Layer::random(100 + seed, LAYER));
    layers.fold(ImageBuilder::new(), ImageBuilder::layer).build()
}

/// Copies the one image and gives how many bytes were there from before, by blob.
async fn run(from: &Path, to: &Path, progress: impl Fn() + Send + Sync + 'static) -> BTreeMap<Digest, u64> {
    let source = OciLayout::open(from).await.unwrap();
    let target = OciLayout::create(to).await.unwrap();
    let reference = source.reference(None).await.unwrap();
    let begun: Arc<Mutex<BTreeMap<Digest, u64>>> = Arc::default();
    let seen = Arc::clone(&begun);
    let listener = Progress::to(move |event| {
        if let Event::Started { descriptor, done } = event {
            seen.lock().unwrap().insert(descriptor.digest, done);
        }
        progress();
    });
    let options = CopyOptions::default();
    copy(&source, &reference, &target, &repository(), &[tag("v1")], &options, &listener).await.unwrap();
    drop(listener);
    Arc::into_inner(begun).unwrap().into_inner().unwrap()
}

#[tokio::test]
async fn s24_a_copy_that_is_killed_leaves_nothing_wrong_and_goes_on() {
    if let [Some(from), Some(to)] = CHILD.map(env::var_os) {
        run(from.as_ref(), to.as_ref(), || {
            let mut out = std::io::stdout();
            writeln!(out, "event").and_then(|()| out.flush()).unwrap();
        })
        .await;
        return;
    }
    let image = image();
    let from = written(&image, "v1");
    let (mut kills, mut continued) = (0, 0);
    for moment in 0.. {
        let to = folder();
        if !killed(from.path(), to.path(), moment) {
            break;
        }
        kills += 1;
        // Every blob that has its name is right, and what is listed is there.
        if to.path().join("blobs").exists() {
            verified_blobs(to.path());
        }
        if let Ok(layout) = OciLayout::open(to.path()).await
            && !layout.entries().await.unwrap().is_empty()
        {
            assert_eq!(verified_blobs(to.path()), all_of(&image));
        }
        let parts = parts(to.path());
        let done = run(from.path(), to.path(), || {}).await;
        for (digest, size) in parts {
            // It may have been complete, and only without its name.
            assert_eq!(done.get(&digest), Some(&size), "after {moment} events");
            continued += 1;
        }
        assert_eq!(verified_blobs(to.path()), all_of(&image));
        assert_eq!(crate::work::names_in(to.path()), ["blobs", "index.json", "oci-layout"]);
    }
    assert!(kills >= 10, "{kills}");
    assert!(continued > 0, "some copy was killed in the middle of a blob");
}

/// Runs the copy in a process of its own and kills that when it has reported so many events; false when it ends before.
fn killed(from: &Path, to: &Path, events: usize) -> bool {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "kill::s24_a_copy_that_is_killed_leaves_nothing_wrong_and_goes_on", "--nocapture"])
        .env(CHILD[0], from)
        .env(CHILD[1], to)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reported =
        lines.map_while(Result::ok).filter(|line| line.ends_with("event")).take(events + 1).count();
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(reported > events || status.success(), "the copy failed by itself");
    reported > events
}

/// Blobs in the making, and how many bytes of them there are.
fn parts(layout: &Path) -> BTreeMap<Digest, u64> {
    let Ok(entries) = fs::read_dir(layout.join(".pier")) else { return BTreeMap::new() };
    let named = entries.map(|entry| entry.unwrap()).filter_map(|entry| {
        let digest = entry.file_name().to_str()?.replacen('-', ":", 1).parse().ok()?;
        Some((digest, entry.metadata().unwrap().len()))
    });
    // Manifests are small, and written anew.
    named.filter(|(_, size)| *size > 1 << 10).collect()
}
