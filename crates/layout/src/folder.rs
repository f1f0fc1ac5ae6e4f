//! A folder in the OCI image layout, to read from and to write to.
//!
//! ```text
//! <folder>/oci-layout        {"imageLayoutVersion":"1.0.0"}
//!          index.json        what is listed; replaced as a whole, under the folder's lock
//!          blobs/<alg>/<hex> content; gets its name when it is verified and durable
//!          .pier/<alg>-<hex> content in the making; gone when nothing is
//! ```
//!
//! The folder belongs to other tools as well. What they listed and wrote into the index stays as it is; a blob that
//! they left is hashed before it counts as being there, and replaced when it is wrong.
//!
//! Changes hold a lock on the folder itself (flock), so that nothing is left behind by it. Tools that take no lock may
//! still overwrite the index at the same moment; their blobs are never in the way.

pub(crate) mod files;
mod target;

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use pier_content::{Error, Result};
use pier_oci::{Descriptor, Digest, Reference, Tag};

use self::files::Files;
use crate::{
    Entry, index,
    part::{Durability, SCRATCH, replace},
    shelf::{Shelf, source_from_shelf},
    sys::{At as _, Folder, Stamp, blocking, invalid},
};

/// What stands in `oci-layout`.
pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The file that makes a folder a layout.
pub(crate) const LAYOUT_FILE: &str = "oci-layout";

/// The file that lists what is there.
pub(crate) const INDEX_FILE: &str = "index.json";

/// The folder of the blobs.
pub(crate) const BLOBS: &str = "blobs";

/// Bytes that `oci-layout` may have.
pub(crate) const MAX_LAYOUT_BYTES: u64 = 64 << 10;

/// A folder in the OCI image layout. Cheap to clone.
///
/// A layout has no repositories: as a [`Source`](pier_content::Source) it looks for the selector alone. A digest names
/// any blob, listed or not; a tag names the entry that is called so, by its `org.opencontainers.image.ref.name` or by
/// the name that containerd gave it. The repository decides only between entries that share a tag.
/// [`reference`](Self::reference) turns what a user typed behind the path into a reference to ask with.
///
/// As a [`Target`](pier_content::Target) it lists a manifest that comes with tags, once for each, and one that has a
/// subject, so that referrers are found; others are only stored, as children are. What comes without a tag and is
/// to be found again is listed with [`list`](Self::list).
#[derive(Clone, Debug)]
pub struct OciLayout {
    shelf: Shelf,
    files: Files,
    durability: Durability,
    /// Blobs that were hashed and found right, as they were then.
    verified: Arc<Mutex<HashMap<Digest, Stamp>>>,
}

source_from_shelf!(OciLayout);

impl OciLayout {
    /// Opens a layout that is there.
    ///
    /// # Errors
    /// [`Invalid`](pier_content::Error::Invalid) when the folder is no layout of version 1, or its index is none.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        blocking(move || {
            let folder = Folder::open(&path)?;
            check_layout(&folder)?;
            Self::checked(folder, Durability::Durable)
        })
        .await
    }

    /// Opens a layout, or makes one of a folder that is empty or not there yet.
    ///
    /// # Errors
    /// [`Invalid`](pier_content::Error::Invalid) when the folder holds something else: it is not mixed with that.
    pub async fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        blocking(move || Self::create_now(&path, Durability::Durable)).await
    }

    pub(crate) fn create_now(path: &Path, durability: Durability) -> Result<Self> {
        fs::create_dir_all(path).at("make folder", path)?;
        let folder = Folder::open(path)?;
        {
            let _lock = folder.lock()?;
            if folder.file(LAYOUT_FILE)?.is_some() {
                check_layout(&folder)?;
            } else {
                let ours = [LAYOUT_FILE, INDEX_FILE, BLOBS, SCRATCH];
                let names = folder.entries()?;
                if let Some(name) = names.iter().find(|name| !ours.contains(&name.as_str())) {
                    let what = name.escape_debug();
                    return Err(invalid(
                        path,
                        format!("is no OCI layout and holds other things, such as `{what}`"),
                    ));
                }
                replace(&folder, &folder, LAYOUT_FILE, LAYOUT, durability)?;
            }
            if folder.file(INDEX_FILE)?.is_none() {
                replace(&folder, &folder, INDEX_FILE, index::EMPTY, durability)?;
            }
        }
        Self::checked(folder, durability)
    }

    fn checked(folder: Folder, durability: Durability) -> Result<Self> {
        let files = Files { folder };
        index::parse(files.index()?, &files.folder.path_of(INDEX_FILE))?;
        let shelf = Shelf::new(files.clone());
        Ok(Self { shelf, files, durability, verified: Arc::default() })
    }

    /// What the layout lists, in the order of its index.
    pub async fn entries(&self) -> Result<Vec<Entry>> {
        self.shelf.entries().await
    }

    /// What was typed behind the path, resolved to a digest: a tag, a whole reference, a digest, any name that the
    /// index has; without a name the one image that there is.
    ///
    /// # Errors
    /// [`NoSuchImage`](pier_content::Error::NoSuchImage) and [`Ambiguous`](pier_content::Error::Ambiguous), which
    /// list what there is.
    pub async fn reference(&self, name: Option<&str>) -> Result<Reference> {
        self.shelf.reference(name).await
    }

    /// Lists a manifest that is there without giving it a name, unless it is listed already.
    pub async fn list(&self, descriptor: &Descriptor) -> Result<()> {
        self.add(descriptor.clone(), Vec::new()).await
    }

    /// The index as it is. Waits for the disk.
    pub(crate) fn index(&self) -> Result<Bytes> {
        self.files.index()
    }

    /// The blobs that are there, whatever they are. Waits for the disk.
    pub(crate) fn blobs(&self) -> Result<Vec<Digest>> {
        self.files.blobs()
    }

    /// Lists a manifest under each of the tags, in place of what has them; without tags it is only listed.
    async fn add(&self, descriptor: Descriptor, tags: Vec<Tag>) -> Result<()> {
        let (files, durability) = (self.files.clone(), self.durability);
        blocking(move || {
            let folder = &files.folder;
            let _lock = folder.lock()?;
            let path = folder.path_of(INDEX_FILE);
            let index = index::with(&files.index()?, &descriptor, &tags, &path)?;
            replace(folder, folder, INDEX_FILE, &index, durability)
        })
        .await
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Stamp>> {
        // An insertion is all that happens under it.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a folder that does not say that it is a layout of a version that is read here.
fn check_layout(folder: &Folder) -> Result<()> {
    let path = folder.path_of(LAYOUT_FILE);
    let Some(file) = folder.file(LAYOUT_FILE)? else {
        return Err(invalid(folder.path(), "is no OCI layout: it has no `oci-layout`"));
    };
    let bytes = files::read_whole(file, &path, MAX_LAYOUT_BYTES)?;
    check_version(&bytes, &path)
}

/// Refuses an `oci-layout` of another major version.
pub(crate) fn check_version(bytes: &Bytes, path: &Path) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Layout {
        #[serde(rename = "imageLayoutVersion")]
        version: String,
    }
    let Layout { version } = serde_json::from_slice(bytes)
        .map_err(|error| invalid(path, format!("is not what makes a layout: {error}")))?;
    if version.split('.').next() == Some("1") {
        return Ok(());
    }
    let version: String = version.chars().take(80).collect();
    Err(invalid(path, format!("is of layout version `{}` and not 1", version.escape_debug())))
}

/// What a folder lacks that was there a moment ago.
pub(crate) fn vanished(path: &Path) -> Error {
    Error::io("open", path, io::ErrorKind::NotFound.into())
}
