//! Files that are read again when they change, as certificates and lists of users do while a server runs.
//!
//! What is looked at is the content: renaming, writing over, and turning a symbolic link as Kubernetes does all look the same then, and no
//! change is missed because a clock is coarse. These files are small, so to read them every few seconds costs nothing.
//!
//! Several files that belong together are read together and replaced together, or not at all: what a reader of [`Watched::current`] has
//! is never half old. A change that makes no sense keeps what there was, and is said once.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::MissedTickBehavior,
};

use crate::failure::{Failure, Status};

/// How often files are looked at.
const PERIOD: Duration = Duration::from_secs(5);

/// Makes a value of the content of the files, in their order.
type Parse<T, const N: usize> = Box<dyn Fn(&[Vec<u8>; N]) -> Result<T, Failure> + Send + Sync>;

/// What `N` files say, as of the last time that it made sense.
pub(super) struct Watched<T, const N: usize> {
    /// For people: `certificate`.
    what: &'static str,
    files: [PathBuf; N],
    max_bytes: u64,
    parse: Parse<T, N>,
    current: RwLock<Arc<T>>,
    /// Of what was read last, whether it made sense or not.
    seen: Mutex<Option<Seen>>,
}

/// What was found at the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Content([u8; 32]),
    /// They could not be read, for this reason.
    Nothing(String),
}

/// Something that is kept true to files.
pub(super) trait Reload: Send + Sync {
    /// Looks at the files, and takes over what they say if that is new and makes sense. Blocks.
    fn reload(&self);
}

impl<T: Send + Sync, const N: usize> Watched<T, N> {
    /// Reads the files, none of which may have more than `max_bytes`. Blocks.
    ///
    /// # Errors
    /// When they cannot be read, or make no sense.
    pub(super) fn load(
        what: &'static str,
        files: [PathBuf; N],
        max_bytes: u64,
        parse: impl Fn(&[Vec<u8>; N]) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let contents = read_all(what, &files, max_bytes)?;
        let current = RwLock::new(Arc::new(parse(&contents)?));
        let seen = Mutex::new(Some(Seen::Content(fingerprint(&contents))));
        Ok(Self { what, files, max_bytes, parse: Box::new(parse), current, seen })
    }

    /// What holds now.
    pub(super) fn current(&self) -> Arc<T> {
        // Nothing panics while it is held.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether this is not what was found at the last look.
    fn is_new(&self, found: Seen) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = seen.as_ref() != Some(&found);
        *seen = Some(found);
        is_new
    }
}

impl<T: Send + Sync, const N: usize> Reload for Watched<T, N> {
    fn reload(&self) {
        let what = self.what;
        let contents = match read_all(what, &self.files, self.max_bytes) {
            Ok(contents) => contents,
            Err(failure) => {
                let why = failure.message();
                if self.is_new(Seen::Nothing(why.clone())) {
                    tracing::error!(
                        what,
                        why,
                        "cannot be read any more; what was read before goes on to hold"
                    );
                }
                return;
            }
        };
        if !self.is_new(Seen::Content(fingerprint(&contents))) {
            return;
        }
        match (self.parse)(&contents) {
            Ok(value) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                tracing::info!(what, "read again");
            }
            Err(failure) => {
                let why = failure.message();
                tracing::error!(
                    what,
                    why,
                    "has changed and is refused; what was read before goes on to hold"
                );
            }
        }
    }
}

/// Keeps all of them true to their files until dropped: looks every few seconds, and at once when SIGHUP comes.
pub(super) async fn keep(all: Vec<Arc<dyn Reload>>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => Some(hangup),
        Err(error) => {
            tracing::warn!(%error, "cannot wait for SIGHUP");
            None
        }
    };
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Some(()) = next(&mut hangup) => tracing::info!("SIGHUP: looking at the files"),
        }
        for one in &all {
            let one = Arc::clone(one);
            if let Err(error) = tokio::task::spawn_blocking(move || one.reload()).await {
                tracing::error!(%error, "cannot look at files that may have changed");
            }
        }
    }
}

async fn next(signal: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

fn read_all<const N: usize>(
    what: &str,
    files: &[PathBuf; N],
    max_bytes: u64,
) -> Result<[Vec<u8>; N], Failure> {
    let mut contents = [const { Vec::new() }; N];
    for (content, file) in contents.iter_mut().zip(files) {
        *content = read(file, max_bytes).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "check the path; relative ones start where `pier` was started",
                io::ErrorKind::PermissionDenied => {
                    "the user that `pier serve` runs as has to be able to read it"
                }
                _ => "name a readable file",
            };
            let error =
                anyhow::Error::new(error).context(format!("cannot read the {what} `{}`", file.display()));
            Failure::new(Status::Usage, error).with_hint(hint)
        })?;
    }
    Ok(contents)
}

fn read(file: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    // A pipe would be waited for.
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let why = format!("it has more than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

fn fingerprint(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}

impl<T, const N: usize> fmt::Debug for Watched<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("what", &self.what)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}
