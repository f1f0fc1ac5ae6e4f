//! Where registries are asked from.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pier_content::{Fallback, Jitter, Result, RetryPolicy, Retrying, RetryingTarget, Source, Target};
use pier_oci::Registry;

use crate::{
    Hosts, Remote, SessionsInMemory, Timeouts, UploadSessions,
    credentials::{Anonymous, CredentialSource},
    hosts::{Trust, Way},
    mirror::{MirrorSource, Rest},
    wire::Wire,
};

/// What this crate calls itself to registries, unless it is told otherwise.
const USER_AGENT: &str = concat!("pier/", env!("CARGO_PKG_VERSION"));

/// Attempts in a row at a mirror, and how long all waits between them may be. The registry itself is the next to be asked, so nobody has to
/// insist.
const MIRROR_ATTEMPTS: NonZeroU32 = const { NonZeroU32::new(2).expect("two is not zero") };
const MIRROR_WAIT: Duration = Duration::from_secs(2);

/// The way to every registry: credentials, settings, connections. Cheap to clone; clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    user_agent: String,
    timeouts: Timeouts,
    hosts: Hosts,
    credentials: Arc<dyn CredentialSource>,
    retries: RetryPolicy,
    sessions: Arc<dyn UploadSessions>,
    registries: Mutex<HashMap<Registry, Known>>,
}

/// A registry that was asked for before.
#[derive(Clone, Debug)]
struct Known {
    origin: Remote,
    mirrors: Vec<KnownMirror>,
}

#[derive(Clone, Debug)]
struct KnownMirror {
    remote: Remote,
    trust: Trust,
    rest: Arc<Rest>,
}

/// How a [`Client`] is made.
#[derive(Clone, Debug, Default)]
pub struct ClientBuilder {
    user_agent: Option<String>,
    timeouts: Timeouts,
    hosts: Hosts,
    credentials: Option<Arc<dyn CredentialSource>>,
    retries: Option<RetryPolicy>,
    attempts: Option<NonZeroU32>,
    sessions: Option<Arc<dyn UploadSessions>>,
}

impl Client {
    /// A client is made step by step.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A registry itself, without mirrors and without retries. Makes no request; the first call for a registry reads the settings' files.
    ///
    /// # Errors
    /// [`Invalid`](pier_content::Error::Invalid) when settings for this registry cannot be read or used. They are never left out instead.
    pub fn remote(&self, registry: &Registry) -> Result<Remote> {
        Ok(self.known(registry)?.origin)
    }

    /// A registry to read from: its mirrors in their order, then itself, each asked again after failures that may pass. Mirrors give content
    /// by digest, and names only if they are trusted to; whatever they fail at, the registry is asked.
    ///
    /// # Errors
    /// As [`remote`](Self::remote).
    pub fn source(&self, registry: &Registry) -> Result<Arc<dyn Source>> {
        self.source_with(registry, self.retries())
    }

    /// As [`source`](Self::source), with other patience or with somebody to be told of it.
    ///
    /// # Errors
    /// As [`remote`](Self::remote).
    pub fn source_with(&self, registry: &Registry, retries: &RetryPolicy) -> Result<Arc<dyn Source>> {
        let Known { origin, mirrors } = self.known(registry)?;
        let mut sources: Vec<Arc<dyn Source>> = Vec::new();
        for KnownMirror { remote, trust, rest } in mirrors {
            let patient = Arc::new(Retrying::new(Arc::new(remote), of_mirrors(retries)));
            sources.push(Arc::new(MirrorSource::new(patient, trust, rest)));
        }
        sources.push(Arc::new(Retrying::new(Arc::new(origin), retries.clone())));
        let first = sources.remove(0);
        Ok(if sources.is_empty() { first } else { Arc::new(Fallback::new(first, sources)) })
    }

    /// A registry to write to: never a mirror, and asked again after failures that may pass.
    ///
    /// # Errors
    /// As [`remote`](Self::remote).
    pub fn target(&self, registry: &Registry) -> Result<Arc<dyn Target>> {
        self.target_with(registry, self.retries())
    }

