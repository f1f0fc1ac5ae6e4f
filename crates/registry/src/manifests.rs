//! Manifests by tag and by digest: end-3, end-7, end-9.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pier_content::{Error, Expected, PutManifest, Subject, TagRules};
use pier_oci::{
    Digest, Manifest, ManifestError, MediaType, RepositoryName, Selector, Tag,
    wire::{Endpoint, ErrorCode},
};
use tokio::task::spawn_blocking;

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

/// Manifests up to here are parsed where they are read, which takes less than the hop to a blocking thread. A larger
/// one takes up to tens of milliseconds, in which nobody else would be answered. It also needs a turn among the uploads.
const SMALL_BYTES: usize = 64 << 10;

type Outcome<T = Answer> = Result<T, Refusal>;

/// Under which names a manifest is put.
#[derive(Debug)]
pub(crate) struct Named {
    /// That of the path.
    pub(crate) selector: Selector,
    /// Those of the query.
    pub(crate) tags: Vec<Tag>,
    /// What the client expects each of the tags to name, and the digest where there is no tag.
    pub(crate) expected: Expected,
}

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
        Named { selector, mut tags, expected }: Named,
        headers: &HeaderMap,
        body: RequestBody,
    ) -> Outcome {
        let subject = Subject::Manifest(repository.clone(), selector.clone());
        let limit = self.settings.max_manifest_bytes;
        let is_small = body.length().is_some_and(|length| length <= SMALL_BYTES as u64);
        let (_turn, body) = if is_small {
            (None, body)
        } else {
            let (turn, body) = self.turn(body).await?;
            (Some(turn), body)
        };
        let bytes = body.collect(limit, subject).await.map_err(|error| match error {
            Error::Size { .. } => Refusal::too_large("the manifest", limit),
            error => error.into(),
        })?;
        let declared = declared(headers)?;
        let manifest = parse(&selector, declared, bytes).await?;
        let named: Vec<Tag> = tags.clone();
        if let Selector::Tag(tag) = &selector {
            tags.push(tag.clone());
        }
        let digest = manifest.digest();
        if tags.is_empty() && expected != Expected::Anything {
            check_held(&repository, &digest, self.held(&repository, &digest).await?, &expected)?;
        }
        let subject = manifest.subject().map(|subject| subject.digest);
        let location =
            Endpoint::Manifest { repository: repository.clone(), selector: Selector::Digest(digest) };
        let put = PutManifest {
            repository,
            manifest: Arc::new(manifest),
            tags,
            completeness: self.settings.completeness,
            rules: self.rules(expected),
        };
        let stored =
            self.in_task(move |inner| async move { Ok(inner.catalog.put_manifest(put).await?) }).await?;

        let mut answer = Answer::new(StatusCode::CREATED).header(header::LOCATION, location).digest(digest);
        if let Some(subject) = subject {
            answer = answer.header(OCI_SUBJECT, subject);
        }
        if stored.absent > 0 {
            let absent = stored.absent;
            answer = answer
                .warning(format_args!("{absent} of the manifest's children are not in this repository"));
        }
        Ok(named.iter().fold(answer, |answer, tag| answer.header(OCI_TAG, tag)))
    }

    /// DELETE: a tag alone, or a manifest with the tags that name it.
    pub(crate) async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        selector: &Selector,
        expected: Expected,
    ) -> Outcome {
        let rules = self.rules(expected);
        match selector {
            Selector::Tag(tag) => self.catalog.untag(repository, tag, &rules).await?,
            Selector::Digest(digest) => {
                // What is not there is answered as without a condition (section 13.2.1).
                if rules.expected != Expected::Anything
                    && let found @ Some(_) = self.held(repository, digest).await?
                {
                    check_held(repository, digest, found, &rules.expected)?;
                }
                self.catalog.delete_manifest(repository, digest, &rules.immutable).await?;
            }
        }
        Ok(Answer::new(StatusCode::ACCEPTED))
    }

    /// The digest, if the repository holds a manifest with it.
    async fn held(&self, repository: &RepositoryName, digest: &Digest) -> Outcome<Option<Digest>> {
        match self.catalog.resolve(repository, &Selector::Digest(*digest)).await {
            Ok(_) => Ok(Some(*digest)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn rules(&self, expected: Expected) -> TagRules {
        TagRules { expected, immutable: self.settings.immutable.clone() }
    }
}

/// Refuses to go on when a manifest that is named by its digest is not, as the client expects it, there or not there.
///
/// No transaction has to decide it: unlike a tag it is there with this content or not at all, so nobody's work is lost
/// when that changes meanwhile.
fn check_held(
    repository: &RepositoryName,
    digest: &Digest,
    found: Option<Digest>,
    expected: &Expected,
) -> Outcome<()> {
    if expected.is_met(found.as_ref()) {
        return Ok(());
    }
    let is = if found.is_some() { "is" } else { "is not" };
    let message = format!("manifest `{repository}@{digest}` {is} there, which the condition rules out");
    Err(Refusal::unexpected(found, message))
}

/// The type that the client says it sends.
fn declared(headers: &HeaderMap) -> Outcome<Option<MediaType>> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().map_err(|_| invalid("the Content-Type is not a media type"))?;
    text.parse().map(Some).map_err(|error| invalid(format!("{error}")))
}

/// Bytes under the type and the digest that they came under, if under any.
async fn parse(selector: &Selector, declared: Option<MediaType>, bytes: Bytes) -> Outcome<Manifest> {
    let digest = match selector {
        Selector::Tag(_) => None,
        Selector::Digest(digest) => Some(*digest),
    };
    let is_large = bytes.len() > SMALL_BYTES;
    let parse = move || match digest {
        None => Manifest::parse(bytes, declared.as_ref()),
        Some(digest) => Manifest::parse_expecting(bytes, declared.as_ref(), digest),
    };
    let parsed = if is_large {
        let failed = |source| Error::Task { operation: "parsing a manifest", source };
        spawn_blocking(parse).await.map_err(failed)?
    } else {
        parse()
    };
    parsed.map_err(|error| match error {
        ManifestError::Mismatch { .. } => Refusal::bad_request(ErrorCode::DigestInvalid, error.to_string()),
        _ => invalid(error.to_string()),
    })
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::bad_request(ErrorCode::ManifestInvalid, message)
}
