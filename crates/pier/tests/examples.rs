//! The examples that people copy, run as they stand against a real `pier serve`.

use std::path::Path;
use std::process::Command;

use pier_oci::{Digest, Platform};
use pier_testkit::image::ImageBuilder;
use pier_testkit::process::PierProcess;
use pier_testkit::test_registry::TestRegistry;
use pier_testkit::{engine::Skopeo, skip::or_skip};

const PIER: &str = env!("CARGO_BIN_EXE_pier");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

#[test]
fn push_and_pull_gives_the_image_back() {
    if or_skip(Skopeo::find()).is_none() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    // With the configuration of the examples, so that this runs as an example too; its address may be taken here.
    let config = format!("{EXAMPLES}/pier.toml");
    let data_path = data.path().to_str().unwrap();
    let arguments = ["--config", &config, "serve", "--listen", "127.0.0.1:0", "--data", data_path];
    let registry = PierProcess::start(Path::new(PIER), arguments, []).unwrap();
    let output = Command::new(format!("{EXAMPLES}/push-and-pull.sh"))
        .arg(registry.address().to_string())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let digest = stdout.strip_prefix("hello from an image\npushed and pulled sha256:").unwrap().trim_end();
    assert_eq!(digest.len(), 64, "{stdout}");
}

#[test]
fn verify_before_launch_prints_what_is_approved_and_nothing_else() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let registry = runtime.block_on(TestRegistry::start()).unwrap();
    let architecture = Platform::from_rust("linux", std::env::consts::ARCH).architecture;
    let image = ImageBuilder::new().platform("linux", &architecture, None).build();
    runtime.block_on(registry.push(&image, "app:1")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (list, name) = (folder.path().join("approved.json"), registry.image_ref("app:1"));
    let launch = |approved: &str| {
        std::fs::write(&list, format!("{{\"approved_hashes\":[\"{approved}\"]}}")).unwrap();
        let programs = Path::new(PIER).parent().unwrap().to_str().unwrap();
        let output = Command::new(format!("{EXAMPLES}/verify-before-launch.sh"))
            .args([name.as_str(), list.to_str().unwrap()])
            .env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()))
            .env("PIER_DATA", folder.path().join("data"))
            .env_remove("PIER_CONFIG")
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let expected = format!("{}@{}\n", registry.image_ref("app"), image.root.digest);
    assert_eq!(launch(&image.root.digest.to_string()), (0, expected));
    assert_eq!(launch(&Digest::sha256(b"another").to_string()), (1, String::new()));
    assert_eq!(launch("nothing").0, 2);
}
