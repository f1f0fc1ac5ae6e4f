//! Error codes and the bodies of answers that say no.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why a request failed. The first fourteen are the specification's; it has none for failures of the server itself,
/// for which the last two are what clients know from distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the specification's table says what each means")]
pub enum ErrorCode {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    #[serde(rename = "TOOMANYREQUESTS")]
    TooManyRequests,
    Unavailable,
    /// Also stands for every code that is not known here.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// What kind.
    pub code: ErrorCode,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs, in a form that depends on the server.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

/// The body of an answer that says no.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// At least one.
    pub errors: Vec<ErrorEntry>,
}

impl ErrorBody {
    /// The JSON that goes over the wire.
    pub fn to_json(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "strings and JSON values only")]
        serde_json::to_vec(self).expect("an error body can be written as JSON")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codes_are_written_as_the_specification_does() {
        assert_eq!(ErrorCode::BlobUploadUnknown.to_string(), "BLOB_UPLOAD_UNKNOWN");
        assert_eq!(ErrorCode::TooManyRequests.to_string(), "TOOMANYREQUESTS");
        let body: ErrorBody = serde_json::from_str(r#"{"errors":[{"code":"SOMETHING_NEW"}]}"#).unwrap();
        assert_eq!(body.errors[0].code, ErrorCode::Unknown);
        assert_eq!(body.to_json(), br#"{"errors":[{"code":"UNKNOWN"}]}"#);
    }

    proptest! {
        #[test]
        fn bodies_are_read_as_they_are_written(code in "[A-Z_]{0,20}", message: String, detail: Option<i64>) {
            let text = serde_json::json!({ "errors": [{ "code": code, "message": message, "detail": detail }] });
            let body: ErrorBody = serde_json::from_value(text).unwrap();
            prop_assert_eq!(&body.errors[0].message, &message);
            let again: ErrorBody = serde_json::from_slice(&body.to_json()).unwrap();
            prop_assert_eq!(again, body);
        }
    }
}
