//! The API over the memory store, end-point by end-point.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod blobs;
mod listings;
mod manifests;
mod support;
mod uploads;
