//! Processes, small disks and peers, on the machine that runs the test.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use pier_testkit::engine;
use pier_testkit::process::PierProcess;
use pier_testkit::skip::{REQUIRE_PEERS, Skips, Unmet as _, or_skip, skip};
use pier_testkit::small_disk::SmallDisk;

const LIMIT: Duration = Duration::from_secs(10);

fn shell(script: &str) -> std::io::Result<PierProcess> {
    let environment = [("WHO", "tester".to_owned())];
    PierProcess::start_within(Path::new("/bin/sh"), ["-c", script], environment, LIMIT)
}

#[test]
fn reads_the_address_and_captures_both_streams() {
    let script = "echo $WHO; echo talk >&2; echo listening on http://127.0.0.1:4321; exec sleep 60";
    let mut process = shell(script).unwrap();
    assert_eq!(process.address(), "127.0.0.1:4321".parse().unwrap());
    // The kernel counts both approximately, so they cannot be compared to each other.
    let memory = process.resident_bytes().unwrap();
    assert!(memory.peak > 0 && memory.now > 0);
    assert!(process.cpu_seconds().unwrap() < 5.0);
    assert_eq!(process.kill9().unwrap().signal(), Some(9));
    assert_eq!(process.stdout(), "tester\nlistening on http://127.0.0.1:4321\n");
}

#[test]
fn says_what_a_process_that_failed_wrote() {
    let error = shell("echo no such port >&2; exit 3").unwrap_err();
    assert!(error.to_string().contains("exit status: 3"), "{error}");
    assert!(error.to_string().contains("no such port"), "{error}");
}

#[test]
fn gives_up_on_a_process_that_stays_silent() {
    let silent = PierProcess::start_within(Path::new("/bin/sleep"), ["60"], [], Duration::from_millis(50));
    assert_eq!(silent.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn terminates_gracefully_and_bounds_the_wait() {
    let ready = "echo listening on http://127.0.0.1:1; while :; do sleep 0.01; done";
    let mut process = shell(&format!("trap 'exit 7' TERM; {ready}")).unwrap();
    assert_eq!(process.terminate(LIMIT).unwrap().code(), Some(7));
    let mut deaf = shell(&format!("trap '' TERM; {ready}")).unwrap();
    assert_eq!(deaf.terminate(Duration::from_millis(50)).unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn kills_grandchildren_when_dropped() {
    let process = shell("sleep 60 & echo $!; echo listening on http://127.0.0.1:1; wait").unwrap();
    let grandchild: i32 = process.stdout().lines().next().unwrap().parse().unwrap();
    let stat = format!("/proc/{grandchild}/stat");
    assert!(Path::new(&stat).exists());
    drop(process);
    // Whoever inherits the dead process may not have reaped it yet: gone or a zombie.
    let deadline = std::time::Instant::now() + LIMIT;
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
        assert!(std::time::Instant::now() < deadline, "the grandchild lives");
        std::thread::yield_now();
    }
}

#[test]
fn a_small_disk_fills_and_empties() {
    let Some(disk) = or_skip(SmallDisk::mount(1 << 20)) else { return };
    assert_eq!(disk.free().unwrap(), 1 << 20);
    disk.fill_leaving(8192).unwrap();
    assert_eq!(disk.free().unwrap(), 8192);
    let full = std::fs::write(disk.path().join("a"), [1; 12288]).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    let held = std::fs::File::open(disk.path().join(".ballast")).unwrap();
    disk.free_all().unwrap();
    std::fs::write(disk.path().join("a"), [1; 12288]).unwrap();
    drop(held);
    let path = disk.path().to_owned();
    drop(disk);
    assert!(!path.exists());
}

#[test]
fn a_skip_is_refused_only_when_the_variable_is_one() {
    assert_eq!(Skips::from_value(None), Skips::Allowed);
    assert_eq!(Skips::from_value(Some("0")), Skips::Allowed);
    assert_eq!(Skips::from_value(Some("1")), Skips::Refused);
    assert!(std::panic::catch_unwind(|| skip(Skips::Refused, "nothing")).is_err());
}

#[test]
fn what_is_there_and_fails_is_no_reason_to_skip() {
    let missing = engine::Error::Missing { program: "skopeo", reason: "it is not installed".to_owned() };
    let slow = engine::Error::NotReady { program: "dockerd", reason: "slow".to_owned(), log: String::new() };
    assert!(missing.is_unmet() && !slow.is_unmet());
    for kind in [ErrorKind::PermissionDenied, ErrorKind::NotFound, ErrorKind::Unsupported] {
        assert!(std::io::Error::from(kind).is_unmet(), "{kind}");
    }
    for kind in [ErrorKind::TimedOut, ErrorKind::StorageFull, ErrorKind::InvalidInput] {
        assert!(!std::io::Error::from(kind).is_unmet(), "{kind}");
    }
    let fails = std::panic::AssertUnwindSafe(|| or_skip(Err::<(), _>(slow)));
    assert!(std::panic::catch_unwind(fails).is_err());
}

/// Not a test of its own: [`a_skip_is_seen_in_a_run_that_passes`] runs it in a process of its own.
#[test]
fn skips_when_asked_to() {
    if std::env::var_os("PIER_TEST_SKIPS_WHEN_ASKED_TO").is_some() {
        let missing = engine::Error::Missing { program: "nobody", reason: "it never was".to_owned() };
        assert!(or_skip(Err::<(), _>(missing)).is_none());
    }
}

#[test]
fn a_skip_is_seen_in_a_run_that_passes_and_fails_where_skips_are_refused() {
    let run = |refused: bool| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["skips_when_asked_to", "--exact"]).env("PIER_TEST_SKIPS_WHEN_ASKED_TO", "1");
        command.env(REQUIRE_PEERS, if refused { "1" } else { "0" });
        command.output().unwrap()
    };
    let allowed = run(false);
    assert!(allowed.status.success());
    let said = String::from_utf8(allowed.stderr).unwrap();
    assert_eq!(said, "SKIPPED: skips_when_asked_to: `nobody` cannot run here: it never was\n");
    assert!(!run(true).status.success());
}
