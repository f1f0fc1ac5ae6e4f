//! Other people's formats as sources and targets of content.
//!
//! | on the command line | is | read by | written by |
//! |---|---|---|---|
//! | `oci:DIR[:TAG]` | a folder in the OCI image layout | [`OciLayout`] | [`OciLayout`] |
//! | `oci-archive:FILE[:TAG]` | such a folder in a tar | [`OciArchive`] | [`OciArchiveWriter`] |
//! | `docker-archive:FILE[:REF]` | what `docker save` writes | [`DockerArchive`] | [`DockerArchiveWriter`] |
//! | `pier testdata` | the storage folder of distribution, another registry | [`DistributionFolder`] | [`DistributionFolder`] |
//!
//! Each reader is a [`Source`](pier_content::Source), each writer a [`Target`](pier_content::Target), so moving images
//! in and out is [`copy()`](pier_content::copy()) as everywhere. But for the last none of them has repositories: a selector
//! decides, and what a user typed behind the path is resolved by `reference`. What each holds is listed by `entries`.
//!
//! ```
//! # async fn example() -> pier_content::Result<()> {
//! use pier_content::{CopyOptions, Progress, Source as _, copy};
//! use pier_layout::{ArchiveInput, OciArchive, OciLayout, Spool};
//!
//! let archive = OciArchive::read(ArchiveInput::File("image.tar".into()), Spool::in_folder("/tmp")).await?;
//! let layout = OciLayout::create("images").await?;
//! let reference = archive.reference(None).await?;
//! let tags = ["3.22".parse().expect("a tag")];
//! let options = CopyOptions::default();
//! copy(&archive, &reference, &layout, &reference.repository, &tags, &options, &Progress::default()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What is read was written by strangers: no name in it reaches the file system, no link is followed out of it, and
//! every document has a limit. What is written is hashed on the way and gets its name only when it is right and
//! durable, so whoever is killed leaves nothing that is wrong.

mod archive;
mod distribution;
mod docker;
mod entry;
mod extent;
mod folder;
mod index;
mod part;
mod shelf;
mod sys;

pub use archive::{
    OciArchive,
    input::{ArchiveInput, Spool},
    output::ArchiveOutput,
    writer::OciArchiveWriter,
};
pub use distribution::DistributionFolder;
pub use docker::{DockerArchive, writer::DockerArchiveWriter};
pub use entry::Entry;
pub use folder::OciLayout;
