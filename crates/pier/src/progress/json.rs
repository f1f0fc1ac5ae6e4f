//! One JSON object a line, for programs: `docs/reference/progress.md`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pier_content::Event;
use pier_oci::{Descriptor, Digest, MediaType};
use serde::Serialize;

use super::{
    Telling,
    board::{Looked, Moving, Note},
};
use crate::output;

/// Every event as it happens, and how far blobs are, at most once for each blob between two looks.
#[derive(Debug, Default)]
pub(super) struct Json {
    /// What was said of the blobs that are under way.
    said: BTreeMap<(Arc<str>, Digest), u64>,
}

impl Telling for Json {
    fn told(&mut self, name: &str, note: &Note) {
        if let Some(line) = line(name, note) {
            line.write();
        }
    }

    fn tick(&mut self, looked: &Looked) {
        let mut said = BTreeMap::new();
        for (name, digest, moving) in &looked.moving {
            let key = (Arc::clone(name), *digest);
            if self.said.get(&key) != Some(&moving.done) && moving.done > 0 {
                let Moving { size, done, .. } = *moving;
                Line::Advanced { reference: name, digest: *digest, size, done }.write();
            }
            said.insert(key, moving.done);
        }
        self.said = said;
    }

    fn end(&mut self) {}
}

/// One line. Names of fields are promised; new ones may come.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    Resolved {
        reference: &'a str,
        digest: Digest,
        media_type: &'a MediaType,
        size: u64,
    },
    Planned {
        reference: &'a str,
        blobs: u64,
        bytes: u64,
    },
    Present {
        reference: &'a str,
        digest: Digest,
        size: u64,
    },
    Mounted {
        reference: &'a str,
        digest: Digest,
        size: u64,
        from: String,
    },
    Started {
        reference: &'a str,
        digest: Digest,
        size: u64,
        done: u64,
    },
    Advanced {
        reference: &'a str,
        digest: Digest,
        size: u64,
        done: u64,
    },
    Discarded {
        reference: &'a str,
        digest: Digest,
    },
    Committed {
        reference: &'a str,
        digest: Digest,
        size: u64,
    },
    Stored {
        reference: &'a str,
        digest: Digest,
        media_type: &'a MediaType,
        size: u64,
    },
    Waiting {
        reference: &'a str,
        origin: &'a str,
        milliseconds: u64,
        reason: &'a str,
    },
    Arrived {
        reference: &'a str,
        digest: Digest,
        moved_bytes: u64,
        mounted_bytes: u64,
        present_bytes: u64,
        milliseconds: u64,
    },
}

impl Line<'_> {
    fn write(&self) {
        // Strings and numbers alone, which can always be written.
        if let Ok(line) = serde_json::to_string(self) {
            output::talk(&line);
        }
    }
}

fn line<'a>(reference: &'a str, note: &'a Note) -> Option<Line<'a>> {
    let event = match note {
        Note::Event(event) => event,
        Note::Arrived { digest, tally, elapsed } => {
            return Some(Line::Arrived {
                reference,
                digest: *digest,
                moved_bytes: tally.moved_bytes,
                mounted_bytes: tally.mounted_bytes,
                present_bytes: tally.present_bytes,
                milliseconds: milliseconds(*elapsed),
            });
        }
    };
    Some(match &**event {
        Event::Resolved { descriptor: Descriptor { digest, media_type, size, .. }, .. } => {
            Line::Resolved { reference, digest: *digest, media_type, size: *size }
        }
        Event::Planned { blobs, bytes } => Line::Planned { reference, blobs: *blobs, bytes: *bytes },
        Event::Present(Descriptor { digest, size, .. }) => {
            Line::Present { reference, digest: *digest, size: *size }
        }
        Event::Mounted { descriptor: Descriptor { digest, size, .. }, from } => {
            Line::Mounted { reference, digest: *digest, size: *size, from: from.to_string() }
        }
        Event::Started { descriptor: Descriptor { digest, size, .. }, done } => {
            Line::Started { reference, digest: *digest, size: *size, done: *done }
        }
        Event::Discarded(digest) => Line::Discarded { reference, digest: *digest },
        Event::Committed(Descriptor { digest, size, .. }) => {
            Line::Committed { reference, digest: *digest, size: *size }
        }
        Event::Stored(Descriptor { digest, media_type, size, .. }) => {
            Line::Stored { reference, digest: *digest, media_type, size: *size }
        }
        Event::Waiting { origin, delay, reason } => {
            Line::Waiting { reference, origin, milliseconds: milliseconds(*delay), reason }
        }
        // Those that are seen by looking, and those that are newer than the page about them.
        _ => return None,
    })
}

/// As a number that every reader of JSON can hold.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
