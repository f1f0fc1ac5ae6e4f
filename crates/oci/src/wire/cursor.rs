//! Where the next page of a list goes on: opaque to clients, which only follow links.
//!
//! A cursor names a position and no right: it is good only for the list that it is sent to, so one that somebody made
//! up leads to another page of what they may read anyway. What it is opaque for is that clients do not come to depend on
//! how pages are cut.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Bytes of the longest item that a page can end with: a repository's name is at most 255, a digest at most 135.
const MAX_BYTES: usize = 256;

/// A kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Tags of a repository.
    Tags,
    /// Referrers of a subject that name it.
    Referrers,
    /// Referrers of a subject that a client keeps under a tag. They come behind those that name it.
    KeptReferrers,
    /// Repositories.
    Repositories,
}

/// The item that a page ended with, and of which kind of list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    listing: Listing,
    last: String,
}

/// The text is no cursor of this server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor that was given out: begin with the first page")]
pub struct CursorError;

impl Cursor {
    /// Behind an item.
    pub fn new(listing: Listing, last: impl Into<String>) -> Self {
        Self { listing, last: last.into() }
    }

    /// The kind of list.
    pub fn listing(&self) -> Listing {
        self.listing
    }

    /// The item, if the cursor is of that kind of list.
    ///
    /// # Errors
    /// When it is of another.
    pub fn of(self, listing: Listing) -> Result<String, CursorError> {
        if self.listing == listing { Ok(self.last) } else { Err(CursorError) }
    }
}

impl Listing {
    const ALL: [Self; 4] = [Self::Tags, Self::Referrers, Self::KeptReferrers, Self::Repositories];

    fn letter(self) -> char {
        match self {
            Self::Tags => 't',
            Self::Referrers => 'r',
            Self::KeptReferrers => 'k',
            Self::Repositories => 'c',
        }
    }
}

/// The text that goes into a link: nothing in it has to be encoded.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(format!("{}{}", self.listing.letter(), self.last)))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        // Four characters are three bytes.
        if text.len() > MAX_BYTES.div_ceil(3) * 4 {
            return Err(CursorError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let text = String::from_utf8(bytes).map_err(|_| CursorError)?;
        let listing = Listing::ALL.into_iter().find(|listing| text.starts_with(listing.letter()));
        let listing = listing.ok_or(CursorError)?;
        Ok(Self { listing, last: text[1..].to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_own_kind_of_list() {
        let cursor = Cursor::new(Listing::Tags, "v1");
        let text = cursor.to_string();
        assert_eq!(text, "dHYx");
        assert_eq!(text.parse(), Ok(cursor.clone()));
        assert_eq!(cursor.clone().of(Listing::Tags).as_deref(), Ok("v1"));
        assert_eq!(cursor.of(Listing::Referrers), Err(CursorError));
    }

    #[test]
    fn what_was_not_given_out_is_refused() {
        for text in ["", "v1", "dHYx=", "dHY x", "eHYx", "_w", "====", &"d".repeat(4000)] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(last in "[ -~]{0,200}", kind in 0..4_usize) {
            let cursor = Cursor::new(Listing::ALL[kind], last);
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn no_text_panics(text: String) {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
