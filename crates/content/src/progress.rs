//! What happens, as events. One reporter in the binary draws them; a library's user may listen too.

use std::{fmt, sync::Arc};

use pier_oci::{Descriptor, Digest, Reference};

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
    /// A blob was there already, or was mounted.
    Present(Descriptor),
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
