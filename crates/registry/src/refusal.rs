//! Why a request was not done, as the specification words it.
//!
//! Handlers fail with a [`Refusal`]; most come from the contract's errors, whose kinds decide code and status in one
//! place. What only an operator may know (paths, causes) goes to the log and not into the answer.

use std::error::Error as _;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use pier_content::{Error, Subject};
use pier_oci::{
    Digest,
    wire::{ErrorBody, ErrorCode, ErrorEntry},
};
use serde_json::{Value, json};

use crate::{ResponseBody, answer::Answer, incoming::Interruption};

/// How long a client is asked to wait when it met another writer, in seconds.
const BUSY_SECONDS: &str = "1";

/// How long a client is asked to wait when too many upload at once, in seconds.
const CROWDED_SECONDS: &str = "5";

/// An answer that says no. Public for servers that say it in the registry's place: in the registry's words, so that clients show it.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    code: ErrorCode,
    message: String,
    /// One entry of the body for each, one without when there is none.
    details: Vec<Value>,
    headers: Box<HeaderMap>,
    /// It is a part of how clients talk, and no news.
    is_usual: bool,
    /// What went wrong on our side, for the log.
    cause: Option<Box<Error>>,
}

impl Refusal {
    /// With a message for people.
    pub fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: Vec::new(),
            headers: Box::default(),
            is_usual: status == StatusCode::NOT_FOUND,
            cause: None,
        }
    }

    /// The request is wrong and stays wrong.
    pub(crate) fn bad_request(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// No such upload session, or not one of ours.
    pub(crate) fn upload_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown, "no such upload session")
    }

    /// Longer than the limit.
    pub(crate) fn too_large(what: &str, limit: u64) -> Self {
        let message = format!("{what} is longer than the {limit} bytes that this registry accepts");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid, message)
    }

    /// Too many uploads are at work, and none ended while the client waited.
    pub(crate) fn crowded() -> Self {
        let message = "too many uploads are under way; try again later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static(CROWDED_SECONDS))
    }

    /// What was to be changed is not what the client expects. What it is now comes along, so that nobody has to ask.
    pub(crate) fn unexpected(found: Option<Digest>, message: impl Into<String>) -> Self {
        Self {
            details: vec![json!({ "digest": found.map(|digest| digest.to_string()) })],
            // The specification has no code for it.
            ..Self::new(StatusCode::PRECONDITION_FAILED, ErrorCode::Denied, message)
        }
    }

    /// This registry failed, or what it keeps is not what it was.
    fn failed(error: Error) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self {
            cause: Some(Box::new(error)),
            ..Self::new(status, ErrorCode::Unknown, "this registry failed; its log says why")
        }
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// One that every client meets on its way, such as being asked to log in: reads that meet it are no news for the log.
    #[must_use]
    pub fn usual(mut self) -> Self {
        self.is_usual = true;
        self
    }

    /// With the headers of an answer that says yes.
    #[must_use]
    pub(crate) fn with_headers_of(mut self, answer: Answer) -> Self {
        self.headers.extend(answer.into_headers());
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether a read that meets it is no news: that something is not there is an answer, too.
    pub(crate) fn is_usual(&self) -> bool {
        self.is_usual && self.cause.is_none()
    }

    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }

    /// What the log should say beyond the answer: only for failures on our side.
    pub(crate) fn cause(&self) -> Option<String> {
        let error = self.cause.as_ref()?;
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Some(text)
    }

    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let details = if self.details.is_empty() { vec![Value::Null] } else { self.details };
        let entry = |detail| ErrorEntry { code: self.code, message: self.message.clone(), detail };
        let body = ErrorBody { errors: details.into_iter().map(entry).collect() };
        let mut response = Response::new(ResponseBody::bytes(body.to_json()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(*self.headers);
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::NotFound { subject } => {
                let code = match subject {
                    Subject::Blob(_) | Subject::RepositoryBlob(..) => ErrorCode::BlobUnknown,
                    Subject::Manifest(..) => ErrorCode::ManifestUnknown,
                    Subject::Upload(_) => return Self::upload_unknown(),
                    _ => ErrorCode::NameUnknown,
                };
                Self::new(StatusCode::NOT_FOUND, code, message)
            }
            // The specification lists 404 for the end-point; one entry names each child.
            Error::Missing { digests, .. } => Self {
                details: digests.iter().map(|digest| json!({ "digest": digest.to_string() })).collect(),
                ..Self::new(
                    StatusCode::NOT_FOUND,
                    ErrorCode::ManifestBlobUnknown,
                    "the repository lacks what the manifest names",
                )
            },
            // What came from somewhere else than the client is not the client's fault.
            error @ (Error::Integrity { origin: Some(_), .. } | Error::Size { origin: Some(_), .. }) => {
                Self::failed(error)
            }
            Error::Integrity { expected, actual, .. } => Self {
                details: vec![json!({ "expected": expected.to_string(), "actual": actual.to_string() })],
                ..Self::bad_request(
                    ErrorCode::DigestInvalid,
                    "the content does not have the digest it was sent under",
                )
            },
            Error::Size { .. } => Self::bad_request(ErrorCode::SizeInvalid, message),
            Error::Invalid { subject, .. } => {
                let code = match subject {
                    Subject::Manifest(..) => ErrorCode::ManifestInvalid,
                    Subject::Upload(_) => ErrorCode::BlobUploadInvalid,
                    Subject::Repository(_) => ErrorCode::NameInvalid,
                    _ => ErrorCode::DigestInvalid,
                };
                Self::bad_request(code, message)
            }
            Error::OutOfRange { .. } => {
                Self::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid, message)
            }
            Error::Changed { found, .. } => Self::unexpected(found, message),
            // The specification has no code for it.
            Error::Immutable { .. } => Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message),
            // The specification knows 405 for content that is not to be deleted, and no 409.
            Error::InUse { .. } => Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Denied, message),
            // An upload in use is the client's own doing; a blob in use is somebody else's.
            Error::Busy { subject: Subject::Upload(_), .. } => {
                Self::new(StatusCode::CONFLICT, ErrorCode::BlobUploadInvalid, message)
            }
            Error::Busy { .. } | Error::Abandoned { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message)
                    .with_header(header::RETRY_AFTER, HeaderValue::from_static(BUSY_SECONDS))
            }
            Error::StorageFull { .. } => {
                let status = StatusCode::INSUFFICIENT_STORAGE;
                let refusal = Self::new(
                    status,
                    ErrorCode::Unavailable,
                    "no space is left where this registry stores content",
                );
                Self { cause: Some(Box::new(error)), ..refusal }
            }
            Error::Unavailable { source: Some(source), .. } if source.is::<Interruption>() => {
                let message = format!("{message}: {source}");
                match source.downcast_ref::<Interruption>() {
                    Some(Interruption::Idle) => {
                        Self::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::BlobUploadInvalid, message)
                            .with_header(header::CONNECTION, HeaderValue::from_static("close"))
                    }
                    _ => Self::bad_request(ErrorCode::BlobUploadInvalid, message),
                }
            }
            Error::Unavailable { .. } => {
                let message = "this cannot be answered just now";
                let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message)
                    .with_header(header::RETRY_AFTER, HeaderValue::from_static(BUSY_SECONDS));
                Self { cause: Some(Box::new(error)), ..refusal }
            }
            Error::Unsupported { .. } => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message)
            }
            error => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_is_wrong_is_the_fault_of_whoever_it_came_from() {
        let wrong = |origin: Option<&str>| {
            let (expected, actual) = (Digest::sha256(b"right"), Digest::sha256(b"wrong"));
            Refusal::from(Error::Integrity { expected, actual, origin: origin.map(str::to_owned) })
        };
        let sent = wrong(None);
        assert_eq!(
            (sent.status().as_u16(), sent.code(), sent.cause()),
            (400, ErrorCode::DigestInvalid, None)
        );
        let kept = wrong(Some("the catalog"));
        assert_eq!((kept.status().as_u16(), kept.code()), (500, ErrorCode::Unknown));
        assert!(kept.cause().is_some_and(|cause| cause.contains("the catalog")));
    }
}
