//! The store on disks that forget what was not synced, and on disks that are full.
//!
//! Each test takes one piece of work, breaks the disk at every step of it in turn, and asks the same questions each
//! time: is what was acknowledged there, is nothing there that does not hash to its name, can the work be repeated,
//! and is nothing left over that nobody would ever find.

#![expect(clippy::unwrap_used, reason = "a store that fails where it must not ends the test")]
#![expect(clippy::print_stdout, reason = "what a failed test shows is at which step it failed")]

mod full_disk;
mod ledger;
mod power_loss;
mod questions;
mod work;
