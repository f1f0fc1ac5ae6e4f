//! Layouts and archives as sources and targets: by themselves, against hostile ones, and with the tools that write and
//! read the same formats.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

mod archive;
mod distribution;
mod docker;
mod go;
mod hostile;
mod kill;
mod layout;
mod peers;
mod work;
