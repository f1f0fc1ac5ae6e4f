//! What is asked of a store after its disk was broken.

use std::{collections::BTreeSet, fs, path::Path};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use pier_content::{BlobStore as _, ByteRange, Catalog as _, Error, Subject};
use pier_oci::{ChildKind, Digest, Selector};
use pier_store::{Depth, Leases, Repair, Store};

use crate::{
    ledger::{Ledger, Name, Shown},
    work::repository,
};

/// That every name shows what was acknowledged, and one whose change was cut off the old or the new.
pub(crate) async fn everything_acknowledged_is_there(store: &Store, ledger: &Ledger) {
    for (name, allowed) in ledger.entries() {
        let shown = shown(store, &name).await;
        assert!(
            allowed.contains(&shown),
            "{name:?} shows {:?} bytes, and may show {:?}",
            shown.map(|bytes| bytes.len()),
            allowed.iter().map(|shown| shown.as_ref().map(Bytes::len)).collect::<Vec<_>>()
        );
    }
}

/// That everything in the store is what its name says.
pub(crate) async fn all_is_well(store: &Store) {
    let report = store.fsck(Depth::Hashes, Repair::No).await.unwrap();
    assert_eq!(report.findings, [], "a check of everything");
}

/// That a collection leaves files with rows, rows with files, whole images, and nothing else.
pub(crate) async fn nothing_is_left_over(store: &Store, path: &Path, ledger: &Ledger) {
    store.collect(Leases::Ignore).await.unwrap();
    let rows: BTreeSet<String> =
        store.walk(None, usize::MAX).await.unwrap().iter().map(|blob| blob.digest.to_string()).collect();
    let mut files = BTreeSet::new();
    for algorithm in ["sha256", "sha512"] {
        for file in fs::read_dir(path.join("blobs").join(algorithm)).unwrap() {
            files.insert(format!("{algorithm}:{}", file.unwrap().file_name().display()));
        }
    }
    assert_eq!(files, rows, "files and rows after a collection");
    assert_eq!(fs::read_dir(path.join("trash")).unwrap().count(), 0, "files in the trash");
    for (name, _) in ledger.entries() {
        if let Name::Manifest(of, digest) = name {
            image_is_whole(store, &of, &digest).await;
        }
    }
    all_is_well(store).await;
}

/// That what a manifest names is there, if the manifest is.
async fn image_is_whole(store: &Store, of: &str, digest: &str) {
    let selector = Selector::Digest(digest.parse().unwrap());
    let manifest = match store.resolve(&repository(of), &selector).await {
        Err(Error::NotFound { .. }) => return,
        found => found.unwrap(),
    };
    for (kind, child) in manifest.children() {
        assert_ne!(kind, ChildKind::Manifest, "no index is among these images");
        let name = Name::blob(&repository(of), &child.digest);
        let bytes = shown(store, &name).await.unwrap();
        assert_eq!(Digest::sha256(&bytes), child.digest);
    }
}

async fn shown(store: &Store, name: &Name) -> Shown {
    let (of, selector) = match name {
        Name::Blob(of, digest) => return blob(store, of, digest.parse().unwrap()).await,
        Name::Manifest(of, digest) => (of, Selector::Digest(digest.parse().unwrap())),
        Name::Tag(of, tag) => (of, Selector::Tag(tag.parse().unwrap())),
    };
    match store.resolve(&repository(of), &selector).await {
        Ok(manifest) => Some(manifest.bytes().clone()),
        Err(Error::NotFound { subject: Subject::Manifest(..) }) => None,
        Err(error) => panic!("{name:?}: {error:?}"),
    }
}

async fn blob(store: &Store, of: &str, digest: Digest) -> Shown {
    let size = store.linked(&repository(of), &digest).await.unwrap()?;
    let blob = store.open(&digest).await.unwrap();
    let bytes: Vec<Bytes> = blob.read(ByteRange::ALL).await.unwrap().try_collect().await.unwrap();
    let bytes = bytes.concat();
    assert_eq!(bytes.len() as u64, size);
    Some(bytes.into())
}
