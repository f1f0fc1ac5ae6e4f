//! Processes that want the same layer, of which one dies.

use std::process::Stdio;

use pier_testkit::faults::{Fault, Kind, Script, When};

use crate::pier::{Store, command};
use crate::remote::{Remote, image_of, layer, wait};

#[test]
fn s25_who_waits_for_a_layer_takes_over_from_a_process_that_is_killed() {
    const SIZE: usize = 24 << 20;
    /// What the first one gets before it stands still.
    const ARRIVED: u64 = 20 << 20;
    /// What its death may cost.
    const LOST: u64 = 8 << 20;

    let image = image_of(1, SIZE);
    let digest = layer(&image).digest;
    let stall = Fault::Stall { after: ARRIVED };
    let script = Script::new().rule(When::get(Kind::Blob).digest(digest).once(), stall);
    let (store, remote) = (Store::empty(), Remote::scripted(script));
    let name = remote.push(&image, "app:1");
    let start = || {
        command(&["pull", "--progress", "none", &name])
            .env("PIER_DATA", store.data())
            .env("PIER_LOG", "off")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut first = start();
    let of_layer = |seen: &&pier_testkit::faults::Seen| seen.digest == Some(digest);
    wait(
        remote.proxy.wait_for(|seen| {
            seen.iter().filter(of_layer).map(|seen| seen.downloaded).sum::<u64>() >= ARRIVED
        }),
    )
    .unwrap();
    let second = start();
    // It has read what the tag names, and what is left to be done is the layer.
    let asked = |kind| {
        move |seen: &[pier_testkit::faults::Seen]| {
            seen.iter().filter(|seen| seen.kind == kind && seen.ended).count()
        }
    };
    let manifests = asked(Kind::Manifest);
    wait(remote.proxy.wait_for(|seen| manifests(seen) >= 2)).unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    let output = second.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let again = remote.fetched(layer(&image)) - layer(&image).size;
    assert!(again <= LOST, "{again} bytes were fetched again");
    assert_eq!(store.data_of(&["fsck"]).lines().count(), 1);
}