    /// As [`target`](Self::target), with other patience or with somebody to be told of it.
    ///
    /// # Errors
    /// As [`remote`](Self::remote).
    pub fn target_with(&self, registry: &Registry, retries: &RetryPolicy) -> Result<Arc<dyn Target>> {
        Ok(Arc::new(RetryingTarget::new(Arc::new(self.remote(registry)?), retries.clone())))
    }

    /// How often and how patiently registries are asked.
    pub fn retries(&self) -> &RetryPolicy {
        &self.inner.retries
    }

    /// The same with at least this long for a connection to stand and an answer to begin. Shares credentials and settings, and no
    /// connections, if it is another.
    pub(crate) fn with_patience(&self, least: Duration) -> Self {
        let timeouts = self.inner.timeouts;
        if timeouts.connect >= least && timeouts.answer >= least {
            return self.clone();
        }
        let (connect, answer) = (timeouts.connect.max(least), timeouts.answer.max(least));
        let Inner { user_agent, hosts, credentials, retries, sessions, .. } = &*self.inner;
        Self {
            inner: Arc::new(Inner {
                user_agent: user_agent.clone(),
                timeouts: Timeouts { connect, answer, ..timeouts },
                hosts: hosts.clone(),
                credentials: Arc::clone(credentials),
                retries: retries.clone(),
                sessions: Arc::clone(sessions),
                registries: Mutex::default(),
            }),
        }
    }

    fn known(&self, registry: &Registry) -> Result<Known> {
        let mut registries = self.inner.registries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = registries.get(registry) {
            return Ok(known.clone());
        }
        let known = self.inner.find(registry)?;
        registries.insert(registry.clone(), known.clone());
        Ok(known)
    }
}

impl Inner {
    fn find(&self, registry: &Registry) -> Result<Known> {
        let ways = self.hosts.ways(registry)?;
        let origin = self.remote(registry, ways.origin);
        let mirror = |(url, trust, host)| {
            let remote = self.remote(registry, Way { url: Some(url), host });
            KnownMirror { remote, trust, rest: Arc::default() }
        };
        Ok(Known { origin, mirrors: ways.mirrors.into_iter().map(mirror).collect() })
    }

    fn remote(&self, registry: &Registry, way: Way) -> Remote {
        let Self { user_agent, timeouts, credentials, .. } = self;
        let wire = Wire::new(registry.clone(), way, Arc::clone(credentials), user_agent.clone(), *timeouts);
        Remote::new(Arc::new(wire), Arc::clone(&self.sessions))
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

    /// How registries are reached; by their names and over HTTPS else.
    #[must_use]
    pub fn hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
    }

    /// How often and how patiently registries are asked; [`RetryPolicy::new`] with random jitter else. Mirrors are asked at most twice, and
    /// not again when they want a long pause.
    #[must_use]
    pub fn retries(mut self, retries: RetryPolicy) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Attempts in a row that bring nothing before a call fails; else as [`retries`](Self::retries) has it.
    #[must_use]
    pub fn attempts(mut self, attempts: NonZeroU32) -> Self {
        self.attempts = Some(attempts);
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
        let Self { user_agent, timeouts, hosts, credentials, retries, attempts, sessions } = self;
        let credentials = credentials.unwrap_or_else(|| Arc::new(Anonymous));
        let sessions = sessions.unwrap_or_else(|| Arc::new(SessionsInMemory::default()));
        let user_agent = user_agent.unwrap_or_else(|| USER_AGENT.to_owned());
        let retries = retries.unwrap_or_else(|| RetryPolicy::new(Jitter::from_random(random)));
        let retries = RetryPolicy { attempts: attempts.unwrap_or(retries.attempts), ..retries };
        let registries = Mutex::default();
        let inner = Inner { user_agent, timeouts, hosts, credentials, retries, sessions, registries };
        Ok(Client { inner: Arc::new(inner) })
    }
}

fn of_mirrors(retries: &RetryPolicy) -> RetryPolicy {
    let own = retries.clone();
    RetryPolicy {
        attempts: own.attempts.min(MIRROR_ATTEMPTS),
        max_wait: own.max_wait.min(MIRROR_WAIT),
        ..own
    }
}

/// A number from 0 to 1. Each hasher of the standard library has keys of its own, which is as much chance as a pause needs.
fn random() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share of a pause")]
    let share = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
    share
}
