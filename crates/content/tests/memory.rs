//! The store in memory keeps the contract.

use std::sync::Arc;

use pier_content::{
    Memory,
    suite::{Harness, Stores},
};

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

#[tokio::test]
async fn resolved_names_are_remembered() {
    pier_content::suite::remembering::remembers_what_it_was_told(&Memory::default()).await;
}
