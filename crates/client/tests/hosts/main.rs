//! Mirrors, certificates and proxies, over real connections on loopback.

#![expect(clippy::unwrap_used, reason = "a failure that was not expected has to end a test")]

mod forward;
mod mirrors;
mod proxies;
mod support;
mod tls;
