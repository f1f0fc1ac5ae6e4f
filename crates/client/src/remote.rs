//! One registry as a place to read from and to write to.

mod listing;
mod ranges;
mod sending;
mod source;
mod target;
mod upload;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, header};
use pier_content::{Error, Result, Subject};
use pier_oci::{Digest, MediaType, Registry, Repository, RepositoryName, Selector, wire::Endpoint};

pub use self::listing::Greeting;
use crate::{
    UploadSessions,
    transport::Payload,
    wire::{Access, Ask, Target, Wire},
};

/// A registry itself: every call makes one attempt. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Remote {
    wire: Arc<Wire>,
    sessions: Arc<dyn UploadSessions>,
}

impl Remote {
    pub(crate) fn new(wire: Arc<Wire>, sessions: Arc<dyn UploadSessions>) -> Self {
        Self { wire, sessions }
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        self.wire.registry()
    }

    /// A mistaken caller must not send one registry's names, let alone its credentials, to another.
    fn name_of<'a>(&self, repository: &'a Repository) -> Result<&'a RepositoryName> {
        if repository.registry == *self.wire.registry() {
            return Ok(&repository.name);
        }
        Err(Error::Invalid {
            subject: Subject::RemoteRepository(repository.clone()),
            reason: format!("it is not at `{}`", self.wire.registry()),
        })
    }
}

/// A question without a body.
fn ask<'a>(
    method: Method,
    path: &'a str,
    operation: &'static str,
    access: Access<'a>,
    subject: Subject,
) -> Ask<'a> {
    let (target, body, patience) = (Target::Path(path), Payload::Empty, Duration::ZERO);
    Ask { method, target, headers: HeaderMap::new(), body, access, operation, subject, patience }
}

fn manifest_path(repository: &RepositoryName, selector: &Selector) -> String {
    Endpoint::Manifest { repository: repository.clone(), selector: selector.clone() }.to_string()
}

fn blob_path(repository: &RepositoryName, digest: &Digest) -> String {
    Endpoint::Blob { repository: repository.clone(), digest: *digest }.to_string()
}

/// Every type of manifest that is understood. A registry that is not told converts to what nobody wants.
fn accept_manifests() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for media_type in &MediaType::MANIFESTS {
        // Media types are made of the characters that headers may have.
        if let Ok(value) = HeaderValue::from_str(media_type.as_str()) {
            headers.append(header::ACCEPT, value);
        }
    }
    headers
}
