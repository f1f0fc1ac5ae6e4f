//! Ranges of bytes: of a blob on its way out (`Range`, RFC 9110 section 14) and in (`Content-Range` of a chunk).

use std::{fmt, ops::Range, str::FromStr};

/// What a `Range` header selects of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// All of it: the header says nothing that is understood here, and then it is to be ignored.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Nothing that is there: 416.
    Nothing,
}

/// What a `Range` header selects of `size` bytes.
///
/// Several ranges in one header select the whole: answering them in parts is optional and no client of registries
/// asks for it. A range that ends before it begins selects nothing, which is what the conformance suite wants.
pub fn selected(header: &str, size: u64) -> Selected {
    let Some(range) = header.trim().strip_prefix("bytes=") else { return Selected::Whole };
    let Some((first, last)) = range.split_once('-') else { return Selected::Whole };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.trim().is_empty() => first..size,
        (None, Some(suffix)) if first.trim().is_empty() => size.saturating_sub(suffix)..size,
        _ => return Selected::Whole,
    };
    if range.is_empty() { Selected::Nothing } else { Selected::Part(range) }
}

/// Where a chunk of an upload belongs: `Content-Range: <first>-<last>`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    first: u64,
    last: u64,
}

/// The text is not the range of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range of a chunk is written `<first>-<last>`, both included")]
pub struct ChunkError;

impl Chunk {
    /// A chunk of at least one byte. `None` when it holds none or ends beyond what can be counted.
    pub fn new(bytes: Range<u64>) -> Option<Self> {
        (!bytes.is_empty()).then(|| Self { first: bytes.start, last: bytes.end - 1 })
    }

    /// The bytes.
    pub fn bytes(&self) -> Range<u64> {
        self.first..self.last + 1
    }
}

impl fmt::Display for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for Chunk {
    type Err = ChunkError;

    /// Also takes the form of HTTP, `bytes <first>-<last>/<size>`, which some clients send.
    fn from_str(text: &str) -> Result<Self, ChunkError> {
        let text = text.trim();
        let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches([' ', '=']));
        let text = text.split_once('/').map_or(text, |(range, _)| range);
        let (first, last) = text.split_once('-').ok_or(ChunkError)?;
        let (first, last) = (number(first).ok_or(ChunkError)?, number(last).ok_or(ChunkError)?);
        if first > last || last == u64::MAX {
            return Err(ChunkError);
        }
        Ok(Self { first, last })
    }
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_selects_what_is_there() {
        use Selected::{Nothing, Part, Whole};
        for (header, expected) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-99", Part(0..100)),
            ("bytes=10-", Part(10..100)),
            ("bytes=90-2000", Part(90..100)),
            ("bytes=0-18446744073709551615", Part(0..100)),
            ("bytes=-5", Part(95..100)),
            ("bytes=-500", Part(0..100)),
            ("bytes=-0", Nothing),
            ("bytes=100-", Nothing),
            ("bytes=2000-5000", Nothing),
            ("bytes=50-0", Nothing),
            ("bytes=0-1,5-6", Whole),
            ("bytes=+1-5", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=99999999999999999999-", Whole),
            ("lines=0-5", Whole),
            ("", Whole),
        ] {
            assert_eq!(selected(header, 100), expected, "{header}");
        }
        assert_eq!(selected("bytes=0-", 0), Nothing);
        assert_eq!(selected("bytes=-1", 0), Nothing);
    }

    #[test]
    fn a_chunk_is_read_and_written() {
        for text in ["0-0", "5-9", "bytes 5-9/10", "bytes=5-9", "bytes 5-9/*"] {
            let chunk: Chunk = text.parse().unwrap();
            assert_eq!(chunk.to_string().parse(), Ok(chunk), "{text}");
        }
        assert_eq!("5-9".parse::<Chunk>().map(|chunk| chunk.bytes()), Ok(5..10));
        for text in ["", "-", "5", "9-5", "-5", "5-", "a-b", "0-18446744073709551615", "0--1", "+0-1"] {
            assert_eq!(text.parse::<Chunk>(), Err(ChunkError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_selected_lies_within(header in "bytes=[0-9]{0,20}-[0-9]{0,20}", size: u64) {
            if let Selected::Part(range) = selected(&header, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }

        #[test]
        fn no_header_panics(header: String, size: u64) {
            selected(&header, size);
            let _ = header.parse::<Chunk>();
        }

        #[test]
        fn chunks_are_read_as_they_are_written(start: u64, end: u64) {
            let chunk = Chunk::new(start..end);
            prop_assert_eq!(chunk.is_some(), start < end);
            if let Some(chunk) = chunk {
                prop_assert_eq!(chunk.bytes(), start..end);
                prop_assert_eq!(chunk.to_string().parse(), Ok(chunk));
            }
        }
    }
}
