//! The contract between everything that holds, moves or verifies image content, and the verbs over it.
//!
//! Four traits say what a place can do, and one rule holds in all of them: **no byte is stored, served to its
//! end or acted on under a digest that it was not hashed to.**
//!
//! | trait | is | implemented by |
//! |---|---|---|
//! | [`Source`] | a place to read content from | a registry client, a layout, a swarm, [`StoreSource`], [`StoreRepository`] |
//! | [`BlobStore`] | a place that keeps verified blobs | the store on disk, [`Memory`], object storage |
//! | [`Catalog`] | names, manifests and the graph | the store on disk, [`Memory`] |
//! | [`Target`] | a place to write images to | a registry client, a layout, [`StoreTarget`], [`StoreRepository`] |
//!
//! Content flows by *filling*: a store says what is missing of a blob ([`Filling::missing`]), one filler
//! fills the holes, [`Filling::commit`] verifies, and any number of readers follow while it happens
//! ([`Following`]). Resuming, falling back to another source and sharing one download are the same thing.
//! [`transfer()`] drives one blob that way; [`copy()`] drives a whole image, leaves first, root next, tag last. [`verify()`] computes what a
//! name stands for, down to the layers, and compares it with what somebody approved.
//!
//! What is not here: sockets, files, databases and clocks other than tokio's timer. Those belong to the crates
//! that implement the traits.

pub mod approved;
pub mod blob;
pub mod blob_store;
pub mod catalog;
pub mod chain;
pub mod compression;
pub mod copy;
pub mod error;
pub mod fallback;
pub mod filling;
#[cfg(test)]
mod fixtures;
pub mod following;
pub mod manifests;
mod measuring;
pub mod memory;
pub mod names;
mod observed;
pub mod origins;
pub mod platform;
pub mod progress;
pub mod pump;
pub mod ranges;
pub mod retrying;
mod small;
pub mod source;
pub mod store_repository;
pub mod store_source;
pub mod store_target;
#[cfg(feature = "suite")]
#[expect(clippy::unwrap_used, reason = "the suite is tests: a failure that was not expected has to end one")]
pub mod suite;
pub mod tag_rules;
pub mod target;
pub mod transfer;
pub mod verify;

pub use approved::{Accepted, ApprovedEntry, ApprovedError, ApprovedList};
pub use blob::{Blob, Body, ByteRange, ByteStream, RangeReader};
pub use blob_store::{BlobInfo, BlobStore, Ingest, IngestKey};
pub use catalog::{
    Catalog, Claim, Completeness, Page, PutManifest, ReferrersOf, ReferrersPage, Stored, TagMove,
};
pub use chain::{Chain, Image, Layer, chain};
pub use compression::{Compression, Inflate};
pub use copy::{Copied, CopyOptions, MountFrom, Platforms, Referrers, copy};
pub use error::{Causes, Error, Keeper, Result, Subject};
pub use fallback::Fallback;
pub use filling::{Commit, Filling, Order};
pub use following::{Following, Withheld};
pub use manifests::Manifests;
pub use memory::Memory;
pub use names::{
    AnsweredBy, Answers, Freshness, NameCache, RememberedName, RemoteTag, Resolved, resolve_all,
};
pub use origins::Origins;
pub use platform::{Selected, choose, select};
pub use progress::{Event, Progress};
pub use pump::pump;
pub use ranges::RangeSet;
pub use retrying::{Jitter, RetryPolicy, Retrying, RetryingTarget};
pub use small::read_small;
pub use source::{Opened, Source};
pub use store_repository::StoreRepository;
pub use store_source::StoreSource;
pub use store_target::StoreTarget;
pub use tag_rules::{Expected, ImmutableTag, ImmutableTags, TagRules};
pub use target::{Mounted, Origin, Target};
pub use transfer::{fill_and_commit, transfer};
pub use verify::{
    Approval, Binds, ChainLink, DigestKind, LinkKind, Refusal, Verdict, Verification, VerifyOptions, Wanted,
    find_config, verify,
};
