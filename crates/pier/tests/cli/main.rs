//! What a person at a terminal meets: every command as a process of its own, its words and its exit status.
//!
//! A store gets its images as users' stores do, by a push over HTTP to a `pier serve`; see `registry`. Whole outputs are
//! compared, with the one thing that differs from run to run, the data folder, written as `DATA`.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

mod approve;
mod collection;
mod completions;
mod configuration;
mod copy;
mod data_folder;
mod delete;
mod docker_client;
mod faults;
mod fsck;
mod help;
mod history;
mod images;
mod inspect;
mod interop;
mod json;
mod listings;
mod login;
mod manifest;
mod memory;
mod monitoring;
mod old_defects;
mod output;
mod pier;
mod progress;
mod prune;
mod pull;
mod push;
mod references;
mod registries;
mod registry;
mod remote;
mod resolve;
mod rm;
mod serve;
mod site;
mod stopping;
mod takeover;
mod testdata;
mod verify;
