//! How much of a blob goes in one request, as a registry wishes it when an upload begins.

use crate::transport::Response;

/// The shortest chunk that a registry takes, but for the last (specification, "Pushing a blob in chunks").
const LEAST: &str = "oci-chunk-min-length";

/// The longest one. Not of the specification, but said by some.
const MOST: &str = "oci-chunk-max-length";

/// A registry's bounds for chunks; without any, the whole is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunks {
    least: Option<u64>,
    most: Option<u64>,
}

impl Chunks {
    /// What the answer says that began an upload. What is no number, or zero, is passed over.
    pub(crate) fn of(answer: &Response) -> Self {
        Self::read(|name| answer.header(name))
    }

    fn read<'a>(header: impl Fn(&'static str) -> Option<&'a str>) -> Self {
        let bytes = |name| header(name)?.trim().parse().ok().filter(|&bytes: &u64| bytes > 0);
        Self { least: bytes(LEAST), most: bytes(MOST) }
    }

    /// Whether the registry has said anything.
    pub(crate) fn are_said(self) -> bool {
        self.least.is_some() || self.most.is_some()
    }

    /// Bytes of the next chunk where `largest` may be sent in one request and `left` are still to be sent. More than the most is refused for
    /// certain, so that counts where a registry contradicts itself.
    pub(crate) fn size(self, largest: u64, left: u64) -> u64 {
        let most = self.most.unwrap_or(u64::MAX);
        largest.max(self.least.unwrap_or(1)).min(most).min(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: u64 = u64::MAX;

    #[test]
    fn chunks_are_as_large_as_the_registry_lets_them_be() {
        for (least, most, largest, left, expected) in [
            (None, None, ANY, 1000, 1000),
            (None, None, 300, 1000, 300),
            (Some(100), None, ANY, 1000, 1000),
            (Some(500), None, 300, 1000, 500),
            (Some(100), None, 300, 1000, 300),
            (None, Some(400), ANY, 1000, 400),
            (None, Some(400), 300, 1000, 300),
            (Some(100), Some(400), ANY, 1000, 400),
            (Some(400), Some(400), ANY, 1000, 400),
            (Some(500), Some(400), ANY, 1000, 400),
            (Some(5000), None, ANY, 1000, 1000),
            (Some(5000), None, 300, 1000, 1000),
            (None, Some(5000), ANY, 1000, 1000),
            // The last one is what is left.
            (Some(100), Some(400), ANY, 50, 50),
        ] {
            let size = Chunks { least, most }.size(largest, left);
            assert_eq!(size, expected, "{least:?} {most:?} {largest} {left}");
        }
    }

    #[test]
    fn bounds_that_are_none_are_passed_over() {
        for (text, expected) in
            [("100", Some(100)), (" 7 ", Some(7)), ("0", None), ("-1", None), ("5 MB", None), ("", None)]
        {
            let chunks = Chunks::read(|name| (name == MOST).then_some(text));
            assert_eq!(chunks, Chunks { least: None, most: expected }, "{text}");
        }
        assert_eq!(Chunks::read(|_| None), Chunks::default());
    }
}
