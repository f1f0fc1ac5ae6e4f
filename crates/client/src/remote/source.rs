//! Reading from a registry.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use pier_content::{ByteRange, Error, Filling, Opened, Result, Source, Subject};
use pier_oci::{
    Descriptor, Digest, Kind, MAX_MANIFEST_BYTES, Manifest, ManifestError, MediaType, Reference, Repository,
    Selector,
};
use url::Url;

use super::{Remote, accept_manifests, ask, blob_path, manifest_path};
use crate::{
    transport::{Read, Response},
    wire::{Access, Ask, Target},
};

/// The header in which a registry says what it believes a manifest's digest to be.
pub(super) const CONTENT_DIGEST: &str = "docker-content-digest";

#[async_trait]
impl Source for Remote {
    fn name(&self) -> String {
        self.wire.name()
    }

    /// One HEAD, which costs nobody's pull quota. Of a tag the registry's word is taken for what it names; a digest that was asked for stays
    /// what it is. Registries that do not answer HEAD, or not fully, are asked for the manifest.
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        const OPERATION: &str = "resolve a reference";
        let repository = &reference.repository;
        let selector = reference.selector();
        let name = self.name_of(repository)?;
        let path = manifest_path(name, &selector);
        let subject = Subject::RemoteManifest(repository.clone(), selector.clone());
        let mut head = ask(Method::HEAD, &path, OPERATION, Access::Pull(name), subject.clone());
        head.headers = accept_manifests();
        let descriptor = match self.wire.attempt(head).await? {
            Ok(answer) => described(&answer),
            Err(refusal) if refusal.status == StatusCode::METHOD_NOT_ALLOWED => None,
            Err(refusal) => return Err(refusal.into_error(&self.name(), OPERATION, subject)),
        };
        match (descriptor, &selector) {
            (Some(Descriptor { digest: actual, .. }), Selector::Digest(expected)) if actual != *expected => {
                return Err(Error::Integrity { expected: *expected, actual, origin: Some(self.name()) });
            }
            (Some(descriptor), _) => return Ok(descriptor),
            (None, _) => {}
        }
        Ok(self.manifest(repository, &selector, MAX_MANIFEST_BYTES).await?.descriptor())
    }

    async fn manifest(&self, repository: &Repository, selector: &Selector, limit: u64) -> Result<Manifest> {
        const OPERATION: &str = "read a manifest";
        let name = self.name_of(repository)?;
        let path = manifest_path(name, selector);
        let subject = Subject::RemoteManifest(repository.clone(), selector.clone());
        let mut get = ask(Method::GET, &path, OPERATION, Access::Pull(name), subject.clone());
        get.headers = accept_manifests();
        let answer = self.wire.ask(get).await?;
        let declared = match (declared(&answer, &subject), selector) {
            // Such as the page of a portal: whoever answered so is not known to have been the registry, and has not what was asked for.
            (Err(error), Selector::Digest(_)) => {
                let (origin, source) = (self.name(), Some(error.into()));
                return Err(Error::Unavailable { origin, operation: OPERATION, retry_after: None, source });
            }
            (declared, _) => declared?,
        };
        let said: Option<Digest> = answer.header(CONTENT_DIGEST).and_then(|digest| digest.parse().ok());
        let bytes = match answer.read(limit.min(MAX_MANIFEST_BYTES), OPERATION).await? {
            Read::Whole(bytes) => bytes,
            Read::TooLong(_) => {
                let reason = format!("it has more than {} bytes", limit.min(MAX_MANIFEST_BYTES));
                return Err(Error::Invalid { subject, reason });
            }
        };
        // What a registry says of its own bytes names nothing; but where it is wrong, something changed them on their way.
        if let (Selector::Tag(_), Some(expected)) = (selector, said) {
            let actual = Digest::of(expected.algorithm(), &bytes);
            if actual != expected {
                return Err(Error::Integrity { expected, actual, origin: Some(self.name()) });
            }
        }
        parse(bytes, declared.as_ref(), selector).map_err(|error| match error {
            ManifestError::Mismatch { expected, actual } => {
                Error::Integrity { expected, actual, origin: Some(self.name()) }
            }
            error => Error::Invalid { subject, reason: error.to_string() },
        })
    }

    async fn open(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
    ) -> Result<Opened> {
        let shortcut = Shortcut::default();
        self.open_range(repository, descriptor, range, &shortcut).await.map(|(opened, _)| opened)
    }

    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>> {
        self.list_referrers(repository, digest, None).await
    }

    async fn fill(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        filling: &dyn Filling,
    ) -> Result<()> {
        self.fill_ranges(repository, descriptor, filling).await
    }
}

