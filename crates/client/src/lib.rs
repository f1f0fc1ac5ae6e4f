//! Images from and to any registry that speaks the OCI Distribution Specification.

mod auth;
mod client;
pub mod credentials;
mod host;
mod proxies;
mod refusal;
mod remote;
mod sessions;
mod transport;
mod wire;

pub use self::{
    client::{Client, ClientBuilder},
    host::{Host, Scheme},
    proxies::Proxies,
    remote::Remote,
    sessions::{SessionsInMemory, UploadSessions},
    transport::{ClientIdentity, Timeouts, TlsSettings, Verification},
};
