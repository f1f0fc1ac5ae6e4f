//! The registry that the peers talk to. Everything else here knows only its address.

use std::net::SocketAddr;

use pier_testkit::engine::{DockerRegistry, or_skip};

/// A registry that runs until it is dropped.
pub(crate) struct Registry {
    address: SocketAddr,
    _running: DockerRegistry,
}

impl Registry {
    /// Starts an empty one.
    pub(crate) fn start() -> Option<Self> {
        let running = or_skip(DockerRegistry::start())?;
        Some(Self { address: running.address(), _running: running })
    }

    /// `ADDRESS/path`, as engines write references.
    pub(crate) fn reference(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }
}
