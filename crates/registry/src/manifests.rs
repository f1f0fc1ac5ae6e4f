//! Manifests by tag and by digest: end-3, end-7, end-9.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pier_content::{Error, PutManifest, Subject};
use pier_oci::{
    Manifest, ManifestError, MediaType, RepositoryName, Selector, Tag,
    wire::{Endpoint, ErrorCode},
};

use crate::{
    ResponseBody,
    answer::Answer,
    conditions::{self, Freshness},
    incoming::RequestBody,
    refusal::Refusal,
    registry::{Inner, Reading},
};

/// Says that the registry took note of a manifest's subject, so the client need not keep a list of its own.
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// Says which tags of the query now name the manifest.
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

type Outcome<T = Answer> = Result<T, Refusal>;

impl Inner {
    /// GET and HEAD. `Accept` is not looked at: a manifest is served as it was stored or not at all, and another
    /// representation would have another digest.
    pub(crate) async fn manifest(
        &self,
        repository: &RepositoryName,
        selector: &Selector,
        reading: Reading<'_>,
    ) -> Outcome {
        let manifest = self.catalog.resolve(repository, selector).await?;
        let digest = manifest.digest();
        let answer = |status| {
            let answer = Answer::new(status).entity(digest);
            match selector {
                Selector::Digest(_) => answer.forever(),
                // A tag may move at any time: ask again, with the ETag.
                Selector::Tag(_) => answer.fixed(header::CACHE_CONTROL, "no-cache"),
            }
        };
        if conditions::freshness(reading.headers, &digest) == Freshness::Fresh {
            return Ok(answer(StatusCode::NOT_MODIFIED));
        }
        let bytes = manifest.bytes().clone();
        let media_type = HeaderValue::from_str(manifest.media_type().as_str())
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        Ok(answer(StatusCode::OK)
            .value(header::CONTENT_TYPE, media_type)
            .header(header::CONTENT_LENGTH, bytes.len())
            .body(match *reading.method {
                Method::HEAD => ResponseBody::empty(),
                _ => ResponseBody::bytes(bytes),
            }))
    }

    /// PUT: stores what came, byte for byte, and moves the tags to it.
    pub(crate) async fn put_manifest(
        self: &Arc<Self>,
        repository: RepositoryName,
        selector: Selector,
        mut tags: Vec<Tag>,
        headers: &HeaderMap,
        body: RequestBody,
    ) -> Outcome {
        let subject = Subject::Manifest(repository.clone(), selector.clone());
        let limit = self.settings.max_manifest_bytes;
        let bytes = body.collect(limit, subject).await.map_err(|error| match error {
            Error::Size { .. } => Refusal::too_large("the manifest", limit),
            error => error.into(),
        })?;
        let manifest = parse(&selector, headers, bytes)?;
        let named: Vec<Tag> = tags.clone();
        if let Selector::Tag(tag) = &selector {
            tags.push(tag.clone());
        }
        let digest = manifest.digest();
        let subject = manifest.subject().map(|subject| subject.digest);
        let location =
            Endpoint::Manifest { repository: repository.clone(), selector: Selector::Digest(digest) };
        let put = PutManifest {
            repository,
            manifest: Arc::new(manifest),
            tags,
            completeness: self.settings.completeness,
        };
        self.in_task(move |inner| async move { Ok(inner.catalog.put_manifest(put).await?) }).await?;

        let mut answer = Answer::new(StatusCode::CREATED).header(header::LOCATION, location).digest(digest);
        if let Some(subject) = subject {
            answer = answer.header(OCI_SUBJECT, subject);
        }
        Ok(named.iter().fold(answer, |answer, tag| answer.header(OCI_TAG, tag)))
    }

    /// DELETE: a tag alone, or a manifest with the tags that name it.
    pub(crate) async fn delete_manifest(&self, repository: &RepositoryName, selector: &Selector) -> Outcome {
        match selector {
            Selector::Tag(tag) => self.catalog.untag(repository, tag).await?,
            Selector::Digest(digest) => self.catalog.delete_manifest(repository, digest).await?,
        }
        Ok(Answer::new(StatusCode::ACCEPTED))
    }
}

/// Bytes under the type and the digest that they came under, if under any.
fn parse(selector: &Selector, headers: &HeaderMap, bytes: Bytes) -> Outcome<Manifest> {
    let invalid = |message: String| Refusal::bad_request(ErrorCode::ManifestInvalid, message);
    let declared: Option<MediaType> = match headers.get(header::CONTENT_TYPE) {
        None => None,
        Some(value) => {
            let text =
                value.to_str().map_err(|_| invalid("the Content-Type is not a media type".to_owned()))?;
            Some(text.parse().map_err(|error| invalid(format!("{error}")))?)
        }
    };
    let parsed = match selector {
        Selector::Tag(_) => Manifest::parse(bytes, declared.as_ref()),
        Selector::Digest(digest) => Manifest::parse_expecting(bytes, declared.as_ref(), *digest),
    };
    parsed.map_err(|error| match error {
        ManifestError::Mismatch { .. } => Refusal::bad_request(ErrorCode::DigestInvalid, error.to_string()),
        _ => invalid(error.to_string()),
    })
}
