//! What happens, as events. One reporter in the binary draws them; a library's user may listen too.

use std::{fmt, sync::Arc, time::Duration};

use pier_oci::{Descriptor, Digest, Reference, Repository};

/// Something happened to a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A name was resolved.
    Resolved {
        /// The name.
        reference: Reference,
        /// What it names.
        descriptor: Descriptor,
    },
    /// It is known what has to be there in the end.
    Planned {
        /// Blobs of the images that the target lacks, those that it may turn out to have included.
        blobs: u64,
        /// Bytes of those.
        bytes: u64,
    },
    /// A blob was there already.
    Present(Descriptor),
    /// A blob was in another repository of the target, and is shown in this one from now on.
    Mounted {
        /// What.
        descriptor: Descriptor,
        /// Where it was.
        from: Repository,
    },
    /// A blob's transfer began or was joined; `done` bytes are there from before.
    Started {
        /// What.
        descriptor: Descriptor,
        /// Bytes that are there from before.
        done: u64,
    },
    /// More of a blob arrived.
    Advanced {
        /// Which.
        digest: Digest,
        /// Bytes that arrived since the event before.
        bytes: u64,
    },
    /// A blob's content was wrong and is fetched anew.
    Discarded(Digest),
    /// A blob is verified and durable.
    Committed(Descriptor),
    /// A manifest is stored.
    Stored(Descriptor),
    /// Somebody gave content, or some of it; only those are named who are asked through [`Retrying`](crate::Retrying). Nobody has looked at it
    /// yet.
    Given {
        /// What was asked for, or what a manifest turned out to be.
        digest: Digest,
        /// Who gave it.
        origin: String,
    },
    /// A call failed, and is made again after a wait.
    Waiting {
        /// Who was asked.
        origin: String,
        /// How long the wait is.
        delay: Duration,
        /// Why the call failed.
        reason: String,
    },
}

/// Where events go. Cheap to copy; the default goes nowhere.
///
/// The listener is called on the task that moves the bytes: it must not block.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Event) + Send + Sync>>);

impl Progress {
    /// Calls `listener` for each event.
    pub fn to(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Tells the listener, if there is one.
    pub fn emit(&self, event: impl FnOnce() -> Event) {
        if let Some(listener) = &self.0 {
            listener(event());
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(to a listener)" } else { "Progress(nowhere)" })
    }
}
