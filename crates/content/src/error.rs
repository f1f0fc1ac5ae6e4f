//! Errors by what the caller can do about them.
//!
//! One enum for every implementation of the contract, because a caller that holds a `dyn` trait acts on the
//! kind of failure and not on who produced it: ask again, wait, take over, give up, show a hint. The cause is
//! kept as `source()`; the subject (digest, repository, path) is always a field and never only text.

use std::{borrow::Cow, fmt, io, path::PathBuf, time::Duration};

use pier_oci::{Digest, Platform, Repository, RepositoryName, Selector, SessionId, Tag};
use tokio::task::JoinError;

/// What every fallible call of the contract returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A cause of any type, kept for the chain that is shown to people.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a call failed on, in the specification's words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// A blob, by digest, wherever it is.
    Blob(Digest),
    /// A file, or a folder or an archive as a whole.
    File(PathBuf),
    /// A blob of the folder or the archive at this path.
    BlobIn(PathBuf, Digest),
    /// A blob as seen from a repository.
    RepositoryBlob(RepositoryName, Digest),
    /// A manifest of a repository, by tag or by digest.
    Manifest(RepositoryName, Selector),
    /// A repository.
    Repository(RepositoryName),
    /// An upload session.
    Upload(SessionId),
    /// A manifest at a registry.
    RemoteManifest(Repository, Selector),
    /// A blob of a repository at a registry.
    RemoteBlob(Repository, Digest),
    /// A repository at a registry.
    RemoteRepository(Repository),
    /// A registry, or what is set for it.
    Registry(String),
    /// A flag, an environment variable or a key of a configuration, by its name.
    Setting(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "blob `{digest}`"),
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::BlobIn(path, digest) => write!(f, "blob `{digest}` in `{}`", path.display()),
            Self::RepositoryBlob(repository, digest) => {
                write!(f, "blob `{digest}` of repository `{repository}`")
            }
            Self::Manifest(repository, Selector::Tag(tag)) => {
                write!(f, "manifest `{repository}:{tag}`")
            }
            Self::Manifest(repository, Selector::Digest(digest)) => {
                write!(f, "manifest `{repository}@{digest}`")
            }
            Self::Repository(repository) => write!(f, "repository `{repository}`"),
            Self::Upload(session) => write!(f, "upload `{session}`"),
            Self::RemoteManifest(repository, Selector::Tag(tag)) => {
                write!(f, "manifest `{repository}:{tag}`")
            }
            Self::RemoteManifest(repository, Selector::Digest(digest)) => {
                write!(f, "manifest `{repository}@{digest}`")
            }
            Self::RemoteBlob(repository, digest) => write!(f, "blob `{digest}` of `{repository}`"),
            Self::RemoteRepository(repository) => write!(f, "repository `{repository}`"),
            Self::Registry(registry) => write!(f, "registry `{registry}`"),
            Self::Setting(name) => write!(f, "`{name}`"),
        }
    }
}

/// What keeps something from being removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keeper {
    /// A manifest of the same repository names it.
    Manifest(Digest),
    /// An index of the same repository names it.
    Index(Digest),
    /// Tags name it.
    Tags(Vec<Tag>),
    /// A repository shows it.
    Repository(RepositoryName),
    /// It was written a short while ago, and somebody may be about to name it.
    Lease,
    /// Somebody wants it kept, whatever names it.
    Pin,
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(digest) => write!(f, "manifest `{digest}` names it"),
            Self::Index(digest) => write!(f, "index `{digest}` names it"),
            Self::Tags(tags) => {
                let tags: Vec<String> = tags.iter().map(|tag| format!("`{tag}`")).collect();
                write!(f, "tagged {}", tags.join(", "))
            }
            Self::Repository(repository) => write!(f, "repository `{repository}` shows it"),
            Self::Lease => f.write_str("it was written recently and is leased"),
            Self::Pin => f.write_str("it is pinned"),
        }
    }
}

