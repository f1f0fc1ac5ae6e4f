//! Image content on disk: verified blobs in files, everything small, mutable or graph-like in one SQLite database.
//!
//! ```text
//! <data>/version              the format; an older binary refuses newer data
//!        blobs/<alg>/<hex>    verified only, written once, mode 0444; an OCI layout's blobs folder
//!        parts/<alg>-<hex>/   a blob in the making: data-<generation>, present; survives a crash; expires
//!        uploads/<session>/   a push in the making, the same inside; the folder is the session
//!        catalog.sqlite       repositories, manifests, tags, links, leases, pins, the review queue
//!        trash/               what the collector has taken and not yet unlinked; emptied at open
//! ```
//!
//! [`Store`] implements [`BlobStore`](pier_content::BlobStore) and [`Catalog`](pier_content::Catalog). Several
//! processes may have the same folder open: a part has one writer by a file lock, the database has one writer
//! at a time by its own, and nothing is cached beyond the next commit of any of them.
//!
//! # What makes it safe
//!
//! Three rules, and every crash is covered by one of them:
//!
//! 1. **A row names only a file that is durable.** A blob's bytes are synced, linked into `blobs/`, and the folder
//!    is synced, before one transaction writes its row, its link and its lease.
//! 2. **A file without a row is in the review queue.** The entry is durable before the file is linked, and it goes
//!    only after the file is durably gone. So whatever a crash leaves behind, the collector finds without a walk.
//! 3. **A file leaves `blobs/` only while the database's write lock is held** and no row names it. A commit checks
//!    under the same lock that its file is there, and starts over when it is not.

mod blobs;
mod catalog;
mod clock;
mod collector;
mod data_dir;
mod fsck;
mod images;
mod part;
mod store;
mod sys;
mod usage;

pub use clock::Clock;
pub use collector::{Collected, Leases, Rest, Turn};
pub use data_dir::OpenError;
pub use fsck::{Depth, Finding, Repair, Report};
pub use images::{Image, Removed};
pub use store::{Store, StoreOptions};
pub use usage::{Room, Usage};
