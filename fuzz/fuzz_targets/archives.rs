//! Archives of images: whatever stands in a tar, it is read or refused, its blobs are what they are called, and nothing
//! is written beside it.

#![no_main]

use std::{io::Cursor, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use pier_content::Source as _;
use pier_layout::{ArchiveInput, DockerArchive, OciArchive, Spool};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());

/// Bytes that an archive may become when it is inflated.
const LIMIT: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let input = || ArchiveInput::Stream(Box::new(Cursor::new(data.to_vec())));
    let spool = || Spool { folder: folder.path().to_owned(), limit: LIMIT };
    RUNTIME.block_on(async {
        if let Ok(archive) = OciArchive::read(input(), spool()).await {
            for entry in archive.entries().await.expect("they were read once") {
                drop(entry);
            }
            if let Ok(reference) = archive.reference(None).await
                && let Ok(descriptor) = archive.resolve(&reference).await
            {
                assert!(descriptor.size <= LIMIT);
            }
        }
        if let Ok(archive) = DockerArchive::read(input(), spool()).await
            && let Ok(reference) = archive.reference(None).await
        {
            drop(archive.resolve(&reference).await);
        }
    });
    let left: Vec<_> = folder.path().read_dir().expect("the folder").collect();
    assert!(left.is_empty(), "something was left: {left:?}");
});
