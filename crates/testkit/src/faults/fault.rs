//! What can go wrong between a client and a registry.

use std::time::SystemTime;

use http::StatusCode;
use pier_oci::Digest;
use serde_json::json;

use super::Pace;

/// What happens to one exchange. Offsets count the bytes of the body that is sent, which of a range is not the whole blob.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The head is true, `after` bytes of the body come, then the connection is cut.
    Truncate {
        /// Bytes of the body that are sent.
        after: u64,
    },
    /// So many bytes more than there are, announced as if they belonged to it.
    TooLong {
        /// How many zeros follow the body.
        extra: u64,
    },
    /// So many bytes more than the length that was announced; the connection is closed behind them.
    BeyondLength {
        /// How many zeros follow the body.
        extra: u64,
    },
    /// Announces so many bytes more, or fewer, than there are. All that there are are sent, and the connection is closed behind them.
    WrongLength {
        /// Added to the true length.
        by: i64,
    },
    /// Announces no length: the body ends with the connection.
    NoLength,
    /// One bit of the body is wrong.
    Flip {
        /// The byte that it is in. Nothing happens where the body is shorter.
        at: u64,
    },
    /// Another `Docker-Content-Digest`.
    LyingDigest(Digest),
    /// Another field of the response, or one that it did not have: a wrong `Content-Range`, `Content-Type` or `Link`.
    Field {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// A field of the response is left out.
    NoField(&'static str),
    /// Says `Content-Encoding: gzip` of what is not compressed.
    ClaimsGzip,
    /// The range that was asked for is not passed on: the whole comes, with status 200.
    IgnoresRange,
    /// Another `Location`, on an answer that has one.
    WrongLocation(String),
    /// Something else answers and the registry hears nothing of it.
    Answer(Canned),
    /// 307 to the same path and query below this URL (`http://host:port`), where a second proxy may note who comes.
    RedirectTo(String),
    /// 307 to itself, each time.
    RedirectLoop,
    /// Sends so many bytes of the body and then nothing, until the client gives up or the stall is released, when the rest follows.
    Stall {
        /// Bytes of the body that are sent first. 0 for the head alone.
        after: u64,
    },
    /// Says nothing at all, until the client gives up or the stall is released, when the request is passed on.
    StallHead,
    /// Cuts the connection; the registry hears nothing of the request.
    CutBefore,
    /// Cuts the connection once the registry has answered; the client hears nothing of the answer.
    CutAfter,
    /// Cuts both connections once so many bytes of the request's body were passed on.
    CutUpload {
        /// Bytes that are passed on.
        after: u64,
    },
    /// This exchange alone is slow.
    Slow(Pace),
}

/// An answer in the registry's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canned {
    /// Its status.
    pub status: StatusCode,
    /// Its fields; the length is added.
    pub fields: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

/// When a client is asked to come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// In so many seconds.
    Seconds(u64),
    /// At a date, whose fractions of a second are lost.
    Date(SystemTime),
    /// What is neither.
    Text(String),
}

impl Canned {
    /// No body.
    pub fn new(status: StatusCode) -> Self {
        Self { status, fields: Vec::new(), body: String::new() }
    }

    /// In the registry's own form: a JSON body with this code, as in `DENIED`.
    pub fn error(status: StatusCode, code: &str) -> Self {
        let body = json!({ "errors": [{ "code": code, "message": "made up by the test" }] });
        Self { body: body.to_string(), ..Self::new(status) }.field("Content-Type", "application/json")
    }

    /// A page for people, as gateways and login portals send it.
    pub fn html(status: StatusCode) -> Self {
        let body = "<!DOCTYPE html>\n<html><head><title>Oops</title></head><body><h1>Something is wrong</h1></body></html>\n";
        Self { body: body.to_owned(), ..Self::new(status) }.field("Content-Type", "text/html; charset=utf-8")
    }

    /// 401 with this `WWW-Authenticate`.
    pub fn challenge(challenge: &str) -> Self {
        Self::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED").field("WWW-Authenticate", challenge)
    }

    /// 429 with a `Retry-After`.
    pub fn too_many_requests(retry_after: RetryAfter) -> Self {
        Self::error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS").retry_after(retry_after)
    }

    /// 416, as from a server that has not got the range.
    pub fn range_not_satisfiable() -> Self {
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE).field("Content-Range", "bytes */0")
    }

    /// 307 to this URL, as it is.
    pub fn redirect(location: impl Into<String>) -> Self {
        Self::new(StatusCode::TEMPORARY_REDIRECT).field("Location", location)
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// Asks the client to come again.
    #[must_use]
    pub fn retry_after(self, when: RetryAfter) -> Self {
        let value = match when {
            RetryAfter::Seconds(seconds) => seconds.to_string(),
            RetryAfter::Date(date) => httpdate::fmt_http_date(date),
            RetryAfter::Text(text) => text,
        };
        self.field("Retry-After", value)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn retry_after_is_written_in_each_form() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (when, expected) in [
            (RetryAfter::Seconds(3), "3"),
            (RetryAfter::Date(date), "Sun, 06 Nov 1994 08:49:37 GMT"),
            (RetryAfter::Text("soon".to_owned()), "soon"),
        ] {
            let canned = Canned::too_many_requests(when);
            let (name, value) = canned.fields.last().unwrap();
            assert_eq!((name.as_str(), value.as_str()), ("Retry-After", expected));
        }
    }
}
