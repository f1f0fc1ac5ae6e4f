//! The data folder: where everything lies, and whether this binary may touch it.

use std::{
    fs::{self, DirBuilder},
    io::{ErrorKind, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use pier_content::Error;
use pier_oci::{Algorithm, Digest, SessionId};

use crate::sys::{self, At as _};

/// The format that this binary writes. It reads this one and every older one.
const VERSION: u32 = 1;

/// The version file while it is written, with the process's id behind it.
const NEW_VERSION: &str = "version.new-";

/// Both algorithms that a blob can be filed under.
pub(crate) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A newer Pier has written it.
    #[error("`{}` holds data of format {found}, this version of Pier knows formats up to {VERSION}", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// There is something, but not a data folder of Pier.
    #[error("`{}` is not a data folder of Pier: {reason}", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What is odd about it.
        reason: String,
    },
    /// It cannot be read or written.
    #[error("cannot use `{}` as data folder", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Error,
    },
}

impl OpenError {
    /// Advice for a person, apart from the message.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Newer { .. } => "use the newer Pier, or name another folder with --data",
            Self::Foreign { .. } => "name an empty or new folder with --data",
            Self::Unusable { source: Error::StorageFull { .. }, .. } => "free some space on that disk",
            Self::Unusable { .. } => "check that the folder can be written, or name another one with --data",
        }
    }
}

/// Paths in the data folder. Made only from parsed names, never from what a client sent.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
}

/// Tells the folders apart that this process makes at once.
static OPENED: AtomicU32 = AtomicU32::new(0);

impl DataDir {
    /// Makes the folders that are missing and checks the format.
    pub(crate) fn open(root: &Path) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Unusable { path: root.to_owned(), source };
        make_durably(root).map_err(unusable)?;
        let root = root.canonicalize().at("find", root).map_err(unusable)?;
        let dir = Self { root };
        let mut version = dir.read_version()?;
        if version.is_none()
            && let Err(foreign) = dir.refuse_foreign()
        {
            // Another process may have made the folder between the two looks, and begun to use it.
            version = Some(dir.read_version()?.ok_or(foreign)?);
        }
        match version {
            Some(found) if found > VERSION => Err(OpenError::Newer { path: dir.root, found }),
            _ => {
                dir.make_folders().map_err(unusable)?;
                Ok(dir)
            }
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn catalog(&self) -> PathBuf {
        self.root.join("catalog.sqlite")
    }

    pub(crate) fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("blobs").join(algorithm.as_str())
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.hex())
    }

    pub(crate) fn parts(&self) -> PathBuf {
        self.root.join("parts")
    }

    pub(crate) fn part(&self, digest: &Digest) -> PathBuf {
        self.parts().join(format!("{}-{}", digest.algorithm().as_str(), digest.hex()))
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(crate) fn upload(&self, session: &SessionId) -> PathBuf {
        self.uploads().join(session.to_string())
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    fn version(&self) -> PathBuf {
        self.root.join("version")
    }

    fn read_version(&self) -> Result<Option<u32>, OpenError> {
        let path = self.version();
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(version) => Ok(Some(version)),
                Err(_) => Err(OpenError::Foreign {
                    path: self.root.clone(),
                    reason: format!("its version file holds `{}`", text.trim().escape_debug()),
                }),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(OpenError::Unusable { path: self.root.clone(), source: Error::io("read", path, error) })
            }
        }
    }

    /// A folder without a version is either new, or half-made by a crash, or somebody else's.
    fn refuse_foreign(&self) -> Result<(), OpenError> {
        let unusable = |source| OpenError::Unusable { path: self.root.clone(), source };
        for entry in fs::read_dir(&self.root).at("read folder", &self.root).map_err(unusable)? {
            let name = entry.at("read folder", &self.root).map_err(unusable)?.file_name();
            let ours = ["blobs", "parts", "uploads", "trash", "pushes", "approvals", "lost+found"];
            let half_made = name.to_string_lossy().starts_with(NEW_VERSION);
            if !half_made && !ours.iter().any(|known| name == *known) {
                return Err(OpenError::Foreign {
                    path: self.root.clone(),
                    reason: format!("it has no version file but holds `{}`", name.display()),
                });
            }
        }
        Ok(())
    }

    /// The version is written last: while it is missing, the folder is known to hold nothing that matters.
    fn make_folders(&self) -> Result<(), Error> {
        for folder in ["blobs", "parts", "uploads", "trash"] {
            sys::ensure_folder(&self.root.join(folder))?;
        }
        for algorithm in ALGORITHMS {
            sys::ensure_folder(&self.blobs(algorithm))?;
        }
        let version = self.version();
        if version.exists() {
            return Ok(());
        }
        sys::sync_folder(&self.root.join("blobs"))?;
        // A process that made this folder may have been killed before it could do so.
        if let Some(above) = self.root.parent() {
            sync_names(above)?;
        }
        // Several may open a new folder at once, also of one process; each renames its own file, and all say the same.
        let (process, opened) = (std::process::id(), OPENED.fetch_add(1, Ordering::Relaxed));
        let new = self.root.join(format!("{NEW_VERSION}{process}-{opened}"));
        let mut file = fs::File::create(&new).at("create", &new)?;
        writeln!(file, "{VERSION}").at("write", &new)?;
        file.sync_all().at("sync", &new)?;
        fs::rename(&new, &version).at("rename", &version)?;
        sys::sync_folder(&self.root)
    }
}

/// Makes a folder and those above it that are missing. Each is durable in the one above: else a power loss could
/// take the whole store, however well everything in it was synced.
///
/// Only the owner can enter: it holds the secrets of the store, and what repositories hide from each other.
fn make_durably(path: &Path) -> Result<(), Error> {
    let above = match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => return Ok(()),
    };
    let create = || DirBuilder::new().mode(0o700).create(path);
    let mut made = create();
    if made.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        make_durably(above)?;
        made = create();
    }
    match made {
        Ok(()) => sync_names(above),
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(Error::io("make folder", path, error)),
    }
}

/// Makes durable what a folder names. One that may be written and not read cannot be synced, and is left to its
/// file system.
fn sync_names(folder: &Path) -> Result<(), Error> {
    match sys::sync_folder(folder) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => Ok(()),
        outcome => outcome,
    }
}
