//! Lists of approved digests on disk.
//!
//! ```text
//! <data>/approvals/<hash of the key and the list's path>     the version that was accepted last
//! ```
//!
//! A list that is signed has a version, and one that was accepted is never followed by an older one: the version is written down before
//! anything is done with the list. Whoever can put an old list in the place of a new one must not be able to write there, so that folder is
//! the data folder and not the list's own.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{self, Path, PathBuf},
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

/// Who may read a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner.
    Owner,
    /// Everybody, as far as the process's mask lets them.
    All,
}

impl From<ApprovedError> for Failure {
    fn from(error: ApprovedError) -> Self {
        let status = match &error {
            error if error.is_distrust() => Status::Denied,
            ApprovedError::NoneInForce { .. } | ApprovedError::NotListed { .. } => Status::No,
            _ => Status::Usage,
        };
        Self::new(status, error.into())
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

/// Checks who signed a list, and that it is no older than the one that was accepted last.
///
/// # Errors
/// When it is not to be trusted, and when its version cannot be remembered: what could be rolled back later is not accepted now.
pub(crate) fn accept(
    list: &ApprovedList,
    file: &Path,
    key: &PublicKey,
    data: &Path,
) -> Result<Accepted, Failure> {
    let file = path::absolute(file).with_context(|| format!("cannot find `{}`", file.display()))?;
    let name = Digest::sha256(format!("{key}\n{}", file.display()).as_bytes()).hex();
    let folder = data.join("approvals");
    let state = folder.join(name);
    let cannot = || format!("cannot remember the version of `{}`", file.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(cannot)?;
    let lock = File::open(&folder).with_context(cannot)?;
    // Held for two small files; whoever holds it does nothing else meanwhile.
    lock.lock().with_context(cannot)?;
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

/// Replaces a file: readers see the old one or the new one, also after a power loss.
pub(crate) fn write(file: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let temporary = temporary(file, folder)?;
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::All => 0o666,
    };
    let written = (|| {
        let mut writer = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        writer.write_all(content)?;
        writer.sync_all()?;
        fs::rename(&temporary, file)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // The error that is returned says more than one of this.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A name of this process's own beside the file.
fn temporary(file: &Path, folder: &Path) -> io::Result<PathBuf> {
    let mut name = OsString::from(".");
    name.push(file.file_name().ok_or(ErrorKind::InvalidInput)?);
    name.push(format!(".{}", std::process::id()));
    Ok(folder.join(name))
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
