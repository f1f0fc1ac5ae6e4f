//! The store in memory keeps the contract.

use std::sync::Arc;

use bytes::Bytes;
use pier_content::{
    BlobInfo, BlobStore, Catalog, Claim, Commit, Error, Ingest, IngestKey, Memory, Result,
    suite::{Harness, Stores},
};
use pier_oci::{Digest, RepositoryName};

struct InMemory(Arc<Memory>);

impl Harness for InMemory {
    fn fresh() -> Self {
        Self(Arc::default())
    }

    fn stores(&self) -> Stores {
        Stores::of(Arc::clone(&self.0))
    }

    fn reopened(self) -> Option<Self> {
        None
    }

    fn second(&self) -> Option<Stores> {
        None
    }
}

pier_content::blob_store_suite!(InMemory);
pier_content::catalog_suite!(InMemory);

/// The same store over another one.
mod over {
    use std::sync::Arc;

    use pier_content::{
        Memory,
        suite::{Harness, Stores},
    };

    struct OverAnother(Arc<Memory>);

    impl Harness for OverAnother {
        fn fresh() -> Self {
            Self(Arc::new(Memory::over(Arc::new(Memory::default()))))
        }

        fn stores(&self) -> Stores {
            Stores::of(Arc::clone(&self.0))
        }

        fn reopened(self) -> Option<Self> {
            None
        }

        fn second(&self) -> Option<Stores> {
            None
        }
    }

    pier_content::blob_store_suite!(OverAnother);
    pier_content::catalog_suite!(OverAnother);
}

/// Commits bytes under no name.
async fn keep(store: &Memory, bytes: &'static [u8]) -> Result<Digest> {
    let digest = Digest::sha256(bytes);
    let key = IngestKey::Blob { digest, size: Some(bytes.len() as u64) };
    let Ok(Ingest::Filling(filling)) = store.ingest(key).await else { panic!("it is there") };
    filling.write_at(0, vec![Bytes::from_static(bytes)]).await?;
    filling.commit(Commit { digest, link: None }).await?;
    Ok(digest)
}

async fn has(store: &Memory, digest: &Digest) -> Result<bool> {
    match store.open(digest).await {
        Ok(blob) => Ok(blob.digest == *digest),
        Err(Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[tokio::test]
async fn what_lies_below_is_shown_and_never_changed() {
    let below = Memory::default();
    let old = keep(&below, b"old").await.unwrap();
    let store = Memory::over(Arc::new(below.clone()));
    let repository: RepositoryName = "a".parse().unwrap();
    assert!(has(&store, &old).await.unwrap());
    assert_eq!(store.link(&repository, &old, Claim::Proven).await.unwrap(), 3);

    // It is there: nobody sends it again.
    let key = IngestKey::Blob { digest: old, size: Some(3) };
    assert!(matches!(store.ingest(key).await.unwrap(), Ingest::Present(_)));
    let new = keep(&store, b"newer").await.unwrap();
    assert!(!has(&below, &new).await.unwrap());
    let mut all = [BlobInfo { digest: old, size: 3 }, BlobInfo { digest: new, size: 5 }];
    all.sort_by_key(|blob| blob.digest);
    assert_eq!(store.walk(None, 9).await.unwrap(), all);
    assert_eq!(store.walk(None, 1).await.unwrap(), all[..1]);
    assert_eq!(store.walk(Some(&all[0].digest), 9).await.unwrap(), all[1..]);

    let in_use = store.delete(&old).await.unwrap_err();
    assert!(matches!(in_use, Error::InUse { .. }), "{in_use}");
    store.unlink(&repository, &old).await.unwrap();
    store.delete(&old).await.unwrap();
    assert!(!has(&store, &old).await.unwrap());
    assert_eq!(store.walk(None, 9).await.unwrap(), [BlobInfo { digest: new, size: 5 }]);
    assert!(has(&below, &old).await.unwrap());
    // And again from here.
    keep(&store, b"old").await.unwrap();
    assert!(has(&store, &old).await.unwrap());
}

#[tokio::test]
async fn resolved_names_are_remembered() {
    pier_content::suite::remembering::remembers_what_it_was_told(&Memory::default()).await;
}
