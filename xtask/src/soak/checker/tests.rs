//! Histories that have an order, and each kind that has none: stale reads, lost updates, resurrections, phantoms, hasty collection.

use super::*;
use crate::soak::model::{Lease, Step};

const LEASE: u64 = 1000;

fn tag() -> Key {
    Key::Tag { repository: "app".to_owned(), tag: "1".to_owned() }
}

fn manifest() -> Key {
    Key::Manifest { repository: "app".to_owned(), digest: "sha256:…".to_owned() }
}

fn blob() -> Key {
    Key::Blob { repository: "app".to_owned(), digest: "sha256:…".to_owned() }
}

fn answered(start: u64, end: u64, step: Step) -> Event {
    Event { worker: 0, start, end, outcome: Outcome::Answered, line: "".into(), step }
}

fn lost(start: u64, end: u64, step: Step) -> Event {
    Event { outcome: Outcome::Lost, ..answered(start, end, step) }
}

#[track_caller]
fn explained(key: &Key, events: &[Event]) {
    assert_eq!(check(key, events, LEASE), Ok(()));
}

#[track_caller]
fn refused(key: &Key, events: &[Event], at: usize) {
    assert_eq!(check(key, events, LEASE).map_err(|violation| violation.at), Err(at));
}

#[test]
fn one_after_the_other() {
    let events = [
        answered(0, 1, Step::TagIs(None)),
        answered(2, 3, Step::SetTag(1)),
        answered(4, 5, Step::TagIs(Some(1))),
        answered(6, 7, Step::RemoveTag),
        answered(8, 9, Step::TagListed(false)),
    ];
    explained(&tag(), &events);
}

#[test]
fn a_read_beside_a_write_may_see_either() {
    for seen in [None, Some(1)] {
        explained(&tag(), &[answered(0, 10, Step::SetTag(1)), answered(2, 3, Step::TagIs(seen))]);
    }
}

#[test]
fn reads_beside_a_write_do_not_go_back() {
    let events = [
        answered(0, 10, Step::SetTag(1)),
        answered(2, 3, Step::TagIs(Some(1))),
        answered(4, 5, Step::TagIs(None)),
    ];
    refused(&tag(), &events, 2);
}

#[test]
fn a_stale_read() {
    let events = [
        answered(0, 1, Step::SetTag(1)),
        answered(2, 3, Step::SetTag(2)),
        answered(4, 5, Step::TagIs(Some(1))),
    ];
    refused(&tag(), &events, 2);
}

#[test]
fn a_lost_update() {
    // Both were acknowledged before the read began; one of them has to have been the last.
    let events = [
        answered(0, 9, Step::SetTag(1)),
        answered(1, 8, Step::SetTag(2)),
        answered(10, 11, Step::TagIs(None)),
    ];
    refused(&tag(), &events, 2);
    let last = answered(10, 11, Step::TagIs(Some(1)));
    explained(&tag(), &[events[0].clone(), events[1].clone(), last]);
}

#[test]
fn one_of_two_who_compare_and_set_is_refused() {
    let swap = |start, end, to| answered(start, end, Step::SwapTag { expected: None, to });
    let refusal = |expected| answered(2, 8, Step::RefusedSwap { expected });
    refused(&tag(), &[swap(0, 9, 1), swap(1, 8, 2)], 0);
    explained(&tag(), &[swap(0, 9, 1), refusal(None), answered(10, 11, Step::TagIs(Some(1)))]);
    // It was refused, and nobody had moved the tag.
    refused(&tag(), &[refusal(None)], 0);
    refused(&tag(), &[answered(0, 1, Step::SetTag(1)), refusal(Some(1))], 1);
}

#[test]
fn a_resurrection() {
    let events = [
        answered(0, 1, Step::Add(Lease::Whole)),
        answered(2, 3, Step::Remove),
        answered(4, 5, Step::Shown(false)),
        answered(6, 7, Step::Shown(true)),
    ];
    refused(&manifest(), &events, 3);
    refused(&blob(), &events, 3);
}

#[test]
fn a_phantom() {
    refused(&tag(), &[answered(0, 1, Step::TagIs(Some(3)))], 0);
    refused(&manifest(), &[answered(0, 1, Step::Shown(true))], 0);
    refused(&blob(), &[answered(0, 1, Step::Renew)], 0);
}

