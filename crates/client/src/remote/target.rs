//! Writing to a registry.

use async_trait::async_trait;
use http::{HeaderValue, Method, StatusCode, header};
use pier_content::{Completeness, Error, Mounted, Origin, Progress, Result, Source as _, Subject, Target};
use pier_oci::{
    Descriptor, Digest, Kind, MAX_MANIFEST_BYTES, Manifest, MediaType, Repository, Selector, Tag, View,
    wire::{Endpoint, ErrorCode},
};
use serde_json::json;

use super::{Remote, accept_manifests, ask, blob_path, manifest_path, source::CONTENT_DIGEST};
use crate::{
    refusal::Refusal,
    transport::{Payload, Response},
    wire::{Access, Ask},
};

/// What storing a manifest is called in errors.
const STORE: &str = "store a manifest";

/// The header by which a registry says that it keeps referrers itself.
const SUBJECT: &str = "oci-subject";

#[async_trait]
impl Target for Remote {
    fn name(&self) -> String {
        self.wire.name()
    }

    async fn has(&self, repository: &Repository, descriptor: &Descriptor) -> Result<bool> {
        const OPERATION: &str = "ask whether content is there";
        let name = self.name_of(repository)?;
        let is_blob = descriptor.media_type.kind() == Kind::Blob;
        let (path, subject) = if is_blob {
            (blob_path(name, &descriptor.digest), Subject::RemoteBlob(repository.clone(), descriptor.digest))
        } else {
            let selector = Selector::Digest(descriptor.digest);
            (manifest_path(name, &selector), Subject::RemoteManifest(repository.clone(), selector))
        };
        let mut head = ask(Method::HEAD, &path, OPERATION, Access::Push(name), subject.clone());
        if !is_blob {
            head.headers = accept_manifests();
        }
        match self.wire.attempt(head).await? {
            Ok(answer) => Ok(answer.content_length().is_none_or(|size| size == descriptor.size)),
            // Not being able to tell is a reason to send it, and no more.
            Err(refusal)
                if matches!(refusal.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) =>
            {
                Ok(false)
            }
            Err(refusal) => Err(refusal.into_error(&self.wire.name(), OPERATION, subject)),
        }
    }

    /// An answer that says neither yes nor no, such as a refusal to read `from`, means that the blob has to be sent.
    async fn mount(&self, repository: &Repository, digest: &Digest, from: &Repository) -> Result<Mounted> {
        if from.registry != repository.registry || from == repository {
            return Ok(Mounted::No);
        }
        let name = self.name_of(repository)?;
        let path =
            format!("{}?mount={digest}&from={}", Endpoint::Uploads { repository: name.clone() }, from.name);
        let subject = Subject::RemoteBlob(repository.clone(), *digest);
        let access = Access::Mount { into: name, from: &from.name };
        let mut post = ask(Method::POST, &path, "mount a blob", access, subject);
        post.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let answer = match self.wire.ask(post).await {
            Ok(answer) => answer,
            Err(
                Error::Denied { .. }
                | Error::NotFound { .. }
                | Error::Unsupported { .. }
                | Error::Invalid { .. },
            ) => {
                return Ok(Mounted::No);
            }
            Err(error) => return Err(error),
        };
        if answer.status() == StatusCode::CREATED {
            return Ok(Mounted::Yes);
        }
        // It has begun an upload instead, which will do.
        self.keep_session(repository, digest, &answer).await;
        Ok(Mounted::No)
    }

    async fn upload(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        origin: Origin<'_>,
        progress: &Progress,
    ) -> Result<()> {
        self.upload_blob(repository, descriptor, origin, progress).await
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        tags: &[Tag],
        completeness: Completeness,
    ) -> Result<()> {
        let selectors: Vec<Selector> = if tags.is_empty() {
            vec![Selector::Digest(manifest.digest())]
        } else {
            tags.iter().cloned().map(Selector::Tag).collect()
        };
        for (position, selector) in selectors.iter().enumerate() {
            let answer = self.put_one(repository, manifest, selector, completeness).await?;
            let listed = answer.header(SUBJECT).is_some();
            if let Some(subject) = manifest.subject()
                && position == 0
                && !listed
            {
                self.note_referrer(repository, &subject.digest, manifest).await?;
            }
        }
        Ok(())
    }
}

