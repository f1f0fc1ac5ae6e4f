//! Other people's formats as sources and targets.
mod entry;
mod extent;
mod folder;
mod index;
mod shelf;
mod sys;

pub use entry::Entry;
pub use folder::OciLayout;
