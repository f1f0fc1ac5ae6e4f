//! The server as its clients know it when it is killed, stopped, doubled or out of space.
//!
//! Real processes of the real binary; clients that know what was acknowledged to them and what was not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod account;
mod client;
mod dice;
mod full_disk;
mod interrupted;
mod killing;
mod material;
mod push;
mod races;
mod server;
mod shutdown;
mod two_servers;
mod uploads;