#[test]
fn one_thing_is_not_deleted_twice() {
    let events =
        [answered(0, 1, Step::Add(Lease::Whole)), answered(2, 9, Step::Remove), answered(3, 8, Step::Remove)];
    refused(&manifest(), &events, 1);
}

#[test]
fn what_was_lost_has_happened_or_has_not_and_stays_so() {
    let write = lost(0, 10, Step::SetTag(1));
    for seen in [None, Some(1)] {
        explained(&tag(), &[write.clone(), answered(11, 12, Step::TagIs(seen))]);
    }
    let changed = [
        write.clone(),
        answered(11, 12, Step::TagIs(None)),
        // The server that was to do it is gone.
        answered(13, 14, Step::TagIs(Some(1))),
    ];
    refused(&tag(), &changed, 2);
    refused(&tag(), &[write, answered(11, 12, Step::TagIs(Some(1))), answered(13, 14, Step::TagIs(None))], 2);
}

#[test]
fn deleting_a_manifest_takes_its_tags_and_no_others() {
    let set = answered(0, 1, Step::SetTag(1));
    explained(
        &tag(),
        &[set.clone(), answered(2, 3, Step::RemoveTagOf(1)), answered(4, 5, Step::TagIs(None))],
    );
    explained(
        &tag(),
        &[set.clone(), answered(2, 3, Step::RemoveTagOf(2)), answered(4, 5, Step::TagIs(Some(1)))],
    );
    refused(&tag(), &[set, answered(2, 3, Step::RemoveTagOf(1)), answered(4, 5, Step::TagIs(Some(1)))], 2);
}

#[test]
fn a_blob_may_be_collected_when_its_lease_is_over_and_not_before() {
    let pushed = answered(0, 10, Step::Add(Lease::Whole));
    refused(&blob(), &[pushed.clone(), answered(900, 999, Step::Shown(false))], 1);
    explained(&blob(), &[pushed.clone(), answered(900, 1000, Step::Shown(false))]);
    explained(&blob(), &[pushed.clone(), answered(5000, 5001, Step::Shown(true))]);
    // A HEAD keeps it for half a lease more.
    let renewed = answered(800, 801, Step::Renew);
    refused(&blob(), &[pushed.clone(), renewed.clone(), answered(1200, 1299, Step::Shown(false))], 2);
    explained(&blob(), &[pushed.clone(), renewed, answered(1300, 1301, Step::Shown(false))]);
    // Once it was seen to be gone it does not come back.
    let gone = answered(1500, 1501, Step::Shown(false));
    refused(&blob(), &[pushed, gone, answered(1600, 1601, Step::Shown(true))], 2);
}

#[test]
fn a_blob_that_a_manifest_names_is_not_collected() {
    let named = [answered(0, 1, Step::Add(Lease::Whole)), answered(2, 3, Step::Name(5))];
    let with = |more: &[Event]| named.iter().chain(more).cloned().collect::<Vec<_>>();
    refused(&blob(), &with(&[answered(5000, 5001, Step::Shown(false))]), 2);
    refused(&blob(), &with(&[answered(4, 5, Step::Remove)]), 2);
    explained(&blob(), &with(&[answered(4, 5, Step::RefusedAsNamed)]));
    let unnamed = answered(6, 7, Step::Unname(5));
    explained(&blob(), &with(&[unnamed.clone(), answered(5000, 5001, Step::Shown(false))]));
    refused(&blob(), &with(&[unnamed.clone(), answered(8, 9, Step::Shown(false))]), 3);
    refused(&blob(), &with(&[unnamed, answered(8, 9, Step::RefusedAsNamed)]), 3);
}

#[test]
fn the_report_shows_the_key_and_what_led_there() {
    let events = [answered(0, 1_000_000, Step::SetTag(1)), answered(2_000_000, 3_500_000, Step::TagIs(None))];
    let violation = check(&tag(), &events, LEASE).unwrap_err();
    let text = report(&tag(), &events, &violation);
    assert!(text.contains(r#"Tag { repository: "app", tag: "1" }"#), "{text}");
    assert!(text.contains("=>          2.000          3.500  worker 0  Answered TagIs(None)"), "{text}");
    assert!(text.contains("it may have been: [Tag(Some(1))]"), "{text}");
}
