//! What a stranger may try against a running `pier serve`: to read what is not theirs, and to keep others from being served.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

mod documents;
mod idle;
mod names;
mod server;
mod slow;