/// Why a call of the contract failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It does not exist, or the repository does not show it. Asking again gives the same answer.
    #[error("{subject} is not there")]
    NotFound {
        /// What was asked for.
        subject: Subject,
    },

    /// A folder or an archive has no image of this name. Choose one of those that there are.
    #[error("`{}` has no image `{wanted}`, there is {}", place.display(), names(available))]
    NoSuchImage {
        /// The folder or the archive.
        place: PathBuf,
        /// The name that was asked for.
        wanted: String,
        /// What there is: names, and digests of what has none.
        available: Vec<String>,
    },

    /// A folder or an archive has several images that may be meant. Say which.
    #[error("`{}` has several images, there is {}", place.display(), names(available))]
    Ambiguous {
        /// The folder or the archive.
        place: PathBuf,
        /// What may be meant: names, and digests of what has none.
        available: Vec<String>,
    },

    /// A manifest names content that its repository does not have. Push that first, or store it sparsely.
    #[error("repository `{repository}` lacks {} that the manifest names: {}", plural(digests.len()), list(digests))]
    Missing {
        /// The repository that the manifest was meant for.
        repository: RepositoryName,
        /// What it lacks, in the manifest's order.
        digests: Vec<Digest>,
    },

    /// Bytes do not have the digest that they came under. They are gone; whoever sent them is named if known.
    #[error("content does not match its digest: expected `{expected}`, found `{actual}`{}", by(origin.as_deref()))]
    Integrity {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest that the bytes have.
        actual: Digest,
        /// The source that sent them, when one source sent them all.
        origin: Option<String>,
    },

    /// Content is longer or shorter than its descriptor says.
    #[error("{subject} has {actual} bytes where {expected} were announced{}", by(origin.as_deref()))]
    Size {
        /// What has the wrong size.
        subject: Subject,
        /// Bytes announced.
        expected: u64,
        /// Bytes found; a lower bound when reading stopped there.
        actual: u64,
        /// The source that sent them, when one source sent them all.
        origin: Option<String>,
    },

    /// The request itself is wrong and stays wrong.
    #[error("{subject}: {reason}")]
    Invalid {
        /// What it was about.
        subject: Subject,
        /// What is wrong with it.
        reason: String,
    },

    /// A write does not start where the content ends, or a range is outside of it.
    #[error("{subject}: offset {offset} is outside of what is acceptable, {expected} was expected")]
    OutOfRange {
        /// What it was about.
        subject: Subject,
        /// Where the write or the read wanted to start, in bytes.
        offset: u64,
        /// Where it has to start, or the size that it has to stay below, in bytes.
        expected: u64,
    },

    /// A tag does not name what the caller expected. Look what it names now, and decide again.
    #[error("{subject} has changed: it names {} now", found.map_or_else(|| "nothing".to_owned(), |digest| format!("`{digest}`")))]
    Changed {
        /// The tag.
        subject: Subject,
        /// What it names.
        found: Option<Digest>,
    },

    /// A tag is of those that never move once they are there, nor anything that they lead to. Use another, or have the rule
    /// changed.
    #[error("{subject} is immutable: its tag names the same content for ever")]
    Immutable {
        /// The tag.
        subject: Subject,
    },

    /// It cannot be removed because something still names it.
    #[error("{subject} is in use: {by}")]
    InUse {
        /// What was to be removed.
        subject: Subject,
        /// What keeps it.
        by: Keeper,
    },

    /// Somebody else is at work on it and did not finish within the bound. Worth asking again.
    #[error("{subject} is held by another writer, waited {} s", waited.as_secs())]
    Busy {
        /// What is held.
        subject: Subject,
        /// How long the call waited.
        waited: Duration,
    },

    /// The writer that was being followed is gone and its bytes are kept. Ask again, and perhaps take over.
    #[error("{subject} was abandoned by its writer")]
    Abandoned {
        /// What was being followed.
        subject: Subject,
    },

    /// An index has no image for a platform. Choose another platform, or build the image for this one.
    #[error("no image for platform `{wanted}`, there is {}", platforms(available))]
    NoPlatform {
        /// The platform that was asked for.
        wanted: Box<Platform>,
        /// The platforms that there are, attestations left out.
        available: Vec<Platform>,
    },

    /// An index was to be written where only images of one platform can be. Choose the platform.
    #[error("`{}` cannot hold an index, only images of one platform each", place.display())]
    SinglePlatform {
        /// Where.
        place: PathBuf,
    },

    /// No space is left where the content has to go. Nothing that was acknowledged is lost.
    #[error("no space left on the device: {operation} `{}`", path.display())]
    StorageFull {
        /// What was being done.
        operation: &'static str,
        /// Where.
        path: PathBuf,
    },

    /// The other side did not answer, broke off or said to come back later. Worth another attempt.
    #[error("{origin} cannot be reached or did not finish: {operation}")]
    Unavailable {
        /// Who was asked.
        origin: String,
        /// What was being done.
        operation: &'static str,
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
        /// The cause.
        #[source]
        source: Option<BoxError>,
    },

    /// The other side says that it is asked too much. Worth another attempt, later and by less at once.
    #[error("{origin} is asked too much: {reason}")]
    TooManyRequests {
        /// Who was asked.
        origin: String,
        /// What it said.
        reason: String,
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },

    /// Credentials are missing or were refused.
    #[error("{origin} refuses: {reason}")]
    Denied {
        /// Who refused.
        origin: String,
        /// What it said.
        reason: String,
    },

    /// The other side cannot prove who it is, or leads to where nobody should follow. Asking again would not change it.
    #[error("{origin} is not to be trusted: {reason}")]
    Untrusted {
        /// Who.
        origin: String,
        /// Why.
        reason: String,
    },

    /// Credentials cannot be read from where they are said to be, or not be kept there. Nobody was asked without them instead.
    #[error("{place}: {reason}")]
    Credentials {
        /// A file, an environment variable or a credential helper, for people.
        place: String,
        /// What is wrong with it. Holds no secret.
        reason: String,
    },

    /// This place cannot do that.
    #[error("{what} is not supported here")]
    Unsupported {
        /// What was asked.
        what: &'static str,
    },

    /// A file could not be read or written.
    #[error("{operation} `{}`", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },

    /// A task of this process did not come to its end: the process ends, or there is a fault in it.
    #[error("{operation} did not come to its end")]
    Task {
        /// What was being done.
        operation: &'static str,
        /// The cause.
        #[source]
        source: JoinError,
    },

    /// The catalog's database failed.
    #[error("catalog: {operation}")]
    Database {
        /// What was being done.
        operation: &'static str,
        /// The cause.
        #[source]
        source: BoxError,
    },
}

