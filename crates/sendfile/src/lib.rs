//! Bodies of HTTP/1 that the kernel sends from files.
//!
//! hyper knows no file bodies, and copying costs two and a half times the CPU of `sendfile(2)` (a cached file of
//! 1 GiB over loopback: 0.34 against 0.13 CPU-seconds). A [`FileSocket`] is a connection for hyper, on the side of a
//! server or of a client, that sends a [`FileBody`] without its bytes passing through this process; on any other
//! connection the body is read like one.
//!
//! Only for plain HTTP/1: TLS and HTTP/2 have to see the bytes.

mod body;
mod socket;
mod sys;

pub use body::FileBody;
pub use socket::{FileQueue, FileSocket};
