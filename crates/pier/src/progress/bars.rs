//! Bars on a terminal: one for each blob in work, as far as the terminal has lines, and one for the whole.

use std::{collections::BTreeMap, env, sync::Arc};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pier_content::Event;
use pier_oci::Digest;

use super::{
    Telling,
    board::{Looked, Note},
    plain,
};
use crate::output;

/// Frames a second.
const RATE: u8 = 10;

/// Lines that are left to what was there before, and to the bar of the whole.
const OTHER_LINES: usize = 3;

/// Lines of a terminal that does not say how many it has.
const LINES: u16 = 24;

/// A drawing that is redrawn in place and gone in the end; what is worth keeping is printed above it.
pub(super) struct Bars {
    all: MultiProgress,
    whole: ProgressBar,
    blobs: BTreeMap<(Arc<str>, Digest), ProgressBar>,
    style: ProgressStyle,
}

impl Bars {
    pub(super) fn new() -> Self {
        let colour = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(RATE));
        let whole = all.add(ProgressBar::new(0).with_style(style("all bytes   ", colour)));
        Self { all, whole, blobs: BTreeMap::new(), style: style("{prefix:12}", colour) }
    }
}

impl Telling for Bars {
    fn told(&mut self, name: &str, note: &Note) {
        // Blobs that are done are seen by their bars; waits, and how it ended, are worth a line.
        let lasting = match note {
            Note::Event(event) => matches!(**event, Event::Waiting { .. } | Event::Discarded(_)),
            Note::Arrived { .. } => true,
        };
        if let Some(line) = plain::line(name, note).filter(|_| lasting) {
            // Not `println` of the bars: it fills lines with spaces instead of ending them.
            self.all.suspend(|| output::talk(&line));
        }
    }

    fn tick(&mut self, looked: &Looked) {
        if looked.planned == 0 && self.blobs.is_empty() {
            return;
        }
        let room = room();
        let mut kept = BTreeMap::new();
        for (name, digest, moving) in &looked.moving {
            let key = (Arc::clone(name), *digest);
            let bar = match self.blobs.remove(&key) {
                Some(bar) => bar,
                None if kept.len() + self.blobs.len() < room => {
                    let bar = ProgressBar::new(moving.size)
                        .with_style(self.style.clone())
                        .with_prefix(plain::short(digest))
                        .with_position(moving.done);
                    self.all.insert_before(&self.whole, bar)
                }
                None => continue,
            };
            bar.set_position(moving.done);
            kept.insert(key, bar);
        }
        for bar in std::mem::replace(&mut self.blobs, kept).into_values() {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
        self.whole.set_length(looked.planned);
        self.whole.set_position(looked.done);
    }

    fn end(&mut self) {
        for bar in std::mem::take(&mut self.blobs).into_values() {
            bar.finish_and_clear();
        }
        self.whole.finish_and_clear();
        // What cannot be cleared stays; nothing was promised.
        let _ = self.all.clear();
    }
}

fn style(title: &str, colour: bool) -> ProgressStyle {
    // The template is ours, and a test says that it is one.
    ProgressStyle::with_template(&template(title, colour)).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn template(title: &str, colour: bool) -> String {
    let bar = if colour { "{bar:24.cyan/blue}" } else { "{bar:24}" };
    let bytes = "{decimal_bytes:>10} / {decimal_total_bytes:<10} {decimal_bytes_per_sec:>12} {eta:>4}";
    format!("{title} {bar} {bytes}")
}

/// Lines that blobs may take. Asked each time: windows change.
fn room() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    let lines = size.map_or(0, |size| size.ws_row);
    let lines = if lines == 0 { LINES } else { lines };
    usize::from(lines).saturating_sub(OTHER_LINES).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_templates() {
        for colour in [true, false] {
            assert!(ProgressStyle::with_template(&template("{prefix:12}", colour)).is_ok());
        }
    }
}
