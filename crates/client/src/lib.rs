//! Images from and to any registry that speaks the OCI Distribution Specification.
//!
//! A [`Client`] knows who it is at which registry and how each is reached. It gives registries as sources to read from and as targets to
//! write to; [`copy`](pier_content::copy()) moves images between those and stores, layouts and memory, verified as they arrive.
//!
//! ```
//! use std::sync::Arc;
//!
//! use pier_client::Client;
//! use pier_content::{CopyOptions, Memory, Progress, Source as _, StoreTarget, copy};
//! use pier_oci::Reference;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let registry = pier_testkit::test_registry::TestRegistry::start().await?;
//! # registry.push(&pier_testkit::image::ImageBuilder::new().build(), "team/app:1.2").await?;
//! # let name = registry.image_ref("team/app:1.2");
//! // `name` is something like "ghcr.io/team/app:1.2".
//! let reference: Reference = name.parse()?;
//! let client = Client::builder().user_agent("launcher/1.0").build()?;
//! let source = client.source(&reference.repository.registry)?;
//!
//! // What the tag names now, for one HEAD.
//! let found = source.resolve(&reference).await?;
//!
//! // The image with all that it consists of, by that digest, so that nothing else can come.
//! let pinned = Reference { digest: Some(found.digest), ..reference.clone() };
//! let store = Arc::new(Memory::default());
//! let target = StoreTarget { blobs: store.clone(), catalog: store };
//! let (options, progress) = (CopyOptions::default(), Progress::default());
//! let copied = copy(&*source, &pinned, &target, &reference.repository, &[], &options, &progress).await?;
//! assert_eq!(copied.root.digest, found.digest);
//!
//! // The registry itself, for what is its own to say; one attempt a call.
//! let remote = client.remote(&reference.repository.registry)?;
//! assert_eq!(remote.tags(&reference.repository).await?, ["1.2".parse()?]);
//! # Ok(())
//! # }
//! ```
//!
//! Credentials come from a [`CredentialSource`](credentials::CredentialSource), settings from [`Hosts`]; neither is read from the environment
//! unless the program does so. [`launcher`] has what a program needs that starts only approved images.

mod auth;
mod certificates;
mod chunks;
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
    remote::{Greeting, Remote},
    sessions::{SessionsInMemory, UploadSessions},
    transport::{Timeouts, Verification},
};

/// The examples of the guide compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/from-oci-client-to-pier.md")]
struct Guide;
