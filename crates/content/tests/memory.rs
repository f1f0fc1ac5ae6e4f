//! The store in memory keeps the contract.

use std::{sync::Arc, time::Duration};

use pier_content::{
    BlobStore as _, Error, IngestKey, Memory,
    suite::{Harness, Stores},
};
use pier_oci::SessionId;

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

#[tokio::test(start_paused = true)]
async fn a_held_session_is_busy_after_a_bounded_wait() {
    let store = Memory::default();
    let session = SessionId::from_bits(1);
    let held = store.ingest(IngestKey::NewUpload(session)).await.unwrap();
    match store.ingest(IngestKey::Upload(session)).await {
        Err(Error::Busy { waited, .. }) => assert_eq!(waited, Duration::from_secs(5)),
        other => panic!("{other:?}"),
    }
    drop(held);
    store.ingest(IngestKey::Upload(session)).await.unwrap();
}
