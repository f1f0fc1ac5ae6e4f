//! Where registries are asked from.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use pier_content::Result;
use pier_oci::Registry;

use crate::{
    Host, Remote, SessionsInMemory, Timeouts, UploadSessions,
    credentials::{Anonymous, CredentialSource},
    wire::Wire,
};

/// What this crate calls itself to registries, unless it is told otherwise.
const USER_AGENT: &str = concat!("pier/", env!("CARGO_PKG_VERSION"));

/// The way to every registry: credentials, settings, connections. Cheap to clone; clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    user_agent: String,
    timeouts: Timeouts,
    default_host: Host,
    credentials: Arc<dyn CredentialSource>,
    sessions: Arc<dyn UploadSessions>,
    wires: Mutex<HashMap<Registry, Arc<Wire>>>,
}

/// How a [`Client`] is made.
#[derive(Clone, Debug, Default)]
pub struct ClientBuilder {
    user_agent: Option<String>,
    timeouts: Timeouts,
    default_host: Host,
    credentials: Option<Arc<dyn CredentialSource>>,
    sessions: Option<Arc<dyn UploadSessions>>,
}

impl Client {
    /// A client is made step by step.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A registry itself, without mirrors and without retries. Makes no request.
    pub fn remote(&self, registry: &Registry) -> Remote {
        let mut wires = self.inner.wires.lock().unwrap_or_else(PoisonError::into_inner);
        let wire = wires.entry(registry.clone()).or_insert_with(|| {
            let Inner { user_agent, timeouts, default_host, credentials, .. } = &*self.inner;
            let (host, credentials) = (default_host.clone(), Arc::clone(credentials));
            Arc::new(Wire::new(registry.clone(), host, credentials, user_agent.clone(), *timeouts))
        });
        Remote::new(Arc::clone(wire), Arc::clone(&self.inner.sessions))
    }
}

impl ClientBuilder {
    /// What the client calls itself; `pier/VERSION` else.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// How long an exchange may take where nothing happens.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How registries are reached for which nothing else is set.
    #[must_use]
    pub fn default_host(mut self, host: Host) -> Self {
        self.default_host = host;
        self
    }

    /// Who this client is at which registry; nobody anywhere else.
    #[must_use]
    pub fn credentials(mut self, credentials: Arc<dyn CredentialSource>) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Where uploads that were not finished are remembered; in memory else.
    #[must_use]
    pub fn sessions(mut self, sessions: Arc<dyn UploadSessions>) -> Self {
        self.sessions = Some(sessions);
        self
    }

    /// # Errors
    /// When a setting cannot be used; a client never falls back to weaker ones.
    pub fn build(self) -> Result<Client> {
        let Self { user_agent, timeouts, default_host, credentials, sessions } = self;
        let credentials = credentials.unwrap_or_else(|| Arc::new(Anonymous));
        let sessions = sessions.unwrap_or_else(|| Arc::new(SessionsInMemory::default()));
        let user_agent = user_agent.unwrap_or_else(|| USER_AGENT.to_owned());
        Ok(Client {
            inner: Arc::new(Inner {
                user_agent,
                timeouts,
                default_host,
                credentials,
                sessions,
                wires: Mutex::default(),
            }),
        })
    }
}
