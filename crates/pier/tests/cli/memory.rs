//! What a layer costs in memory, however large it is: a window, and not the layer.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use pier_testkit::mock::HugeBlob;

use crate::pier::{Store, command};
use crate::registry::Registry;
use crate::remote::wait;

const GIB: u64 = 1 << 30;

/// What `pier` may have resident at most, in bytes.
const LIMIT: u64 = 100 << 20;

/// Runs `pier` to its end; gives the most that it had resident, in bytes, as of the last thing that it told.
#[track_caller]
fn peak(store: &Store, arguments: &[&str]) -> u64 {
    let mut child = command(&[arguments, &["--progress", "json"]].concat())
        .env("PIER_DATA", store.data())
        .env("PIER_LOG", "off")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut most, mut readings, mut last) = (0, 0, String::new());
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        last = line.unwrap();
        if let Some(resident) = resident(&child) {
            most = most.max(resident);
            readings += 1;
        }
    }
    assert!(child.wait().unwrap().success(), "{last}");
    assert!(readings > 1, "it ended before it was looked at");
    most
}

/// `VmHWM`, which only grows; `None` of a process that has ended.
fn resident(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[test]
fn a_layer_of_4_gib_is_pulled_in_less_than_100_mib() {
    let store = Store::empty();
    let disk = rustix::fs::statvfs(store.data()).unwrap();
    // On a small disk a smaller layer, which is still many times the limit.
    let size = if disk.f_bavail * disk.f_frsize > 6 * GIB { 4 * GIB } else { GIB };
    let huge = wait(HugeBlob::start(size)).unwrap();
    let peak = peak(&store, &["pull", &huge.image_ref()]);
    assert!(peak < LIMIT, "{peak} bytes");
    let layer = store.blob(&huge.layer().to_string());
    assert_eq!(std::fs::metadata(layer).unwrap().len(), size);
    tell(size, peak);
}

#[test]
fn a_layer_of_1_gib_is_copied_between_registries_in_less_than_100_mib() {
    let (here, there) = (Store::empty(), Store::empty());
    let huge = wait(HugeBlob::start(GIB)).unwrap();
    let registry = Registry::start(&there);
    let target = format!("{}/huge:1", registry.address());
    let peak = peak(&here, &["copy", &huge.image_ref(), &target]);
    assert!(peak < LIMIT, "{peak} bytes");
    let layer = there.blob(&huge.layer().to_string());
    assert_eq!(std::fs::metadata(layer).unwrap().len(), GIB);
    tell(GIB, peak);
}

#[expect(
    clippy::print_stdout,
    reason = "how close it came is worth knowing when the limit is broken one day"
)]
fn tell(size: u64, peak: u64) {
    println!("a layer of {size} bytes took {peak} bytes of memory");
}
