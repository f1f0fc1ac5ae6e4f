//! Answers that say yes.

use std::fmt::Display;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use pier_oci::{Digest, wire::etag};

use crate::ResponseBody;

/// The header that names the content of an answer.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A response in the making.
#[derive(Debug)]
pub(crate) struct Answer(Response<ResponseBody>);

impl Answer {
    pub(crate) fn new(status: StatusCode) -> Self {
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = status;
        Self(response)
    }

    /// A header whose value is made of what our own types hold: names, digests, numbers, all visible ASCII.
    pub(crate) fn header(mut self, name: HeaderName, value: impl Display) -> Self {
        self.0.headers_mut().append(name, visible(value.to_string().into()));
        self
    }

    /// A header whose value is known before.
    pub(crate) fn fixed(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers_mut().insert(name, HeaderValue::from_static(value));
        self
    }

    /// Says which content this is about.
    pub(crate) fn digest(self, digest: Digest) -> Self {
        self.header(CONTENT_DIGEST, digest)
    }

    /// Says which content this is, and that it can be asked for again by that. Both headers share one piece of memory.
    pub(crate) fn entity(self, digest: Digest) -> Self {
        let quoted = Bytes::from(etag::of(&digest));
        let bare = quoted.slice(1..quoted.len() - 1);
        self.value(CONTENT_DIGEST, visible(bare)).value(header::ETAG, visible(quoted))
    }

    /// Something that the person behind the client should know, though the answer is yes. The specification fixes the code,
    /// and allows 4096 bytes in all: one short sentence without quotes.
    pub(crate) fn warning(self, sentence: impl Display) -> Self {
        self.header(header::WARNING, format_args!("299 - \"{sentence}\""))
    }

    /// Content under a digest never changes: caches may keep it for a year, which is as long as they go.
    pub(crate) fn forever(self) -> Self {
        self.fixed(header::CACHE_CONTROL, "max-age=31536000, immutable")
    }

    /// A header whose value comes from elsewhere.
    pub(crate) fn value(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().insert(name, value);
        self
    }

    pub(crate) fn body(mut self, body: ResponseBody) -> Self {
        *self.0.body_mut() = body;
        self
    }

    pub(crate) fn json(self, json: impl Into<Bytes>) -> Self {
        self.fixed(header::CONTENT_TYPE, "application/json").body(ResponseBody::bytes(json))
    }

    pub(crate) fn into_headers(self) -> HeaderMap {
        self.0.into_parts().0.headers
    }

    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        self.0
    }
}

/// A header's value of what our own types hold.
#[expect(clippy::expect_used, reason = "the values are visible ASCII by their types")]
fn visible(value: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(value).expect("visible ASCII")
}
