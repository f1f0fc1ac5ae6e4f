//! The store on disk keeps the contract.

#![expect(clippy::unwrap_used, reason = "a folder or a store that cannot be made ends the test")]

use std::{sync::Arc, time::Duration};

use pier_content::suite::{Harness, Stores};
use pier_store::{Store, StoreOptions};
use tempfile::TempDir;

struct OnDisk {
    store: Arc<Store>,
    folder: TempDir,
}

fn open(folder: &TempDir) -> Arc<Store> {
    let options = StoreOptions { writer_wait: Duration::from_millis(100), ..StoreOptions::default() };
    Arc::new(Store::open(folder.path(), options).unwrap())
}

impl Harness for OnDisk {
    fn fresh() -> Self {
        let folder = TempDir::new().unwrap();
        Self { store: open(&folder), folder }
    }

    fn stores(&self) -> Stores {
        Stores::of(Arc::clone(&self.store))
    }

    fn reopened(self) -> Option<Self> {
        let Self { store, folder } = self;
        drop(store);
        Some(Self { store: open(&folder), folder })
    }

    fn second(&self) -> Option<Stores> {
        Some(Stores::of(open(&self.folder)))
    }
}

pier_content::blob_store_suite!(OnDisk);
pier_content::catalog_suite!(OnDisk);
