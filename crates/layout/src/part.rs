//! What is written into a folder: files in the making, and how they get their names.
//!
//! ```text
//! <folder>/.pier/<alg>-<hex>  a blob in the making; gone when nothing is
//!          .pier/<name>       a small file in the making, for the holder of the folder's lock
//! ```
//!
//! A blob's file is named by its digest, so whoever wants the same blob next goes on where the last one stopped. What is
//! there from before is hashed first: nothing is known about it, not even that it was written by us. A blob that
//! another process is writing is written a second time under a name of its own; both become the same blob, and
//! nobody waits.

use std::{
    fmt,
    fs::File,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use pier_content::{Blob, Body, ByteRange, Commit, Error, Filling, Order, Result, Subject};
use pier_oci::{Descriptor, Digest, Hasher};

use rustix::io::Errno;

use crate::{
    extent::Extent,
    sys::{ATTEMPTS, At as _, Folder, Stamp, blocking, invalid, sync_data, try_lock},
};

/// The folder of content in the making.
pub(crate) const SCRATCH: &str = ".pier";

/// Whether what is written has to survive the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is synced before it gets its name.
    Durable,
    /// It goes with the process anyway.
    Staged,
}

/// Where blobs go in the end.
pub(crate) trait Room: Send + Sync {
    /// The folder whose `.pier` has content in the making: on the same file system as where it goes.
    fn folder(&self) -> &Folder;

    /// The folder and the name that a blob gets. The folder is made, and survives, when it is not there.
    fn place(&self, digest: &Digest, durability: Durability) -> Result<(Folder, String)>;
}

/// The one writer of a part. Its drop keeps the bytes and frees the part.
pub(crate) struct Part {
    shared: Arc<Shared>,
}

struct Shared {
    digest: Digest,
    size: u64,
    /// Bytes that are there, as the holder of the content last left it; read without waiting for the disk.
    written: AtomicU64,
    /// Only ever locked on threads that may wait.
    content: Mutex<Content>,
}

struct Content {
    room: Arc<dyn Room>,
    durability: Durability,
    scratch: Folder,
    name: String,
    /// Whether another writer may go on with it.
    resumable: bool,
    file: Arc<File>,
    hasher: Hasher,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Filling,
    Committed,
    Aborted,
}

