//! The folders of committed blobs.

use std::{fs::File, path::PathBuf};

use pier_content::{Error, Result};
use pier_oci::{Algorithm, Digest};
use rustix::io::Errno;

use crate::{
    data_dir::{ALGORITHMS, DataDir},
    sys::{self, Lookup},
};

/// Open folders, so that a blob is found by one look-up relative to them.
#[derive(Debug)]
pub(crate) struct Blobs {
    folders: [File; ALGORITHMS.len()],
    dir: DataDir,
}

impl Blobs {
    pub(crate) fn open_folders(dir: &DataDir) -> Result<Self> {
        let [sha256, sha512] = ALGORITHMS.map(|algorithm| sys::open_folder(&dir.blobs(algorithm)));
        Ok(Self { folders: [sha256?, sha512?], dir: dir.clone() })
    }

    /// Opens a blob's file. `NotFound` when there is none.
    pub(crate) fn open(&self, digest: &Digest) -> Result<File> {
        sys::open_blob(self.folder(digest.algorithm()), &digest.hex(), Lookup::Blocking).map_err(|error| {
            match error {
                Errno::NOENT => Error::blob_not_found(*digest),
                other => Error::io("open", self.path(digest), other.into()),
            }
        })
    }

    /// Opens a blob's file if that needs no disk.
    pub(crate) fn open_cached(&self, digest: &Digest) -> Option<File> {
        sys::open_blob(self.folder(digest.algorithm()), &digest.hex(), Lookup::Cached).ok()
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.blob(digest)
    }

    fn folder(&self, algorithm: Algorithm) -> &File {
        match algorithm {
            Algorithm::Sha256 => &self.folders[0],
            Algorithm::Sha512 => &self.folders[1],
        }
    }
}
