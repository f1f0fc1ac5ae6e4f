//! Lines for people without a terminal: logs of CI, files.

use std::time::Duration;

use pier_content::Event;
use pier_oci::{Descriptor, Digest};

use super::{
    Telling,
    board::{Looked, Note, Tally},
};
use crate::output;

/// Hexadecimal digits of a digest that are shown.
const SHORT: usize = 12;

/// A line for each blob, and one for the whole.
#[derive(Debug)]
pub(super) struct Plain;

impl Telling for Plain {
    fn told(&mut self, name: &str, note: &Note) {
        if let Some(line) = line(name, note) {
            output::talk(&line);
        }
    }

    fn tick(&mut self, _: &Looked) {}

    fn end(&mut self) {}
}

/// What is said about a note, if anything is.
pub(super) fn line(name: &str, note: &Note) -> Option<String> {
    let said = match note {
        Note::Event(event) => happened(event)?,
        Note::Arrived { tally, elapsed, .. } => summary(tally, *elapsed),
    };
    Some(format!("{name}: {said}"))
}

fn happened(event: &Event) -> Option<String> {
    match event {
        Event::Committed(blob) => Some(format!("{} done", about(blob))),
        Event::Present(blob) => Some(format!("{} is there", about(blob))),
        Event::Mounted { descriptor, from } => Some(format!("{} mounted from {from}", about(descriptor))),
        Event::Discarded(digest) => Some(format!("{} was wrong and is fetched anew", short(digest))),
        Event::Waiting { delay, reason, .. } => Some(format!("waiting {}: {reason}", seconds(*delay))),
        _ => None,
    }
}

/// `2 blobs (13.4 MB) in 1.2 s`, and what did not have to move.
fn summary(tally: &Tally, elapsed: Duration) -> String {
    let mut parts = Vec::new();
    if tally.moved_blobs > 0 {
        let (blobs, bytes) = (output::counted(tally.moved_blobs, "blob"), output::bytes(tally.moved_bytes));
        parts.push(format!("{blobs} ({bytes}) in {}", seconds(elapsed)));
    }
    if tally.mounted_blobs > 0 {
        parts.push(format!("{} mounted", output::bytes(tally.mounted_bytes)));
    }
    if tally.present_bytes > 0 {
        parts.push(format!("{} there before", output::bytes(tally.present_bytes)));
    }
    if parts.is_empty() { "nothing had to move".to_owned() } else { parts.join(", ") }
}

fn about(blob: &Descriptor) -> String {
    format!("{} ({})", short(&blob.digest), output::bytes(blob.size))
}

pub(super) fn short(digest: &Digest) -> String {
    let hex = digest.hex();
    hex[..SHORT.min(hex.len())].to_owned()
}

/// With one digit behind the point.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use pier_oci::MediaType;

    use super::*;

    #[track_caller]
    fn check(note: &Note, expected: &str) {
        assert_eq!(line("app:1", note).as_deref(), Some(expected));
    }

    #[track_caller]
    fn check_event(event: Event, expected: &str) {
        check(&Note::Event(Box::new(event)), expected);
    }

    #[test]
    fn each_line_says_what_happened_to_what() {
        let blob = Descriptor::new(MediaType::OCI_LAYER, Digest::sha256(b""), 13_449_999);
        let digest = blob.digest;
        check_event(Event::Committed(blob.clone()), "app:1: e3b0c44298fc (13.4 MB) done");
        check_event(Event::Present(blob), "app:1: e3b0c44298fc (13.4 MB) is there");
        check_event(
            Event::Waiting {
                origin: "r.test".to_owned(),
                delay: Duration::from_secs(2),
                reason: "r.test is busy".to_owned(),
            },
            "app:1: waiting 2.0 s: r.test is busy",
        );
        let elapsed = Duration::from_millis(1234);
        let tally = Tally {
            moved_blobs: 2,
            moved_bytes: 1000,
            mounted_blobs: 1,
            mounted_bytes: 2000,
            present_bytes: 3000,
        };
        check(
            &Note::Arrived { digest, tally, elapsed },
            "app:1: 2 blobs (1.0 kB) in 1.2 s, 2.0 kB mounted, 3.0 kB there before",
        );
        check(&Note::Arrived { digest, tally: Tally::default(), elapsed }, "app:1: nothing had to move");
    }
}
