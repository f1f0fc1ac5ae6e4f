//! What went wrong on the way, in the terms of the contract.

use std::{error::Error as StdError, fmt, io, time::Duration};

use pier_content::Error;

/// A failed exchange. URLs are left out of the message: a presigned one is a credential.
pub(crate) fn unreachable(origin: &str, operation: &'static str, error: reqwest::Error) -> Error {
    if let Some(reason) = untrusted(&error) {
        return Error::Untrusted { origin: origin.to_owned(), reason };
    }
    Error::Unavailable {
        origin: origin.to_owned(),
        operation,
        retry_after: None,
        source: Some(Box::new(error.without_url())),
    }
}

/// Nobody answered in the time that an answer may take.
#[derive(Debug)]
pub(super) struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it did not answer in time")
    }
}

impl StdError for NoAnswer {}

/// Nobody took a connection.
#[derive(Debug)]
pub(super) struct NoConnection(pub(super) io::Error);

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no connection")
    }
}

impl StdError for NoConnection {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

/// A body of which nothing came for so long.
#[derive(Debug)]
pub(super) struct Stalled(pub(super) Duration);

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing arrived for {} s", self.0.as_secs())
    }
}

impl StdError for Stalled {}

/// Whether a body fell silent.
pub(crate) fn is_stalled(error: &Error) -> bool {
    matches!(error, Error::Unavailable { source: Some(source), .. } if source.is::<Stalled>())
}

/// Whether there was nobody to talk to: no connection, or one on which nothing was said.
pub(crate) fn is_unanswered(error: &Error) -> bool {
    let Error::Unavailable { source: Some(source), .. } = error else { return false };
    chain(&**source).any(|cause| {
        cause.is::<NoAnswer>()
            || cause.is::<NoConnection>()
            || cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect)
    })
}

/// Why an address or a certificate was refused by us. Asking again would not change it.
fn untrusted(error: &reqwest::Error) -> Option<String> {
    chain(error).find_map(|cause| match cause.downcast_ref() {
        Some(error @ rustls::Error::InvalidCertificate(_)) => Some(error.to_string()),
        _ => cause.downcast_ref::<super::reach::Forbidden>().map(ToString::to_string),
    })
}

/// An error and its causes. What an error of I/O holds is no cause to it, and errors of I/O hold one another.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(held) => Some(held),
            None => error.source(),
        };
        Some(error)
    })
}
