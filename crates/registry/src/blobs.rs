//! Blobs as a repository shows them: end-2, end-10.

use http::{HeaderValue, Method, StatusCode, header};
use pier_content::{Blob, Body, Claim, Error, Subject};
use pier_oci::{
    Digest, RepositoryName,
    wire::{ErrorCode, Selected},
};

use crate::{
    ResponseBody,
    answer::Answer,
    conditions::{self, Freshness},
    refusal::Refusal,
    registry::{Inner, Reading},
};

type Outcome<T = Answer> = Result<T, Refusal>;

impl Inner {
    /// GET and HEAD. A client that asks with HEAD and finds it will not push it, so the blob is leased anew.
    pub(crate) async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        reading: Reading<'_>,
    ) -> Outcome {
        let size = match *reading.method {
            Method::HEAD => {
                match self.catalog.link(repository, digest, Claim::From(repository.clone())).await {
                    // The lease cannot be renewed on a full disk, and the blob is there all the same.
                    Err(Error::StorageFull { .. }) => self.shown(repository, digest).await?,
                    renewed => renewed?,
                }
            }
            _ => self.shown(repository, digest).await?,
        };
        let answer = |status| Answer::new(status).entity(*digest).forever();
        if conditions::freshness(reading.headers, digest) == Freshness::Fresh {
            return Ok(answer(StatusCode::NOT_MODIFIED));
        }
        let answer = |status| answer(status).fixed(header::ACCEPT_RANGES, "bytes");
        let content = |status| answer(status).fixed(header::CONTENT_TYPE, "application/octet-stream");
        match conditions::wanted(reading.method, reading.headers, digest, size) {
            Selected::Nothing => {
                let (status, code) = (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::SizeInvalid);
                let whole = Answer::new(status)
                    .entity(*digest)
                    .fixed(header::ACCEPT_RANGES, "bytes")
                    .header(header::CONTENT_RANGE, format_args!("bytes */{size}"));
                let message = format!("the blob has {size} bytes, and none of them is in this range");
                Err(Refusal::new(status, code, message).with_headers_of(whole))
            }
            Selected::Whole if reading.method == Method::HEAD => {
                Ok(content(StatusCode::OK).header(header::CONTENT_LENGTH, size))
            }
            Selected::Whole => self.serve(digest, 0..size, content(StatusCode::OK), reading).await,
            Selected::Part(range) => {
                let last = range.end - 1;
                let content = content(StatusCode::PARTIAL_CONTENT)
                    .header(header::CONTENT_RANGE, format_args!("bytes {}-{last}/{size}", range.start));
                self.serve(digest, range, content, reading).await
            }
        }
    }

    async fn serve(
        &self,
        digest: &Digest,
        range: std::ops::Range<u64>,
        answer: Answer,
        reading: Reading<'_>,
    ) -> Outcome {
        let blob = self.blobs.open(digest).await?;
        if blob.size < range.end {
            let (subject, origin) = (Subject::Blob(*digest), Some("the store".to_owned()));
            return Err(Error::Size { subject, expected: range.end, actual: blob.size, origin }.into());
        }
        if let Blob { body: Body::Redirect(url), .. } = &blob {
            let url = HeaderValue::from_str(url)
                .map_err(|_| Error::Unsupported { what: "a redirect to a URL that is not ASCII" })?;
            return Ok(Answer::new(StatusCode::TEMPORARY_REDIRECT)
                .digest(*digest)
                .value(header::LOCATION, url));
        }
        let answer = answer.header(header::CONTENT_LENGTH, range.end - range.start);
        Ok(answer.body(ResponseBody::blob(blob, range, reading.queue.cloned()).await?))
    }

    async fn shown(&self, repository: &RepositoryName, digest: &Digest) -> Outcome<u64> {
        let subject = || Subject::RepositoryBlob(repository.clone(), *digest);
        Ok(self
            .catalog
            .linked(repository, digest)
            .await?
            .ok_or_else(|| Error::NotFound { subject: subject() })?)
    }

    /// DELETE: the repository stops showing it; the bytes go when nothing else names them.
    pub(crate) async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest) -> Outcome {
        self.catalog.unlink(repository, digest).await?;
        Ok(Answer::new(StatusCode::ACCEPTED))
    }
}