impl Remote {
    /// Opens a range of a blob, and says what the registry made of it.
    pub(super) async fn open_range(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: ByteRange,
        shortcut: &Shortcut,
    ) -> Result<(Opened, Answered)> {
        const OPERATION: &str = "read a blob";
        let name = self.name_of(repository)?;
        let path = blob_path(name, &descriptor.digest);
        let subject = Subject::RemoteBlob(repository.clone(), descriptor.digest);
        let plain = || {
            let mut get = ask(Method::GET, &path, OPERATION, Access::Pull(name), subject.clone());
            get.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            get
        };
        let whole = range.start == 0 && range.end.is_none_or(|end| end >= descriptor.size);
        let get = || {
            let mut get = plain();
            if !whole {
                get.headers.insert(header::RANGE, range_header(range));
            }
            get
        };
        let direct = match shortcut.known() {
            Some(url) => match self.wire.attempt(Ask { target: Target::Url(&url), ..get() }).await {
                Ok(Err(refusal)) if matches!(refusal.status.as_u16(), 400 | 401 | 403 | 404 | 410) => {
                    shortcut.forget(&url);
                    None
                }
                Ok(answer) => Some(answer),
                Err(error) => {
                    shortcut.forget(&url);
                    return Err(error);
                }
            },
            None => None,
        };
        let answer = match direct {
            Some(answer) => answer,
            None => self.wire.attempt(get()).await?,
        };
        let answer = match answer {
            Ok(answer) => answer,
            // Some registries refuse ranges of what they do have, so it is asked for whole.
            Err(refusal) if refusal.status == StatusCode::RANGE_NOT_SATISFIABLE => {
                self.wire.ask(plain()).await?
            }
            Err(refusal) => return Err(refusal.into_error(&self.name(), OPERATION, subject)),
        };
        if !self.wire.is_own(answer.url()).await? {
            shortcut.learn(answer.url());
        }
        let unbelievable = |operation| Error::Unavailable {
            origin: self.wire.name(),
            operation,
            retry_after: None,
            source: None,
        };
        let (start, size, answered) = if answer.status() != StatusCode::PARTIAL_CONTENT {
            (0, answer.content_length(), Answered::Whole)
        } else if whole {
            return Err(unbelievable("read a blob: it sent a part of it"));
        } else {
            // A range that cannot be believed must not be written anywhere.
            let (start, size) = sent_range(&answer, range).ok_or_else(|| {
                unbelievable("read a range of a blob: it sent another range, or did not say which")
            })?;
            (start, size, Answered::Range)
        };
        Ok((Opened { start, size, stream: answer.stream(OPERATION) }, answered))
    }
}

/// The place to which a registry sent us for a blob, and which knows us by the URL itself. Its ranges are asked for there, until that says
/// no because its time is over: a registry that answers for each of them may count each of them.
#[derive(Debug, Default)]
pub(super) struct Shortcut(Mutex<Option<Url>>);

impl Shortcut {
    fn known(&self) -> Option<Url> {
        self.lock().clone()
    }

    fn learn(&self, url: &Url) {
        *self.lock() = Some(url.clone());
    }

    /// Forgets a URL that did not do, unless another range has learnt another one meanwhile.
    fn forget(&self, url: &Url) {
        let mut known = self.lock();
        if known.as_ref() == Some(url) {
            *known = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Url>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a registry made of a question for a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// It sent the range.
    Range,
    /// It sent the whole blob.
    Whole,
}

/// What an answer to HEAD says of a manifest, if it says all of it.
fn described(answer: &Response) -> Option<Descriptor> {
    if !answer.status().is_success() {
        return None;
    }
    let digest = answer.header(CONTENT_DIGEST)?.parse().ok()?;
    let media_type: MediaType = media_type(answer)?;
    // An answer of this type is not of a manifest, whatever the digest says.
    (media_type.kind() != Kind::Blob).then_some(())?;
    Some(Descriptor::new(media_type, digest, answer.content_length().filter(|size| *size > 0)?))
}

/// The media type under which a manifest came; `None` when it is so general that the manifest has to say it itself.
fn declared(answer: &Response, subject: &Subject) -> Result<Option<MediaType>> {
    let Some(media_type) = media_type(answer) else { return Ok(None) };
    match media_type.as_str() {
        "application/json" | "application/octet-stream" | "text/plain" => Ok(None),
        "text/html" => Err(Error::Invalid {
            subject: subject.clone(),
            reason: "the answer is a web page and no manifest; is there a proxy or a login page in between?"
                .to_owned(),
        }),
        _ => Ok(Some(media_type)),
    }
}

/// The type without its parameters.
fn media_type(answer: &Response) -> Option<MediaType> {
    let text = answer.header(header::CONTENT_TYPE)?;
    text.split(';').next()?.trim().parse().ok()
}

fn parse(bytes: Bytes, declared: Option<&MediaType>, selector: &Selector) -> Result<Manifest, ManifestError> {
    match selector {
        Selector::Digest(expected) => Manifest::parse_expecting(bytes, declared, *expected),
        Selector::Tag(_) => Manifest::parse(bytes, declared),
    }
}

/// `bytes=0-99`, both included; always with an end where one is known, so that no server sends what nobody reads.
fn range_header(range: ByteRange) -> HeaderValue {
    let end = range.end.map(|end| (end.max(range.start + 1) - 1).to_string()).unwrap_or_default();
    #[expect(clippy::expect_used, reason = "digits and a dash")]
    HeaderValue::from_str(&format!("bytes={}-{end}", range.start)).expect("a header of digits")
}

/// Where a part of a blob begins and how large the whole is, as `Content-Range` has it; `None` when it does not begin where it was asked to.
fn sent_range(answer: &Response, asked: ByteRange) -> Option<(u64, Option<u64>)> {
    let (range, size) =
        answer.header(header::CONTENT_RANGE)?.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let length = last.checked_sub(first)?.checked_add(1)?;
    let announced = answer.content_length().is_none_or(|announced| announced == length);
    (first == asked.start && announced).then_some(())?;
    Some((first, size.trim().parse().ok()))
}
