//! What was built as an OCI layout, which skopeo, containerd and others read.

use std::fs;
use std::io;
use std::path::Path;

use pier_oci::Digest;
use serde_json::json;

use super::{BuiltImage, Content};

impl BuiltImage {
    /// Writes it into a folder in the OCI image layout, which is made when it is not there, and makes it the one thing in `index.json`,
    /// under a name that skopeo and containerd both understand. Blobs that are there from before stay.
    pub fn write_oci_layout(&self, folder: &Path, name: &str) -> io::Result<()> {
        for blob in &self.blobs {
            let path = place(folder, &blob.descriptor.digest)?;
            match &blob.content {
                Content::Memory(bytes) => fs::write(path, bytes)?,
                // The file is private to whoever made it; the copy is for all.
                Content::File(from) => {
                    io::copy(&mut fs::File::open(&**from)?, &mut fs::File::create(path)?)?;
                }
            }
        }
        for manifest in &self.manifests {
            fs::write(place(folder, &manifest.descriptor.digest)?, &manifest.bytes)?;
        }
        let mut root = self.root.clone();
        for key in ["org.opencontainers.image.ref.name", "io.containerd.image.name"] {
            root.annotations.insert(key.to_owned(), name.to_owned());
        }
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        fs::write(folder.join("index.json"), json!({ "schemaVersion": 2, "manifests": [root] }).to_string())
    }
}

fn place(folder: &Path, digest: &Digest) -> io::Result<std::path::PathBuf> {
    let blobs = folder.join("blobs").join(digest.algorithm().as_str());
    fs::create_dir_all(&blobs)?;
    Ok(blobs.join(digest.hex()))
}
