//! An OCI layout in a tar, to read from.
//!
//! The archive is never unpacked to the disk: its members are found by one pass over the headers, and read from
//! where they are. Order does not matter, so archives of any tool will do.

pub(crate) mod input;
pub(crate) mod members;
pub(crate) mod output;
pub(crate) mod writer;

use std::path::Path;

use bytes::Bytes;
use pier_content::{Result, Subject};
use pier_oci::{Digest, Reference};

use self::{
    input::{ArchiveInput, Spool},
    members::{Links, Members},
};
use crate::{
    Entry,
    extent::Extent,
    folder::{BLOBS, INDEX_FILE, LAYOUT_FILE, MAX_LAYOUT_BYTES, check_version},
    index::{self, MAX_INDEX_BYTES},
    shelf::{Holding, Shelf, source_from_shelf},
    sys::{blocking, invalid},
};

/// An OCI layout in a tar: `skopeo copy … oci-archive:`, `docker buildx build -o type=oci`, `ctr image export`, and
/// `docker save` since Docker 25. Cheap to clone.
///
/// As a [`Source`](pier_content::Source) it looks for images as [`OciLayout`](crate::OciLayout) does.
#[derive(Clone, Debug)]
pub struct OciArchive {
    shelf: Shelf,
}

source_from_shelf!(OciArchive);

impl OciArchive {
    /// Reads an archive, which may be compressed with gzip. A stream is read to its end.
    ///
    /// # Errors
    /// [`Invalid`](pier_content::Error::Invalid) when it is no tar, holds what an archive of images never holds
    /// (absolute names, `..`, links, devices, names that come twice), or is no layout.
    pub async fn read(input: ArchiveInput, spool: Spool) -> Result<Self> {
        blocking(move || {
            let (file, path) = input.into_file(&spool)?;
            let layout = Packed { members: Members::read(file, &path, Links::Refused)? };
            layout.check()?;
            layout.entries()?;
            Ok(Self { shelf: Shelf::new(layout) })
        })
        .await
    }

    /// What the archive lists, in the order of its index.
    pub async fn entries(&self) -> Result<Vec<Entry>> {
        self.shelf.entries().await
    }

    /// What was typed behind the path, resolved to a digest, as [`OciLayout::reference`](crate::OciLayout::reference)
    /// does.
    pub async fn reference(&self, name: Option<&str>) -> Result<Reference> {
        self.shelf.reference(name).await
    }
}

/// A layout in a tar.
#[derive(Debug)]
struct Packed {
    members: Members,
}

impl Packed {
    fn check(&self) -> Result<()> {
        let Some(layout) = self.members.file(LAYOUT_FILE)? else {
            let docker = self.members.file(crate::docker::MANIFEST_FILE)?.is_some();
            let hint = if docker { "; it can be read as `docker-archive:`" } else { "" };
            return Err(invalid(self.path(), format!("is no OCI layout: it has no `{LAYOUT_FILE}`{hint}")));
        };
        let path = self.members.path_of(LAYOUT_FILE);
        check_version(&document(&layout, MAX_LAYOUT_BYTES, &path)?, &path)
    }
}

impl Holding for Packed {
    fn path(&self) -> &Path {
        self.members.path()
    }

    fn kind(&self) -> &'static str {
        "oci-archive"
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let path = self.members.path_of(INDEX_FILE);
        let missing = || invalid(self.path(), format!("is no OCI layout: it has no `{INDEX_FILE}`"));
        let index = self.members.file(INDEX_FILE)?.ok_or_else(missing)?;
        index::parse(document(&index, MAX_INDEX_BYTES, &path)?, &path)
    }

    fn find(&self, digest: &Digest) -> Result<Option<Extent>> {
        self.members.file(&blob_name(digest))
    }
}

/// Where a blob stands in a layout.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("{BLOBS}/{}/{}", digest.algorithm(), digest.hex())
}

/// A small member, whole.
pub(crate) fn document(extent: &Extent, limit: u64, path: &Path) -> Result<Bytes> {
    extent.read_all(limit, || Subject::File(path.to_owned()))
}
