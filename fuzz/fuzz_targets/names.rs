//! What things are called: every name that is accepted reads the same when it is written again, and never holds what
//! would lead elsewhere as a path.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use pier_oci::{Digest, MediaType, Platform, Reference, Registry, RepositoryName, SessionId, Tag};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    again::<Reference>(text);
    again::<Registry>(text);
    again::<Platform>(text);
    again::<MediaType>(text);
    for written in
        [again::<Digest>(text), again::<RepositoryName>(text), again::<Tag>(text), again::<SessionId>(text)]
            .into_iter()
            .flatten()
    {
        let leads_elsewhere = |part: &str| part.is_empty() || part == "." || part == "..";
        assert!(!written.split('/').any(leads_elsewhere), "{written}");
        assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "{written:?}");
    }
});

/// What was accepted, as it is written; reading that gives the same again.
fn again<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Option<String>
where
    T::Err: Debug,
{
    let value: T = text.parse().ok()?;
    let written = value.to_string();
    match written.parse::<T>() {
        Ok(read) => assert_eq!(read, value, "{text:?} was written as {written:?}"),
        Err(error) => panic!("{text:?} was written as {written:?}, which is refused: {error:?}"),
    }
    Some(written)
}
