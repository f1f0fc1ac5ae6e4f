//! What is hashed while it arrives.

use std::sync::Arc;

use bytes::Bytes;
use pier_content::{Commit, Filling, Ingest, IngestKey};
use pier_oci::{Algorithm, Digest, SessionId};

use super::{
    Join, PartTable,
    table::{Joined, PartKey},
};
use crate::{Store, StoreOptions};

fn session() -> SessionId {
    SessionId::from_bits(1)
}

/// A store whose upload sessions are looked into.
struct Uploads {
    store: Store,
    parts: Arc<PartTable>,
    _folder: tempfile::TempDir,
}

impl Uploads {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
        Self { store, parts: Arc::default(), _folder: folder }
    }

    async fn open(&self, key: IngestKey) -> Box<dyn Filling> {
        let join = Join { context: &self.store.context, parts: &self.parts };
        let ingest = match key {
            IngestKey::NewUpload(session) => join.new_upload(session).await,
            IngestKey::Upload(session) => join.upload(session).await,
            IngestKey::Blob { digest, size } => join.blob(digest, size).await,
        };
        match ingest.unwrap() {
            Ingest::Filling(filling) => filling,
            other => panic!("{other:?}"),
        }
    }

    /// With what the session that is held is hashed, and how many of its bytes are.
    fn hashed(&self) -> (Algorithm, u64) {
        match self.parts.join(&PartKey::Upload(session()), None) {
            Joined::Existing(shared) => {
                let state = shared.state();
                let hashing = state.hashing.as_ref().unwrap();
                (hashing.algorithm(), hashing.position())
            }
            Joined::New(_) => panic!("nobody holds it"),
        }
    }
}

#[tokio::test]
async fn an_upload_is_hashed_once_with_the_algorithm_that_was_announced() {
    let uploads = Uploads::new();
    let content = Bytes::from(vec![7; 100_000]);
    uploads.open(IngestKey::NewUpload(session())).await.hash_as(Algorithm::Sha512);
    // The requests that follow need not say it again.
    let filling = uploads.open(IngestKey::Upload(session())).await;
    filling.write_at(0, vec![content.slice(..60_000)]).await.unwrap();
    assert_eq!(uploads.hashed(), (Algorithm::Sha512, 60_000));
    drop(filling);
    let filling = uploads.open(IngestKey::Upload(session())).await;
    // What is under way goes on, whatever is said then.
    filling.hash_as(Algorithm::Sha256);
    filling.write_at(60_000, vec![content.slice(60_000..)]).await.unwrap();
    // All of it, so that the commit reads nothing again.
    assert_eq!(uploads.hashed(), (Algorithm::Sha512, 100_000));
    let digest = Digest::of(Algorithm::Sha512, &content);
    filling.commit(Commit { digest, link: None }).await.unwrap();
}

#[tokio::test]
async fn a_session_without_a_byte_takes_the_algorithm_of_its_last_request() {
    let uploads = Uploads::new();
    drop(uploads.open(IngestKey::NewUpload(session())).await);
    let filling = uploads.open(IngestKey::Upload(session())).await;
    assert_eq!(uploads.hashed(), (Algorithm::Sha256, 0));
    filling.hash_as(Algorithm::Sha512);
    filling.write_at(0, vec![Bytes::from_static(b"content")]).await.unwrap();
    assert_eq!(uploads.hashed(), (Algorithm::Sha512, 7));
    filling.reset().await.unwrap();
    assert_eq!(uploads.hashed(), (Algorithm::Sha512, 0));
}
