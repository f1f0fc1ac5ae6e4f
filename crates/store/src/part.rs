//! Content in the making: a part on disk, its one writer, and those who follow it.
//!
//! A part is a folder with a sparse file, `data-<generation>`, and, once bytes have come out of order, `present`,
//! the list of ranges that are there. Without `present` the file holds what its length says. Neither is believed
//! beyond the question where to go on: only a hash over all bytes makes a blob.
//!
//! ```text
//!            ┌ Folder ───────────────┐   files and the lock; blocking calls
//! Shared ────┤ State (mutex)         │   what is present, claimed and hashed; who waits
//!   ▲   ▲    └───────────────────────┘
//!   │   └── Reader    follows; holds no lock, outlives the writer
//!   └────── Writer    the one; its drop frees the part
//! ```

mod commit;
mod folder;
mod hashing;
mod join;
mod presence;
mod reader;
mod shared;
mod table;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use folder::settle;
pub(crate) use join::Join;
pub(crate) use table::PartTable;
