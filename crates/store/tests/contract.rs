//! The store on disk keeps the contract.

#![expect(clippy::unwrap_used, reason = "a folder or a store that cannot be made ends the test")]

use std::{sync::Arc, time::Duration};

use pier_content::{
    NameCache,
    suite::{Harness, Stores},
};
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

#[tokio::test]
async fn resolved_names_are_remembered() {
    use pier_content::suite::remembering::remembers_what_it_was_told;
    let OnDisk { store, folder } = OnDisk::fresh();
    remembers_what_it_was_told(&*store).await;
    // Another process knows them at once.
    let name: pier_oci::Reference = "a.example/app:2".parse().unwrap();
    let tag = pier_content::RemoteTag { repository: name.repository, tag: name.tag.unwrap() };
    let known = NameCache::get_many(&*open(&folder), &[tag]).await.unwrap();
    assert_eq!(known[0].as_ref().unwrap().descriptor.digest, pier_oci::Digest::sha256(b"second"));
}
