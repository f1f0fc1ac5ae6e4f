//! Query strings.

use std::{borrow::Cow, fmt::Write as _};

/// The parameters of a request, decoded.
///
/// `+` stands for itself: no name, digest or media type holds a space, while media types such as
/// `application/vnd.example+json` do hold a plus that people forget to encode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the `?`. Parameters that are not valid UTF-8 behind their encoding are left out.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent_decoded(name)?.into_owned(), percent_decoded(value)?.into_owned()))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// The text behind a percent-encoding, or `None` when it is not valid.
pub fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            decoded.push(u8::try_from(digit()? << 4 | digit()?).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// A text as the value of a parameter: everything but unreserved characters is encoded.
pub fn percent_encoded(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if text.bytes().all(is_plain) {
        return text.into();
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_decoded_in_order() {
        let query = Query::parse("tag=a&tag=b%2Fc&&n=1&flag&type=x/y+json&bad=%ff&cut=%4");
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b/c"]);
        assert_eq!(query.first("n"), Some("1"));
        assert_eq!(query.first("flag"), Some(""));
        assert_eq!(query.first("type"), Some("x/y+json"));
        assert_eq!((query.first("bad"), query.first("cut"), query.first("none")), (None, None, None));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text: String) {
            let encoded = percent_encoded(&text);
            let decoded = percent_decoded(&encoded);
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
        }

        #[test]
        fn no_query_panics(text: String) {
            Query::parse(&text);
        }
    }
}