impl Error {
    /// `NotFound` for a blob that no store has.
    pub fn blob_not_found(digest: Digest) -> Self {
        Self::NotFound { subject: Subject::Blob(digest) }
    }

    /// An I/O failure on a path; a full device becomes [`Error::StorageFull`].
    pub fn io(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::StorageFull { operation, path }
            }
            _ => Self::Io { operation, path, source },
        }
    }

    /// A short name that never changes, for scripts and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not-found",
            Self::NoSuchImage { .. } => "no-such-image",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Missing { .. } => "missing-content",
            Self::Integrity { .. } => "integrity",
            Self::Size { .. } => "size",
            Self::Invalid { .. } => "invalid",
            Self::OutOfRange { .. } => "out-of-range",
            Self::Changed { .. } => "changed",
            Self::Immutable { .. } => "immutable",
            Self::InUse { .. } => "in-use",
            Self::Busy { .. } => "busy",
            Self::Abandoned { .. } => "abandoned",
            Self::NoPlatform { .. } => "no-platform",
            Self::SinglePlatform { .. } => "single-platform",
            Self::StorageFull { .. } => "storage-full",
            Self::Unavailable { .. } => "unavailable",
            Self::TooManyRequests { .. } => "too-many-requests",
            Self::Denied { .. } => "denied",
            Self::Untrusted { .. } => "untrusted",
            Self::Credentials { .. } => "credentials",
            Self::Unsupported { .. } => "unsupported",
            Self::Io { .. } => "io",
            Self::Task { .. } => "task",
            Self::Database { .. } => "database",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    ///
    /// Integrity failures are not: the caller that can blame one source decides about another attempt.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::TooManyRequests { .. }
                | Self::Busy { .. }
                | Self::Abandoned { .. }
        )
    }

    /// How long the other side asked to be left alone, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } | Self::TooManyRequests { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether bytes turned out not to be what they were announced as.
    pub fn is_integrity(&self) -> bool {
        matches!(self, Self::Integrity { .. } | Self::Size { .. })
    }

    /// The same error, with the source that sent the bytes named in it.
    #[must_use]
    pub fn blaming(mut self, name: &str) -> Self {
        if let Self::Integrity { origin, .. } | Self::Size { origin, .. } = &mut self {
            *origin = Some(name.to_owned());
        }
        self
    }

    /// Advice for a person, apart from the message.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        let fixed = match self {
            Self::Denied { origin, .. } => return Some(format!("log in with `pier login {origin}`").into()),
            Self::TooManyRequests { retry_after: Some(wait), .. } if wait.as_secs() > 60 => {
                let seconds = wait.as_secs();
                let hint = format!(
                    "log in, since many registries allow more to those they know, or try again in {seconds} s"
                );
                return Some(hint.into());
            }
            Self::Missing { .. } => Some("push the missing blobs and manifests to this repository first"),
            Self::NoPlatform { available, .. } if !available.is_empty() => {
                Some("choose one of these platforms with `--platform`")
            }
            Self::NoSuchImage { available, .. } if !available.is_empty() => {
                Some("name one of these behind the path")
            }
            Self::Ambiguous { .. } => Some("name one of these behind the path"),
            Self::SinglePlatform { .. } => Some("choose one platform with `--platform`"),
            Self::StorageFull { .. } => {
                Some("free some space or run `pier prune`; what was stored before is intact")
            }
            Self::Busy { .. } => Some("another process works on the same content; try again when it is done"),
            Self::InUse { .. } => Some("remove what names it first"),
            Self::TooManyRequests { .. } => {
                Some("log in, since many registries allow more to those they know, or try again later")
            }
            Self::Integrity { .. } => {
                Some("the source or the network changed the content; nothing of it was kept")
            }
            Self::Credentials { .. } => {
                Some("correct it, or take it out of the configuration; it is never passed over in silence")
            }
            _ => None,
        };
        fixed.map(Cow::Borrowed)
    }
}

