//! Lists of approved digests on disk.
//!
//! ```text
//! <data>/approvals/<hash of the key>     the version that was accepted last
//! ```
//!
//! A list that is signed has a version, and one that was accepted is never followed by an older one: the version is written down before
//! anything is done with the list. Whoever can put an old list in the place of a new one must not be able to write there, so that folder is
//! the data folder and not the list's own. It is the key whose versions are remembered, so a key is for one list only: the same list under
//! another path, or another spelling of its path, is no older for that.
//!
//! Folders are locked and not files, since each change puts a new file in the place of the old one.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use pier_content::{
    Accepted, ApprovedError, ApprovedList,
    approved::{MAX_APPROVED_BYTES, PublicKey, SigningKey},
};
use pier_oci::Digest;

use crate::failure::{Failure, Status};

/// Bytes of a key that are read.
const KEY_BYTES: u64 = 16 << 10;

/// How long somebody else may change a list before it is given up. They write a small file or two.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether they are done; nothing tells.
const LOOKING: Duration = Duration::from_millis(20);

/// Who may read a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner.
    Owner,
    /// Everybody, as far as the process's mask lets them.
    All,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::All => 0o666,
        }
    }
}

impl From<ApprovedError> for Failure {
    fn from(error: ApprovedError) -> Self {
        let status = match &error {
            error if error.is_distrust() => Status::Denied,
            ApprovedError::NoneInForce { .. } | ApprovedError::NotListed { .. } => Status::No,
            _ => Status::Usage,
        };
        let one_list = matches!(error, ApprovedError::Forked { .. } | ApprovedError::RolledBack { .. });
        let failure = Self::new(status, error.into());
        if one_list { failure.with_hint("a key is for one list only") } else { failure }
    }
}

/// Reads a list; `None` when there is no such file, which is something else than one that cannot be read.
pub(crate) fn read(file: &Path) -> Result<Option<ApprovedList>, Failure> {
    let Some(bytes) = bytes(file, MAX_APPROVED_BYTES)? else { return Ok(None) };
    let list = ApprovedList::parse(&bytes);
    list.map(Some).map_err(|error| Failure::from(error).within(&format!("`{}`", file.display())))
}

/// Reads a list that has to be there.
pub(crate) fn read_existing(file: &Path) -> Result<ApprovedList, Failure> {
    read(file)?.ok_or_else(|| missing(file))
}

/// Reads the key that signatures are checked with.
pub(crate) fn public_key(file: &Path) -> Result<PublicKey, Failure> {
    PublicKey::from_pem(&key_text(file)?).map_err(|error| within(error, file))
}

/// Reads the key that is signed with.
pub(crate) fn signing_key(file: &Path) -> Result<SigningKey, Failure> {
    SigningKey::from_pem(&key_text(file)?).map_err(|error| within(error, file))
}

/// Checks who signed a list, and that it is no older than the one that was accepted last. Where it waits, nobody else has to.
///
/// # Errors
/// When it is not to be trusted, and when its version cannot be remembered: what could be rolled back later is not accepted now.
pub(crate) async fn accept(list: &ApprovedList, key: &PublicKey, data: &Path) -> Result<Accepted, Failure> {
    let (list, key, data) = (list.clone(), key.clone(), data.to_owned());
    let accepted = tokio::task::spawn_blocking(move || accept_blocking(&list, &key, &data)).await;
    accepted.context("cannot check the list of approved digests")?
}

fn accept_blocking(list: &ApprovedList, key: &PublicKey, data: &Path) -> Result<Accepted, Failure> {
    let folder = data.join("approvals");
    let state = folder.join(Digest::sha256(key.to_string().as_bytes()).hex());
    let cannot = || "cannot remember the version of the list of approved digests";
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(cannot)?;
    let _lock = Lock::of(&folder, PATIENCE)?;
    let before = match bytes(&state, KEY_BYTES)? {
        Some(bytes) => Some(serde_json::from_slice::<Accepted>(&bytes).map_err(|error| {
            let error = anyhow!(error).context(format!("`{}` is damaged", state.display()));
            // Taken for nothing, it would let any older list pass.
            Failure::new(Status::Denied, error)
        })?),
        None => None,
    };
    let accepted = list.accept(key, before.as_ref())?;
    if before.as_ref() != Some(&accepted) {
        let text = serde_json::to_vec(&accepted).with_context(cannot)?;
        write(&state, &text, Readers::Owner).with_context(cannot)?;
    }
    Ok(accepted)
}

