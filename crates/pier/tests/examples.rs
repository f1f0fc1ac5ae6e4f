//! The examples that people copy, run as they stand against a real `pier serve`.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use pier_oci::{Digest, Platform};
use pier_testkit::image::{ImageBuilder, IndexBuilder, Layer};
use pier_testkit::process::PierProcess;
use pier_testkit::test_registry::TestRegistry;
use pier_testkit::{blocking, engine::Skopeo, skip::or_skip};

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

/// The unit, with the program that is under test in place of the one that is installed.
fn unit() -> String {
    let unit = std::fs::read_to_string(format!("{EXAMPLES}/systemd/pier.service")).unwrap();
    assert_eq!(unit.matches("/usr/local/bin/pier").count(), 1);
    unit.replace("/usr/local/bin/pier", PIER)
}

#[test]
fn the_unit_of_systemd_says_what_systemd_and_pier_understand() {
    let unit = unit();
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let (program, arguments) = command.split_once(' ').unwrap();
    let help = Command::new(program).args(arguments.split(' ')).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    // Those that are commented out are there to be copied.
    let variables: Vec<&str> = unit
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix("Environment=")?.split('=').next())
        .collect();
    assert_eq!(variables, ["PIER_DATA", "PIER_CONFIG", "PIER_LISTEN"]);
    for variable in variables {
        assert!(help.contains(&format!("[env: {variable}=")), "`{variable}` is not in\n{help}");
    }

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pier.service");
    std::fs::write(&file, unit).unwrap();
    let verify = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(file).output();
    let Some(verified) = or_skip(verify) else { return };
    let said = String::from_utf8(verified.stderr).unwrap();
    assert!(verified.status.success() && !said.contains("pier.service"), "{said}");
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

/// A folder of images as the examples want one: `alpine:3.22` for two platforms. Gives its digest too.
fn real_images() -> (tempfile::TempDir, PathBuf, String) {
    let image = |architecture, seed| {
        ImageBuilder::new().platform("linux", architecture, None).layer(Layer::random(seed, 3000)).build()
    };
    let index = IndexBuilder::new().child(&image("amd64", 1)).child(&image("arm64", 2)).build();
    let upstream = blocking::TestRegistry::start().unwrap();
    upstream.push(&index, "library/alpine:3.22").unwrap();
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("testdata");
    let source = format!("{}=alpine:3.22", upstream.image_ref("library/alpine:3.22"));
    let init = Command::new(PIER)
        .args(["testdata", "init", "--progress", "none", &source, "--storage-dir"])
        .arg(&folder)
        .output()
        .unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    (place, folder, index.root.digest.to_string())
}

/// Runs a test of another language on a folder of images. It is skipped where its language is missing. Gives what it printed.
#[track_caller]
fn real_registry(command: &mut Command, folder: &Path) -> Option<String> {
    let output = command
        .current_dir(format!("{EXAMPLES}/real-registry"))
        .envs([("PIER", Path::new(PIER)), ("TESTDATA", folder)])
        .envs([("REPOSITORY", "alpine"), ("TAG", "3.22")])
        // A module of its own, which needs no other.
        .envs([("GO111MODULE", "on"), ("GOFLAGS", "-mod=mod"), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local")])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output();
    let output = or_skip(output.map_err(|error: io::Error| {
        io::Error::new(error.kind(), format!("`{}`: {error}", command.get_program().display()))
    }))?;
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Some(stdout)
}

#[test]
fn a_test_in_shell_has_a_real_registry() {
    let (_place, folder, digest) = real_images();
    if or_skip(Command::new("curl").arg("--version").output()).is_none() {
        return;
    }
    let said = real_registry(Command::new("./test.sh").args(["alpine", "3.22"]), &folder).unwrap();
    assert_eq!(said, format!("alpine:3.22 is {digest}\n"));
}

#[test]
fn a_test_in_python_has_a_real_registry() {
    let (_place, folder, _) = real_images();
    real_registry(Command::new("python3").arg("test_registry.py"), &folder);
}

#[test]
fn a_test_in_go_has_a_real_registry() {
    let (_place, folder, _) = real_images();
    let Some(said) = real_registry(Command::new("go").args(["test", "-count=1", "-v", "./..."]), &folder)
    else {
        return;
    };
    assert_eq!(said.matches("--- PASS").count(), 2, "{said}");
}
