//! What an operator may choose about the API.

use std::{fmt, num::NonZeroUsize, time::Duration};

use pier_content::{Completeness, ImmutableTags};

/// What an operator may choose about the API. Start from [`Settings::new`] and change fields.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Makes and checks the ids of upload sessions. Every process that serves the same store needs the same.
    pub session_key: SessionKey,
    /// The longest manifest that is accepted, in bytes. The specification asks for 4 MiB at least.
    pub max_manifest_bytes: u64,
    /// The longest blob that is accepted, in bytes; no limit but the disk when `None`.
    pub max_blob_bytes: Option<u64>,
    /// How long a client that sends a body may send nothing before its connection is given up.
    /// What arrived of an upload is kept.
    pub idle_timeout: Duration,
    /// Requests with large bodies that are worked on at once; each takes about 2.4 MiB of memory. Further ones wait, for
    /// [`idle_timeout`](Self::idle_timeout) at most, and are then asked to come again.
    pub max_uploads: NonZeroUsize,
    /// Items on one page of a listing.
    pub pages: PageSizes,
    /// Whether a manifest's children have to be in its repository.
    pub completeness: Completeness,
    /// Tags that never move once they are there.
    pub immutable: ImmutableTags,
}

/// Items on one page of a listing.
#[derive(Clone, Copy, Debug)]
pub struct PageSizes {
    /// When the client does not say.
    pub default: usize,
    /// However many the client asks for.
    pub max: usize,
}

/// A secret that makes upload session ids which nobody else can make.
#[derive(Clone)]
pub struct SessionKey([u8; 32]);

impl Settings {
    /// The defaults: manifests of up to 4 MiB, blobs of any size, a minute of silence, 256 uploads at once, pages of
    /// 1000 and at most 10,000 items, complete manifests, tags that move.
    pub fn new(session_key: SessionKey) -> Self {
        Self {
            session_key,
            max_manifest_bytes: 4 << 20,
            max_blob_bytes: None,
            idle_timeout: Duration::from_mins(1),
            max_uploads: const { NonZeroUsize::new(256).unwrap() },
            pages: PageSizes { default: 1000, max: 10_000 },
            completeness: Completeness::Strict,
            immutable: ImmutableTags::default(),
        }
    }
}

impl SessionKey {
    /// A key from 32 bytes that were chosen at random once and kept.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}
