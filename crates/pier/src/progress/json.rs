//! One JSON object a line, for programs: `docs/reference/progress.md`.

use std::{collections::BTreeMap, sync::Arc};

use pier_content::Event;
use pier_oci::Digest;
use serde_json::{Value, json};

use super::{
    Telling,
    board::{Looked, Note},
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
        if let Some(object) = object(name, note) {
            output::talk(&object.to_string());
        }
    }

    fn tick(&mut self, looked: &Looked) {
        let mut said = BTreeMap::new();
        for (name, digest, moving) in &looked.moving {
            let key = (Arc::clone(name), *digest);
            if self.said.get(&key) != Some(&moving.done) && moving.done > 0 {
                let object = json!({
                    "event": "advanced", "reference": &**name, "digest": digest,
                    "size": moving.size, "done": moving.done,
                });
                output::talk(&object.to_string());
            }
            said.insert(key, moving.done);
        }
        self.said = said;
    }

    fn end(&mut self) {}
}

fn object(reference: &str, note: &Note) -> Option<Value> {
    let event = match note {
        Note::Event(event) => event,
        Note::Arrived { digest, tally, elapsed } => {
            return Some(json!({
                "event": "arrived", "reference": reference, "digest": digest,
                "moved_bytes": tally.moved_bytes, "mounted_bytes": tally.mounted_bytes,
                "present_bytes": tally.present_bytes, "milliseconds": milliseconds(*elapsed),
            }));
        }
    };
    Some(match event {
        Event::Resolved { descriptor, .. } => json!({
            "event": "resolved", "reference": reference, "digest": descriptor.digest,
            "media_type": descriptor.media_type, "size": descriptor.size,
        }),
        Event::Planned { blobs, bytes } => {
            json!({ "event": "planned", "reference": reference, "blobs": blobs, "bytes": bytes })
        }
        Event::Present(blob) => {
            json!({ "event": "present", "reference": reference, "digest": blob.digest, "size": blob.size })
        }
        Event::Mounted { descriptor, from } => json!({
            "event": "mounted", "reference": reference, "digest": descriptor.digest,
            "size": descriptor.size, "from": from.to_string(),
        }),
        Event::Started { descriptor, done } => json!({
            "event": "started", "reference": reference, "digest": descriptor.digest,
            "size": descriptor.size, "done": done,
        }),
        Event::Discarded(digest) => {
            json!({ "event": "discarded", "reference": reference, "digest": digest })
        }
        Event::Committed(blob) => {
            json!({ "event": "committed", "reference": reference, "digest": blob.digest, "size": blob.size })
        }
        Event::Stored(manifest) => json!({
            "event": "stored", "reference": reference, "digest": manifest.digest,
            "media_type": manifest.media_type, "size": manifest.size,
        }),
        Event::Waiting { origin, delay, reason } => json!({
            "event": "waiting", "reference": reference, "origin": origin,
            "milliseconds": milliseconds(*delay), "reason": reason,
        }),
        // An event that is newer than this page.
        _ => return None,
    })
}

/// As a number that every reader of JSON can hold.
fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
