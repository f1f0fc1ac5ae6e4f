//! What container images are called, in types that are valid by construction. No I/O, no async.
//!
//! | module | is about |
//! |---|---|
//! | [`digest`] | content's identity, and the hashing that makes it |
//! | [`name`] | registries, repositories, tags |
//! | [`reference`](mod@reference) | what people type: `alpine`, `host:5000/app:1.2@sha256:…` |
//! | [`media_type`], [`platform`], [`descriptor`] | what content says about content |
//! | [`manifest`] | manifests and indexes: bytes, digest and a parsed view that refuses confusion |
//! | [`config`] | what an image's config says |
//! | [`session`] | upload sessions |
//! | [`wire`] | what client and server say over HTTP: paths, queries, errors, ranges, links, ETags, challenges |
//! | [`json`] | JSON that says the same to every reader |
//!
//! Everything here is parsed at the border; inside of Pier a `Digest` or a `Tag` is valid.

pub mod config;
pub mod descriptor;
pub mod digest;
mod excerpt;
pub mod json;
pub mod manifest;
pub mod media_type;
pub mod name;
pub mod platform;
pub mod reference;
pub mod session;
#[cfg(test)]
mod strategies;
pub mod wire;

pub use config::{ConfigError, ImageConfig, MAX_CONFIG_BYTES, RunConfig};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use manifest::{ChildKind, ImageManifest, Index, MAX_MANIFEST_BYTES, Manifest, ManifestError, View};
pub use media_type::{Kind, MediaType};
pub use name::{NameError, Registry, Repository, RepositoryName, Selector, Tag};
pub use platform::Platform;
pub use reference::{Reference, ReferenceError};
pub use session::SessionId;
