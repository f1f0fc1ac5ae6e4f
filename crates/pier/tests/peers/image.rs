//! Images as OCI layouts that skopeo and containerd read and write, and our own judge of what they hold.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use pier_testkit::image::BuiltImage;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::Blobs;

/// A folder in the OCI image layout.
pub(crate) struct Layout(TempDir);

impl Layout {
    /// An empty folder, for others to write to.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One image or index, under one name.
    pub(crate) fn of(image: &BuiltImage, name: &str) -> Self {
        let layout = Self::new();
        image.write_oci_layout(layout.path(), name).unwrap();
        layout
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The digest that stands under a name.
    pub(crate) fn named(&self, name: &str) -> String {
        let index: Value =
            serde_json::from_slice(&fs::read(self.path().join("index.json")).unwrap()).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        let entry = entries
            .iter()
            .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == name)
            .unwrap();
        entry["digest"].as_str().unwrap().to_owned()
    }

    /// As skopeo names it.
    pub(crate) fn source(&self, name: &str) -> String {
        format!("oci:{}:{name}", self.path().display())
    }

    /// Every blob in it, after checking that each is what its name says.
    #[track_caller]
    pub(crate) fn verified_blobs(&self) -> Blobs {
        verified_files(&self.path().join("blobs/sha256"))
    }
}

/// The digest of bytes, as our own judge of what peers give back.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("sha256:{hex}")
}

/// A folder of files that are called by their SHA-256 in hexadecimal; a file that is not what it is called fails the test.
#[track_caller]
pub(crate) fn verified_files(folder: &Path) -> Blobs {
    let is_digest = |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| is_digest(name))
        .map(|name| {
            let mut bytes = Vec::new();
            let size = fs::File::open(folder.join(&name)).unwrap().read_to_end(&mut bytes).unwrap();
            let found = digest(&bytes);
            assert_eq!(found, format!("sha256:{name}"));
            (found, size as u64)
        })
        .collect()
}
