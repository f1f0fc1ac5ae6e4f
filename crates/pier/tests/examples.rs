//! The examples that people copy, run as they stand against a real `pier serve`.

use std::path::Path;
use std::process::Command;

use pier_testkit::process::PierProcess;
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
