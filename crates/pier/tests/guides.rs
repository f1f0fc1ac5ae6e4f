//! The guides, run as they stand: every command in them, in its order, with the names of real registries taken for those of two
//! that run here.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use pier_testkit::image::{BuiltImage, ImageBuilder, IndexBuilder, Layer};
use pier_testkit::test_registry::TestRegistry;

const PIER: &str = env!("CARGO_BIN_EXE_pier");
const GUIDES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides");

/// What stands in the guides for the registry of the world, and for one's own.
const NAMES: [&str; 2] = ["docker.io/", "registry.lan/"];

/// An index as registries have them: two platforms, an attestation, and a signature.
async fn publish(registry: &TestRegistry, name: &str, seed: u64) {
    let image = |architecture: &str, seed| {
        ImageBuilder::new().platform("linux", architecture, None).layer(Layer::random(seed, 2000)).build()
    };
    let (amd64, arm64) = (image("amd64", seed), image("arm64", seed + 1));
    let index: BuiltImage = IndexBuilder::new().child(&amd64).child(&arm64).attestation(&amd64).build();
    registry.push(&index, name).await.unwrap();
    let signature = ImageBuilder::new()
        .subject(&index.root)
        .artifact_type("application/vnd.example.signature")
        .layer(Layer::random(seed + 2, 100))
        .build();
    let (repository, _) = name.split_once(':').unwrap();
    registry.push(&signature, &format!("{repository}:signature")).await.unwrap();
}

#[track_caller]
fn run(guide: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let registries = runtime.block_on(async {
        let [world, own] = [TestRegistry::start().await.unwrap(), TestRegistry::start().await.unwrap()];
        publish(&world, "library/alpine:3.22", 10).await;
        publish(&world, "library/busybox:1.37", 20).await;
        [world, own]
    });
    let folder = tempfile::tempdir().unwrap();
    let page = fs::read_to_string(format!("{GUIDES}/{guide}")).unwrap();
    let mut script = format!("set -euxo pipefail\n{}", commands(&page));
    for (name, registry) in NAMES.iter().zip(&registries) {
        script = script.replace(name, &format!("{}/", registry.address()));
    }
    let programs = Path::new(PIER).parent().unwrap().to_str().unwrap();
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", format!("{programs}:{}", env::var("PATH").unwrap()))
        .env("PIER_DATA", folder.path().join("data"))
        .env_remove("PIER_CONFIG")
        .output()
        .unwrap();
    assert!(output.status.success(), "{guide}: {}", String::from_utf8_lossy(&output.stderr));
}

/// All that is to be typed, in one piece.
fn commands(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands: String = blocks.collect();
    assert!(commands.matches("pier ").count() > 5, "{commands}");
    commands
}

#[test]
fn pull_and_push() {
    run("pull-and-push.md");
}

#[test]
fn copy_between_registries() {
    run("copy-between-registries.md");
}

#[test]
fn air_gap() {
    run("air-gap.md");
}

#[test]
fn approve_and_launch() {
    run("approve-and-launch.md");
}

#[test]
fn test_against_a_real_registry() {
    run("test-against-a-real-registry.md");
}