impl Remote {
    async fn put_one(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        selector: &Selector,
        completeness: Completeness,
    ) -> Result<Response> {
        let name = self.name_of(repository)?;
        let subject = Subject::RemoteManifest(repository.clone(), selector.clone());
        let path = manifest_path(name, selector);
        let mut put = ask(Method::PUT, &path, STORE, Access::Push(name), subject.clone());
        // Media types are made of the characters that headers may have.
        if let Ok(media_type) = HeaderValue::from_str(manifest.media_type().as_str()) {
            put.headers.insert(header::CONTENT_TYPE, media_type);
        }
        put.body = Payload::Bytes(manifest.bytes().clone());
        let answer = match self.wire.attempt(put).await? {
            Ok(answer) => answer,
            Err(refusal) => return Err(self.not_stored(refusal, subject, completeness)),
        };
        let expected = manifest.digest();
        let said: Option<Digest> = answer.header(CONTENT_DIGEST).and_then(|digest| digest.parse().ok());
        match said.filter(|said| said.algorithm() == expected.algorithm()) {
            Some(actual) if actual != expected => {
                Err(Error::Integrity { expected, actual, origin: Some(self.wire.name()) })
            }
            _ => Ok(answer),
        }
    }

    /// Why a registry did not take a manifest.
    fn not_stored(&self, refusal: Refusal, subject: Subject, completeness: Completeness) -> Error {
        let origin = self.wire.name();
        let incomplete = matches!(
            refusal.code,
            Some(ErrorCode::ManifestBlobUnknown | ErrorCode::BlobUnknown | ErrorCode::ManifestUnknown)
        );
        let advice = match completeness {
            Completeness::Sparse if incomplete => "; copy all platforms, or one image by its digest",
            _ => "",
        };
        let reason = format!("{origin} does not take it: {}{advice}", refusal.words);
        match refusal.into_error(&origin, STORE, subject) {
            Error::NotFound { subject } | Error::Invalid { subject, .. } => {
                Error::Invalid { subject, reason }
            }
            error => error,
        }
    }

    /// Adds a manifest to the index of its subject's referrers, for a registry that keeps none (specification, "Referrers Tag Schema").
    /// Two clients that do so at once can lose one another's entry: the schema has no way around that.
    async fn note_referrer(
        &self,
        repository: &Repository,
        subject: &Digest,
        manifest: &Manifest,
    ) -> Result<()> {
        let selector = Selector::Tag(Tag::of_referrers(subject));
        let mut listed = match self.manifest(repository, &selector, MAX_MANIFEST_BYTES).await {
            Ok(index) => match index.view() {
                View::Index(index) => index.manifests.clone(),
                // Somebody's image, and not ours to replace.
                View::Image(_) => {
                    let subject = Subject::RemoteManifest(repository.clone(), selector.clone());
                    let reason = "an image stands where the list of referrers has to be kept".to_owned();
                    return Err(Error::Invalid { subject, reason });
                }
            },
            Err(Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        if listed.iter().any(|entry| entry.digest == manifest.digest()) {
            return Ok(());
        }
        listed.push(manifest.referrer_descriptor());
        let document = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_INDEX.as_str(),
            "manifests": listed,
        });
        let subject = || Subject::RemoteManifest(repository.clone(), selector.clone());
        let index = Manifest::parse(document.to_string().into(), Some(&MediaType::OCI_INDEX))
            .map_err(|error| Error::Invalid { subject: subject(), reason: error.to_string() })?;
        self.put_one(repository, &index, &selector, Completeness::Sparse).await.map(drop)
    }
}

/// Deleting at a registry.
impl Remote {
    /// Removes a tag, and what it names stays. Not every registry can.
    ///
    /// # Errors
    /// [`Unsupported`](Error::Unsupported) where only digests can be deleted.
    pub async fn delete_tag(&self, repository: &Repository, tag: &Tag) -> Result<()> {
        self.delete(repository, Selector::Tag(tag.clone()), "delete a tag").await
    }

    /// Removes a manifest, and with it *every* tag that names it.
    pub async fn delete_manifest(&self, repository: &Repository, digest: &Digest) -> Result<()> {
        self.delete(repository, Selector::Digest(*digest), "delete a manifest").await
    }

    async fn delete(
        &self,
        repository: &Repository,
        selector: Selector,
        operation: &'static str,
    ) -> Result<()> {
        let name = self.name_of(repository)?;
        let path = manifest_path(name, &selector);
        let subject = Subject::RemoteManifest(repository.clone(), selector);
        let delete: Ask<'_> = ask(Method::DELETE, &path, operation, Access::Delete(name), subject.clone());
        match self.wire.attempt(delete).await? {
            Ok(_) => Ok(()),
            // What a registry answers that takes digests only; but some refuse in this way whoever may not.
            Err(refusal) if refusal.status == StatusCode::BAD_REQUEST && !refusal.is_denial() => {
                Err(Error::Unsupported { what: operation })
            }
            Err(refusal) => Err(refusal.into_error(&self.wire.name(), operation, subject)),
        }
    }
}
