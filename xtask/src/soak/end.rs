//! When all have ended: nothing that something names is lost, and nothing else is left.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{content::Content, dice::Dice, registry::Registry};

/// How long after the last request leases, expiry and the collector may take together.
const PATIENCE: Duration = Duration::from_mins(2);

/// Deletes half of the manifests everywhere, so that there is something to collect in the end.
pub(super) fn delete_some(
    registry: &mut Registry<'_>,
    content: &Content,
    dice: &mut Dice,
) -> anyhow::Result<()> {
    for place in 0..content.manifests.len() {
        if dice.below(2) == 0 {
            for repository in &content.repositories {
                registry.delete_manifest(0, repository, place)?;
            }
        }
    }
    Ok(())
}

/// Looks at every key, for the history, and gives the digests of the blobs that are named.
pub(super) fn survey(registry: &mut Registry<'_>, content: &Content) -> anyhow::Result<BTreeSet<String>> {
    let mut named = BTreeSet::new();
    for repository in &content.repositories {
        for tag in &content.tags {
            registry.tag(0, repository, tag)?;
        }
        for (place, manifest) in content.manifests.iter().enumerate() {
            if registry.manifest(0, repository, place)?.context("nobody kills any more")? {
                for blob in &manifest.blobs {
                    let shown = registry.blob(0, "GET", repository, *blob)?;
                    ensure!(shown == Some(true), "{repository} lost {}", content.blobs[*blob].digest);
                    named.insert(content.blobs[*blob].digest.clone());
                }
            }
        }
        for blob in 0..content.blobs.len() {
            registry.blob(0, "GET", repository, blob)?;
        }
    }
    Ok(named)
}

/// Waits until the collector has taken all that nothing names, and every upload that nobody finished.
pub(super) fn wait_for_the_collector(data: &Path, named: &BTreeSet<String>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = Left::of(data)?;
        if left.blobs == *named && left.uploads == 0 && left.trash == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{left:?} is left, and named is {named:?}");
        thread::park_timeout(Duration::from_millis(100));
    }
}

/// That `pier` itself finds the store to be well, and nothing to prune.
pub(super) fn all_is_well(pier: &Path, data: &Path, configuration: &Path) -> anyhow::Result<()> {
    let run = |arguments: &[&str]| -> anyhow::Result<Value> {
        let mut command = Command::new(pier);
        command.args(arguments).arg("--json").arg("--data").arg(data).arg("--config").arg(configuration);
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pier {arguments:?}: {}: {said}", output.status);
        serde_json::from_slice(&output.stdout).context("no JSON")
    };
    let report = run(&["fsck"])?;
    ensure!(report["findings"] == json!([]), "fsck: {report}");
    let pruned = run(&["prune"])?;
    ensure!(
        pruned == json!({ "blobs": 0, "bytes": 0, "links": 0, "parts": 0 }),
        "prune found more: {pruned}"
    );
    Ok(())
}

/// What lies in the data folder.
#[derive(Debug)]
struct Left {
    blobs: BTreeSet<String>,
    uploads: usize,
    trash: usize,
}

impl Left {
    fn of(data: &Path) -> anyhow::Result<Self> {
        let mut blobs = BTreeSet::new();
        for algorithm in ["sha256", "sha512"] {
            for file in fs::read_dir(data.join("blobs").join(algorithm))? {
                blobs.insert(format!("{algorithm}:{}", file?.file_name().to_string_lossy()));
            }
        }
        let count = |folder: &str| fs::read_dir(data.join(folder)).map(Iterator::count);
        Ok(Self { blobs, uploads: count("uploads")? + count("parts")?, trash: count("trash")? })
    }
}