/// An error with all of its causes, in one line: what a person reads who cannot ask for more.
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a (dyn std::error::Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some errors say what their cause says.
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            next = cause.source();
        }
        Ok(())
    }
}

fn by(origin: Option<&str>) -> String {
    origin.map_or_else(String::new, |name| format!(", sent by {name}"))
}

fn plural(count: usize) -> String {
    if count == 1 { "a blob or manifest".to_owned() } else { format!("{count} blobs or manifests") }
}

/// The first few digests, so that a manifest with thousands of children cannot flood a log line.
fn list(digests: &[Digest]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = digests.iter().take(SHOWN).map(|digest| format!("`{digest}`")).collect();
    if digests.len() > SHOWN {
        text.push(format!("and {} more", digests.len() - SHOWN));
    }
    text.join(", ")
}

/// The first few names of images.
fn names(available: &[String]) -> String {
    const SHOWN: usize = 16;
    if available.is_empty() {
        return "none at all".to_owned();
    }
    let mut text: Vec<String> =
        available.iter().take(SHOWN).map(|name| format!("`{}`", name.escape_debug())).collect();
    if available.len() > SHOWN {
        text.push(format!("and {} more", available.len() - SHOWN));
    }
    text.join(", ")
}

/// The first few platforms, as people write them on the command line.
fn platforms(available: &[Platform]) -> String {
    const SHOWN: usize = 16;
    if available.is_empty() {
        return "none at all".to_owned();
    }
    let mut text: Vec<String> =
        available.iter().take(SHOWN).map(|platform| format!("`{platform}`")).collect();
    if available.len() > SHOWN {
        text.push(format!("and {} more", available.len() - SHOWN));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests;
