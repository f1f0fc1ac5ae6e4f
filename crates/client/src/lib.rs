//! Images from and to any registry that speaks the OCI Distribution Specification.

mod auth;
mod certificates;
mod client;
pub mod credentials;
mod host;
mod hosts;
pub mod launcher;
mod mirror;
mod proxies;
mod refusal;
mod remote;
mod sessions;
mod transport;
mod wire;

pub use self::{
    certificates::{Authorities, ClientIdentity},
    client::{Client, ClientBuilder},
    host::{HostSettings, Scheme},
    hosts::{EndpointUrl, HostPattern, Hosts, HostsFolder, Mirror, Trust},
    proxies::Proxies,
    remote::Remote,
    sessions::{SessionsInMemory, UploadSessions},
    transport::{Timeouts, Verification},
};

/// The examples of the guide compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/from-oci-client-to-pier.md")]
struct Guide;
