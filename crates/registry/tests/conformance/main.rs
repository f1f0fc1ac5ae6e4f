//! The groups of the specification's own conformance suite, for machines without Go, in the process and for both digest
//! algorithms. Names begin with the specification's ids of the end-points that are asked.
//!
//! The suite itself runs against a real `pier serve` in `crates/pier/tests/conformance`. Where it lets a registry choose, these
//! tests hold this one to what it has chosen.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

mod base;
mod blobs;
mod content;
mod images;
mod manifests;
mod registry;
mod uploads;