/// A list that nobody else changes meanwhile.
#[derive(Debug)]
pub(crate) struct Changing {
    /// Where it is, behind symbolic links.
    target: PathBuf,
    _lock: Lock,
}

impl Changing {
    /// Waits until nobody else changes the lists of its folder. Blocks.
    pub(crate) fn begin(file: &Path) -> Result<Self, Failure> {
        let target = behind_links(file).map_err(|error| {
            let error = anyhow!(error).context(format!("cannot find `{}`", file.display()));
            Failure::new(Status::Usage, error)
        })?;
        let lock = Lock::of(&folder_of(&target), PATIENCE)?;
        Ok(Self { target, _lock: lock })
    }

    /// Puts what it is now in its place.
    pub(crate) fn write(&self, list: &ApprovedList) -> io::Result<()> {
        write(&self.target, &list.to_file(), Readers::All)
    }
}

/// A folder that one process at a time has.
#[derive(Debug)]
struct Lock {
    /// Closing it is what gives it back.
    _folder: File,
}

impl Lock {
    fn of(folder: &Path, patience: Duration) -> Result<Self, Failure> {
        let cannot = || format!("cannot lock `{}`", folder.display());
        let file = File::open(folder).with_context(cannot)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _folder: file }),
                Err(TryLockError::Error(error)) => return Err(anyhow!(error).context(cannot()).into()),
                Err(TryLockError::WouldBlock) if began.elapsed() < patience => thread::sleep(LOOKING),
                Err(TryLockError::WouldBlock) => {
                    let error = anyhow!("another process is at the lists in `{}`", folder.display());
                    return Err(Failure::new(Status::Unfinished, error));
                }
            }
        }
    }
}

/// Replaces a file: readers see the old one or the new one, also after a power loss. Whoever could read the old one can read the new one.
fn write(file: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let folder = folder_of(file);
    let before = fs::metadata(file).ok().map(|before| before.permissions().mode() & 0o777);
    let mode = before.unwrap_or_else(|| readers.mode());
    let mut prefix = OsString::from(".");
    prefix.push(file.file_name().ok_or(ErrorKind::InvalidInput)?);
    prefix.push(".");
    // Its name is nobody's who wants to be there first, and it goes when it did not become the file.
    let mut temporary = tempfile::Builder::new()
        .prefix(&prefix)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(&folder)?;
    temporary.write_all(content)?;
    if before.is_some() {
        // What this process's mask has taken away was there before.
        temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    File::open(&folder)?.sync_all()
}

/// Writes a file that nobody has written before.
pub(crate) fn create(file: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let mut writer = OpenOptions::new().write(true).create_new(true).mode(readers.mode()).open(file)?;
    let written = (|| {
        writer.write_all(content)?;
        writer.sync_all()?;
        File::open(folder_of(file))?.sync_all()
    })();
    if written.is_err() {
        // The error that is returned says more than one of this.
        let _ = fs::remove_file(file);
    }
    written
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The file itself where there is a symbolic link to it, which is to stay one.
fn behind_links(file: &Path) -> io::Result<PathBuf> {
    match fs::symlink_metadata(file) {
        Ok(found) if found.is_symlink() => fs::canonicalize(file),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(file.to_owned()),
    }
}

/// The error for a list that is not there.
pub(crate) fn missing(file: &Path) -> Failure {
    let error = anyhow!("there is no list of approved digests `{}`", file.display());
    Failure::new(Status::Usage, error).with_hint("`pier approve add FILE DIGEST` makes one")
}

fn key_text(file: &Path) -> Result<String, Failure> {
    let Some(bytes) = bytes(file, KEY_BYTES)? else {
        return Err(Failure::new(Status::Usage, anyhow!("there is no key `{}`", file.display())));
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn within(error: ApprovedError, file: &Path) -> Failure {
    Failure::from(error).within(&format!("`{}`", file.display()))
}

/// All of a file, one byte more than the limit at most; `None` when there is none.
fn bytes(file: &Path, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
    let cannot = |error: io::Error| {
        Failure::new(Status::Usage, anyhow!(error).context(format!("cannot read `{}`", file.display())))
    };
    let reader = match File::open(file) {
        Ok(reader) => reader,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let mut bytes = Vec::new();
    reader.take(limit + 1).read_to_end(&mut bytes).map_err(cannot)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_waits_for_another_one_and_no_longer_than_it_has_to() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::of(folder.path(), Duration::ZERO).unwrap();
        let failure = Lock::of(folder.path(), Duration::ZERO).unwrap_err();
        assert_eq!(failure.status, Status::Unfinished);
        drop(held);
        Lock::of(folder.path(), Duration::ZERO).unwrap();
    }
}