impl Part {
    /// Begins a part or goes on with one. Waits for the disk.
    pub(crate) fn begin(
        room: &Arc<dyn Room>,
        descriptor: &Descriptor,
        durability: Durability,
    ) -> Result<Self> {
        let Descriptor { digest, size, .. } = *descriptor;
        let mut content = hold(room, &digest, durability)?;
        let written = content.adopt(size)?;
        let shared = Shared { digest, size, written: AtomicU64::new(written), content: Mutex::new(content) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The whole content at once, for what is in memory anyway. Waits for the disk.
    pub(crate) fn put(
        room: &Arc<dyn Room>,
        digest: &Digest,
        bytes: &Bytes,
        durability: Durability,
    ) -> Result<Stamp> {
        let size = bytes.len() as u64;
        let mut content = hold(room, digest, durability)?;
        let written = AtomicU64::new(content.adopt(0)?);
        let shared = Shared { digest: *digest, size, written, content: Mutex::new(content) };
        shared.write(0, std::slice::from_ref(bytes))?;
        shared.commit(digest).map(|(_, stamp)| stamp)
    }

    /// What tells the committed blob from any other state of it. Waits for the disk.
    pub(crate) fn stamp(&self) -> Result<Stamp> {
        let content = self.shared.content();
        Stamp::of(&content.file, &content.path())
    }
}

/// Takes the part of a digest, or one for this writer alone when somebody else has it.
fn hold(room: &Arc<dyn Room>, digest: &Digest, durability: Durability) -> Result<Content> {
    static ALONE: AtomicU64 = AtomicU64::new(0);
    let common = format!("{}-{}", digest.algorithm(), digest.hex());
    let mut name = common.clone();
    for _ in 0..ATTEMPTS {
        let (scratch, file) = scratch_file(room.folder(), &name)?;
        let path = scratch.path_of(&name);
        if !try_lock(&file, &path)? {
            name = format!("{common}.{}.{}", process::id(), ALONE.fetch_add(1, SeqCst));
            continue;
        }
        // Its last writer may have finished between the opening and the lock: then the file is a blob by now.
        if scratch.names(&name, &file)? {
            return Ok(Content {
                room: Arc::clone(room),
                durability,
                scratch,
                resumable: name == common,
                name,
                file: Arc::new(file),
                hasher: Hasher::new(digest.algorithm()),
                phase: Phase::Filling,
            });
        }
    }
    let subject = Subject::BlobIn(room.folder().path().to_owned(), *digest);
    Err(Error::Abandoned { subject })
}

/// Replaces a file of `to` as a whole: whoever reads it finds the old bytes or the new ones. For the holder of the lock
/// of `folder`, below which `to` is.
pub(crate) fn replace(
    folder: &Folder,
    to: &Folder,
    name: &str,
    bytes: &[u8],
    durability: Durability,
) -> Result<()> {
    use std::io::Write as _;
    let (scratch, mut file) = scratch_file(folder, name)?;
    let path = scratch.path_of(name);
    // What a killed process has left is the holder's now.
    file.set_len(0).at("empty", &path)?;
    file.write_all(bytes).at("write", &path)?;
    if durability == Durability::Durable {
        sync_data(&file, &path)?;
    }
    scratch.rename(name, to, name)?;
    folder.remove_if_empty(SCRATCH)?;
    if durability == Durability::Durable {
        to.sync()?;
    }
    Ok(())
}

/// Opens a file for content in the making, with what is in it from before.
fn scratch_file(folder: &Folder, name: &str) -> Result<(Folder, File)> {
    for _ in 0..ATTEMPTS {
        let scratch = folder.make_folder(SCRATCH)?;
        let path = scratch.path_of(name);
        match scratch.part(name) {
            Ok(file) if file.metadata().at("stat", &path)?.is_file() => return Ok((scratch, file)),
            Ok(_) | Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => {
                return Err(invalid(&path, "is not a regular file"));
            }
            // Somebody found the folder empty and removed it.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error).at("open", &path),
        }
    }
    Err(Error::Abandoned { subject: Subject::File(folder.path_of(SCRATCH)) })
}

/// A folder in another, which is made, and survives, when it is not there.
pub(crate) fn made(parent: &Folder, name: &str, durability: Durability) -> Result<Folder> {
    if let Some(folder) = parent.folder(name)? {
        return Ok(folder);
    }
    let folder = parent.make_folder(name)?;
    if durability == Durability::Durable {
        parent.sync()?;
    }
    Ok(folder)
}

impl Content {
    fn path(&self) -> PathBuf {
        self.scratch.path_of(&self.name)
    }

    /// Hashes what is there from before and gives its length. More than there can be is nothing.
    fn adopt(&mut self, size: u64) -> Result<u64> {
        let path = self.path();
        let there = self.file.metadata().at("stat", &path)?.len();
        if there > size {
            self.empty()?;
            return Ok(0);
        }
        let extent = Extent::in_file(Arc::clone(&self.file), 0, there, path);
        self.hasher = extent.hash_into(self.hasher.clone())?;
        Ok(there)
    }

    fn empty(&mut self) -> Result<()> {
        self.file.set_len(0).at("empty", &self.path())?;
        self.hasher = Hasher::new(self.hasher.algorithm());
        Ok(())
    }
}

impl Shared {
    fn content(&self) -> MutexGuard<'_, Content> {
        // Whoever panicked under it has left the hasher and the count behind the file, which a commit finds out.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subject(&self) -> Subject {
        Subject::Blob(self.digest)
    }

    fn in_phase(&self, content: &Content) -> Result<()> {
        match content.phase {
            Phase::Filling => Ok(()),
            _ => Err(Error::Invalid { subject: self.subject(), reason: "it is not being filled".to_owned() }),
        }
    }

    fn write(&self, offset: u64, data: &[Bytes]) -> Result<()> {
        let mut content = self.content();
        self.in_phase(&content)?;
        let mut written = self.written.load(SeqCst);
        if offset > written {
            return Err(Error::OutOfRange { subject: self.subject(), offset, expected: written });
        }
        let length = data.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        let end = offset.saturating_add(length);
        if end > self.size {
            return Err(Error::Size {
                subject: self.subject(),
                expected: self.size,
                actual: end,
                origin: None,
            });
        }
        let mut position = offset;
        for bytes in data {
            let known =
                usize::try_from(written.saturating_sub(position)).unwrap_or(usize::MAX).min(bytes.len());
            let new = &bytes[known..];
            position += bytes.len() as u64;
            content.file.write_all_at(new, written).at("write", &content.path())?;
            content.hasher.update(new);
            written += new.len() as u64;
            self.written.store(written, SeqCst);
        }
        Ok(())
    }

    fn commit(&self, expected: &Digest) -> Result<(Blob, Stamp)> {
        let mut content = self.content();
        self.in_phase(&content)?;
        let written = self.written.load(SeqCst);
        let invalid = |reason: String| Error::Invalid { subject: self.subject(), reason };
        if *expected != self.digest {
            return Err(invalid(format!("it cannot be committed as `{expected}`")));
        }
        if written != self.size {
            return Err(invalid(format!("{written} of {} bytes are there", self.size)));
        }
        let actual = content.hasher.clone().finish();
        if actual != self.digest {
            content.empty()?;
            self.written.store(0, SeqCst);
            return Err(Error::Integrity { expected: self.digest, actual, origin: None });
        }
        let (path, (blobs, name)) = (content.path(), content.room.place(&self.digest, content.durability)?);
        if content.durability == Durability::Durable {
            sync_data(&content.file, &path)?;
        }
        content.scratch.rename(&content.name, &blobs, &name)?;
        content.phase = Phase::Committed;
        if content.durability == Durability::Durable {
            blobs.sync()?;
        }
        content.room.folder().remove_if_empty(SCRATCH)?;
        // The rename counts as a change of the file: the stamp is of the state behind it.
        let stamp = Stamp::of(&content.file, &path)?;
        let body = Body::File(Arc::clone(&content.file));
        Ok((Blob { digest: self.digest, size: self.size, body }, stamp))
    }

    fn reset(&self) -> Result<()> {
        let mut content = self.content();
        self.in_phase(&content)?;
        content.empty()?;
        self.written.store(0, SeqCst);
        Ok(())
    }

    fn abort(&self) -> Result<()> {
        let mut content = self.content();
        self.in_phase(&content)?;
        content.scratch.remove(&content.name)?;
        content.phase = Phase::Aborted;
        content.room.folder().remove_if_empty(SCRATCH)
    }
}

impl Drop for Shared {
    /// Keeps what somebody can go on with, and nothing else.
    fn drop(&mut self) {
        let content = self.content.get_mut().unwrap_or_else(PoisonError::into_inner);
        if content.phase != Phase::Filling || (content.resumable && self.written.load(SeqCst) > 0) {
            return;
        }
        let removed = content.scratch.remove(&content.name);
        if let Err(error) = removed.and_then(|()| content.room.folder().remove_if_empty(SCRATCH)) {
            tracing::debug!(error = &error as &dyn std::error::Error, "a part stays behind");
        }
    }
}

#[async_trait]
impl Filling for Part {
    fn order(&self) -> Order {
        Order::FrontToBack
    }

    fn missing(&self) -> Vec<ByteRange> {
        let written = self.shared.written.load(SeqCst);
        if written == self.shared.size { Vec::new() } else { vec![(written..self.shared.size).into()] }
    }

    fn size(&self) -> Option<u64> {
        Some(self.shared.size)
    }

    async fn write_at(&self, offset: u64, data: Vec<Bytes>) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.write(offset, &data)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Blob> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.commit(&commit.digest)).await.map(|(blob, _)| blob)
    }

    async fn reset(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.reset()).await
    }

    async fn abort(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.abort()).await
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { digest, size, written, .. } = &*self.shared;
        write!(f, "Part({digest}, {} of {size} bytes)", written.load(SeqCst))
    }
}
