//! What went wrong on the way, in the terms of the contract.

use std::{error::Error as StdError, fmt, io};

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

/// Whether there was nobody to talk to: no connection, or one on which nothing was said.
pub(crate) fn is_unanswered(error: &Error) -> bool {
    let Error::Unavailable { source: Some(source), .. } = error else { return false };
    chain(&**source).any(|cause| {
        cause.is::<NoAnswer>()
            || cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect)
    })
}

/// Whether the other side does not speak TLS at all: a server of plain HTTP answers TLS's greeting with a line of text, or hangs up on it.
pub(crate) fn is_not_tls(error: &Error) -> bool {
    let Error::Unavailable { source: Some(source), .. } = error else { return false };
    chain(&**source).any(|cause| {
        matches!(tls(cause), Some(rustls::Error::InvalidMessage(_)))
            || cause.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
            })
    })
}

/// Why an address or a certificate was refused by us. Asking again would not change it.
fn untrusted(error: &reqwest::Error) -> Option<String> {
    chain(error).find_map(|cause| match tls(cause) {
        Some(error @ rustls::Error::InvalidCertificate(_)) => Some(error.to_string()),
        _ => cause.downcast_ref::<super::reach::Forbidden>().map(ToString::to_string),
    })
}

/// TLS's own error, which comes inside of errors of I/O, one around the other. Their chain of sources leaves out what they hold.
fn tls<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = cause;
    while let Some(inner) = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        cause = inner;
    }
    cause.downcast_ref()
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}
