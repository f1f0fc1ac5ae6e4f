//! Who gets into `pier serve`, and over what: TLS and logins, by the real binary and clients that do what no usual client does.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

mod htpasswd;
mod http2;
mod limits;
mod login;
mod logs;
mod server;
mod tls;
