//! An answer that says no, in the terms of the contract.
//!
//! What a registry says is passed on to people, but shortened and without line breaks or control characters: it is a stranger's text.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use pier_content::{Error, Subject};
use pier_oci::wire::{ErrorBody, ErrorCode};
use url::Url;

use crate::{
    auth::{self, Sent},
    transport::Response,
};

/// Bytes of an error's body that are read.
const BODY_BYTES: u64 = 64 << 10;

/// Characters of a registry's words that are passed on.
const WORDS: usize = 300;

/// Who said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// The registry.
    Registry,
    /// A place that the registry sent us to.
    Elsewhere,
}

/// What an answer that says no said.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The first bytes of the body.
    pub(crate) body: Bytes,
    speaker: Speaker,
    /// Why we are refused, from those who know who we are.
    denial: Option<Error>,
    /// The first error's code, when the body has the specification's form.
    pub(crate) code: Option<ErrorCode>,
    /// What it said, for people.
    pub(crate) words: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads an answer to its end.
    pub(crate) async fn read(answer: Response, speaker: Speaker) -> Self {
        let status = answer.status();
        let headers = answer.headers().clone();
        let header = answer.header(RETRY_AFTER).and_then(|text| delay(text, SystemTime::now()));
        let body = answer.excerpt(BODY_BYTES).await;
        let parsed: Option<ErrorBody> = serde_json::from_slice(&body).ok();
        let entry = parsed.as_ref().and_then(|body| body.errors.first());
        let said = match entry {
            Some(entry) if entry.message.is_empty() => entry.code.to_string(),
            Some(entry) => entry.message.clone(),
            None => String::new(),
        };
        let retry_after = header.or_else(|| said_delay(&said));
        let words = match tidy(&said) {
            words if words.is_empty() => status.to_string(),
            words => format!("{words} ({status})"),
        };
        let code = entry.map(|entry| entry.code);
        Self { status, headers, body, speaker, denial: None, code, words, retry_after }
    }

    /// What the authenticator has to know of it.
    pub(crate) fn for_authenticator<'a>(&'a self, url: &'a Url, sent: Sent<'a>) -> auth::Refusal<'a> {
        auth::Refusal { status: self.status, headers: &self.headers, body: &self.body, url, sent }
    }

    /// The same, with the reason for being refused that the authenticator knows.
    pub(crate) fn denied(mut self, denial: Error) -> Self {
        self.denial = Some(denial);
        self
    }

    /// Whether the specification's code says that we may not, whatever the status is.
    pub(crate) fn is_denial(&self) -> bool {
        matches!(self.code, Some(ErrorCode::Denied | ErrorCode::Unauthorized))
    }

    /// The error for a request about `subject`.
    pub(crate) fn into_error(self, origin: &str, operation: &'static str, subject: Subject) -> Error {
        let origin = origin.to_owned();
        match self.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Error::NotFound { subject },
            // A URL that was signed for us has expired, or was made wrongly. Nobody authenticates there; the registry may sign another one.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST
                if self.speaker == Speaker::Elsewhere =>
            {
                self.unavailable(origin, operation)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.denial.unwrap_or(Error::Denied { origin, reason: self.words })
            }
            // Some gateways say 503, and say when to come back.
            StatusCode::TOO_MANY_REQUESTS => self.too_many(origin),
            StatusCode::SERVICE_UNAVAILABLE if self.retry_after.is_some() => self.too_many(origin),
            StatusCode::REQUEST_TIMEOUT => self.unavailable(origin, operation),
            status if status.is_server_error() => self.unavailable(origin, operation),
            _ if self.is_denial() => Error::Denied { origin, reason: self.words },
            StatusCode::METHOD_NOT_ALLOWED => Error::Unsupported { what: operation },
            _ => Error::Invalid { subject, reason: format!("{origin} answers: {}", self.words) },
        }
    }

    fn too_many(self, origin: String) -> Error {
        Error::TooManyRequests { origin, reason: self.words, retry_after: self.retry_after }
    }

    fn unavailable(self, origin: String, operation: &'static str) -> Error {
        Error::Unavailable {
            origin,
            operation,
            retry_after: self.retry_after,
            source: Some(self.words.into()),
        }
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3).
pub(crate) fn delay(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// GitHub's registry says in the message how long to wait: `retry-after: 155.271µs, allowed: 44000/minute`.
fn said_delay(message: &str) -> Option<Duration> {
    let (_, rest) = message.split_once("retry-after: ")?;
    let text = rest.split([',', ' ']).next()?;
    let unit = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" | "us" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// A stranger's text on one line, shortened.
pub(crate) fn tidy(text: &str) -> String {
    let words = text.split(|letter: char| letter.is_whitespace() || letter.is_control());
    let text = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(WORDS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_read_in_seconds_and_as_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (text, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(delay(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_delay_is_read_from_words() {
        let message = "retry-after: 155.271µs, allowed: 44000/minute";
        assert_eq!(said_delay(message), Some(Duration::from_nanos(155_271)));
        assert_eq!(said_delay("retry-after: 2s"), Some(Duration::from_secs(2)));
        for none in ["", "retry-after: ", "retry-after: soon", "retry-after: 5", "retry-after: 1e999s"] {
            assert_eq!(said_delay(none), None, "{none}");
        }
    }

    #[test]
    fn words_are_one_line_and_short() {
        assert_eq!(tidy("a\nb\u{1b}[31m  c"), "a b [31m c");
        assert_eq!(tidy(&"ä".repeat(400)).chars().count(), WORDS + 1);
    }
}
