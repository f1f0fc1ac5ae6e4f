//! stdout is data, stderr is talk. Everything that is printed goes through here.

use std::{
    io::{self, ErrorKind, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use serde::Serialize;

use crate::failure::{Failure, Status};

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

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Writes data: as JSON, or as the text that `text` makes of it.
    pub(crate) fn data<T: Serialize>(
        &self,
        data: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let mut written = match self.format {
            Format::Json => serde_json::to_string_pretty(data).context("cannot write the result as JSON")?,
            Format::Text => text(data),
        };
        if !written.is_empty() && !written.ends_with('\n') {
            written.push('\n');
        }
        write(written.as_bytes())
    }

    /// Whether data is JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// How a command ends that tried several things: with the first failure, after saying the others.
    pub(crate) fn first_failure(&self, failures: Vec<Failure>) -> Result<Status, Failure> {
        let mut failures = failures.into_iter();
        let Some(first) = failures.next() else { return Ok(Status::Done) };
        for failure in failures {
            self.failure(&failure);
        }
        Err(first)
    }

    /// Says why a command failed, and what to do.
    pub(crate) fn failure(&self, failure: &Failure) -> ExitCode {
        let text = match self.format {
            Format::Text => {
                let hint = failure.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
                format!("error: {}\n{hint}", failure.message())
            }
            Format::Json => {
                let said = serde_json::json!({
                    "error": failure.message(),
                    "hint": failure.hint(),
                    "status": failure.status.code(),
                });
                format!("{said}\n")
            }
        };
        // Nobody is left to tell when even this cannot be written.
        let _ = io::stderr().write_all(text.as_bytes());
        failure.status.into()
    }
}

/// Writes one line of data that is the same in both formats.
pub(crate) fn line(line: &str) -> Result<(), Failure> {
    write(format!("{line}\n").as_bytes())
}

/// Writes bytes as they are: what they hash to is what a reader of standard output hashes.
pub(crate) fn exactly(bytes: &[u8]) -> Result<(), Failure> {
    write(bytes)
}

/// Tells people something beside the data.
pub(crate) fn note(note: &str) {
    // Nobody is left to tell when even this cannot be written.
    let _ = writeln!(io::stderr(), "{note}");
}

/// Writes one line of talk.
pub(crate) fn talk(line: &str) {
    // Nobody is left to tell when even this cannot be written.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// A reader that has gone, as in `pier images | head`, is no error; a full disk is.
fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output").into())
        }
        _ => Ok(()),
    }
}

/// Columns of text, aligned.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut table = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        table.push_str(cells.join("  ").trim_end());
        table.push('\n');
    }
    table
}

/// `1 blob`, `2 blobs`.
pub(crate) fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Bytes as people read them: `13.4 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut unit = 0;
    let mut size = 1000_u128;
    loop {
        // From the bytes each time: what was rounded is not rounded again.
        let tenths = (u128::from(count) * 10 + size / 2) / size;
        if tenths < 10_000 || unit + 1 == UNITS.len() {
            return format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]);
        }
        unit += 1;
        size *= 1000;
    }
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
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
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
