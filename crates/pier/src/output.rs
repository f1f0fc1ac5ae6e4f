//! stdout is data, stderr is talk. Everything that is printed goes through here.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use serde::Serialize;

use crate::failure::Failure;

/// How data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON document.
    Json,
}

/// Where commands write.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Writes data: as JSON, or as the text that `text` makes of it.
    pub(crate) fn data<T: Serialize>(&self, data: &T, text: impl FnOnce(&T) -> String) {
        let mut written = match self.format {
            // These are plain structures of strings and numbers.
            Format::Json => serde_json::to_string_pretty(data).unwrap_or_default(),
            Format::Text => text(data),
        };
        if !written.is_empty() && !written.ends_with('\n') {
            written.push('\n');
        }
        print(&written);
    }

    /// Writes one line of data that is the same in both formats.
    pub(crate) fn line(&self, line: &str) {
        print(&format!("{line}\n"));
    }

    /// Says why a command failed, and what to do.
    pub(crate) fn failure(&self, failure: &Failure) -> ExitCode {
        let text = match self.format {
            Format::Text => {
                let hint = failure.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
                format!("error: {}\n{hint}", failure.message())
            }
            Format::Json => {
                let said = serde_json::json!({ "error": failure.message(), "hint": failure.hint() });
                format!("{said}\n")
            }
        };
        // Nobody is left to tell when even this cannot be written.
        let _ = io::stderr().write_all(text.as_bytes());
        failure.status.into()
    }
}

/// A reader that has gone, as in `pier images | head`, is no error.
fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Columns of text, aligned.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            format!("{}\n", cells.join("  ").trim_end())
        })
        .collect()
}

/// Bytes as people read them: `13.4 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut tenths = u128::from(count) * 10;
    let mut unit = 0;
    tenths = (tenths + 500) / 1000;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths = (tenths + 500) / 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_to_a_tenth() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (13_449_999, "13.4 MB"),
            (1_073_741_824, "1.1 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn columns_are_aligned_and_end_without_spaces() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(table(&[row(["A", "B"]), row(["long", ""])]), "A     B\nlong\n");
    }
}
