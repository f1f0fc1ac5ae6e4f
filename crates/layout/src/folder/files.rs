//! Where a layout's files are.

use std::{fs::File, path::Path, sync::Arc};

use bytes::Bytes;
use pier_content::{Error, Result, Subject};
use pier_oci::{Algorithm, Digest};

use super::{BLOBS, INDEX_FILE, vanished};
use crate::{
    Entry,
    extent::Extent,
    index::{self, MAX_INDEX_BYTES},
    part::{Durability, Room, made},
    shelf::Holding,
    sys::{At as _, Folder},
};

/// The files of a layout.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) folder: Folder,
}

impl Files {
    /// The bytes of the index.
    pub(crate) fn index(&self) -> Result<Bytes> {
        let path = self.folder.path_of(INDEX_FILE);
        let file = self.folder.file(INDEX_FILE)?.ok_or_else(|| vanished(&path))?;
        read_whole(file, &path, MAX_INDEX_BYTES)
    }

    /// A blob's file, its size and its path.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<Option<(File, u64, std::path::PathBuf)>> {
        let Some(blobs) = self.folder.folder(BLOBS)? else { return Ok(None) };
        let Some(blobs) = blobs.folder(digest.algorithm().as_str())? else { return Ok(None) };
        let name = digest.hex();
        let path = blobs.path_of(&name);
        let Some(file) = blobs.file(&name)? else { return Ok(None) };
        let size = file.metadata().at("stat", &path)?.len();
        Ok(Some((file, size, path)))
    }

    /// What has a blob's name.
    pub(crate) fn blobs(&self) -> Result<Vec<Digest>> {
        let Some(blobs) = self.folder.folder(BLOBS)? else { return Ok(Vec::new()) };
        let mut digests = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let Some(folder) = blobs.folder(algorithm.as_str())? else { continue };
            digests.extend(
                folder
                    .entries()?
                    .iter()
                    .filter_map(|hex| format!("{algorithm}:{hex}").parse::<Digest>().ok()),
            );
        }
        Ok(digests)
    }
}

impl Room for Files {
    fn folder(&self) -> &Folder {
        &self.folder
    }

    fn place(&self, digest: &Digest, durability: Durability) -> Result<(Folder, String)> {
        let blobs = made(&self.folder, BLOBS, durability)?;
        Ok((made(&blobs, digest.algorithm().as_str(), durability)?, digest.hex()))
    }
}

impl Holding for Files {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn kind(&self) -> &'static str {
        "oci"
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        index::parse(self.index()?, &self.folder.path_of(INDEX_FILE))
    }

    fn find(&self, digest: &Digest) -> Result<Option<Extent>> {
        let found = self.blob(digest)?;
        Ok(found.map(|(file, size, path)| Extent::in_file(Arc::new(file), 0, size, path)))
    }
}

/// All bytes of a file that has at most `limit`.
pub(crate) fn read_whole(file: File, path: &Path, limit: u64) -> Result<Bytes> {
    let actual = file.metadata().at("stat", path)?.len();
    if actual > limit {
        let subject = Subject::File(path.to_owned());
        return Err(Error::Size { subject, expected: limit, actual, origin: None });
    }
    Extent::in_file(Arc::new(file), 0, actual, path.to_owned()).read(0..actual)
}
