//! What a registry is to be like.

use std::fmt;
use std::path::PathBuf;

use pier_content::Completeness;

use super::front::{Account, Rights};
use super::{Error, Options, Storage, TestRegistry};
#[cfg(feature = "proxy")]
use crate::faults::{Canned, Fault, Pace, Script, When};
#[cfg(feature = "tls")]
use crate::tls::Authority;

/// What a registry is to be like; [`start`](Self::start) makes it. Without anything said it is empty, plain and open to all.
///
/// ```
/// # #[cfg(feature = "proxy")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use pier_testkit::TestRegistry;
/// use pier_testkit::faults::{Fault, Kind, When};
///
/// let registry = TestRegistry::builder()
///     .auth("me", "secret")
///     .reader("guest", "hello")
///     .tls()
///     .fault(When::get(Kind::Blob).once(), Fault::Truncate { after: 1000 })
///     .start()
///     .await?;
/// assert!(registry.url().starts_with("https://127.0.0.1:"));
/// assert!(registry.ca_pem().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "proxy"))]
/// # fn main() {}
/// ```
#[derive(Clone, Default)]
#[must_use = "it is not started"]
pub struct Builder {
    pub(super) options: Options,
    pub(super) accounts: Vec<Account>,
    #[cfg(feature = "tls")]
    transport: Transport,
    #[cfg(feature = "proxy")]
    pub(super) script: Option<Script>,
}

/// Whether TLS is spoken.
#[cfg(feature = "tls")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Transport {
    #[default]
    Plain,
    Tls,
}

impl From<Options> for Builder {
    fn from(options: Options) -> Self {
        Self { options, ..Self::default() }
    }
}

impl Builder {
    /// With the images of a folder: the storage folder of distribution, as `pier testdata init` and `docker-registry` make it. It is read as
    /// it is and never written: what is pushed, deleted and tagged stays in memory, so any number of registries share one folder. Each byte
    /// is hashed before it is served.
    pub fn storage_dir(self, path: impl Into<PathBuf>) -> Self {
        self.storage(Storage::StorageDir(path.into()))
    }

    /// With its content there.
    pub fn storage(mut self, storage: Storage) -> Self {
        self.options.storage = storage;
        self
    }

    /// Takes indexes whose images are not all there.
    pub fn sparse(mut self) -> Self {
        self.options.completeness = Completeness::Sparse;
        self
    }

    /// Lets in only who logs in (HTTP Basic, as with an htpasswd file); whoever logs in with this may do everything. Several may be named.
    pub fn auth(self, user: &str, password: &str) -> Self {
        self.account(user, password, Rights::All)
    }

    /// Lets in only who logs in; whoever logs in with this may read and is denied all else.
    pub fn reader(self, user: &str, password: &str) -> Self {
        self.account(user, password, Rights::Read)
    }

    fn account(mut self, user: &str, password: &str, rights: Rights) -> Self {
        self.accounts.push(Account { user: user.to_owned(), password: password.to_owned(), rights });
        self
    }

    /// Speaks TLS, with a certificate of an authority of its own ([`TestRegistry::ca_pem`]) for `localhost`, `127.0.0.1` and `::1`.
    #[cfg(feature = "tls")]
    pub fn tls(mut self) -> Self {
        self.transport = Transport::Tls;
        self
    }

    /// Strikes requests. Rules are tried in the order in which they are said; see [`faults`](crate::faults).
    #[cfg(feature = "proxy")]
    pub fn fault(self, when: When, fault: Fault) -> Self {
        self.scripted(|script| script.rule(when, fault))
    }

    /// Answers requests in the registry's place.
    #[cfg(feature = "proxy")]
    pub fn answer(self, when: When, answer: Canned) -> Self {
        self.scripted(|script| script.answer(when, answer))
    }

    /// Is as slow as this.
    #[cfg(feature = "proxy")]
    pub fn pace(self, pace: Pace) -> Self {
        self.scripted(|script| script.pace(pace))
    }

    /// Writes down every request, for [`TestRegistry::proxy`] to tell. Faults, answers and a pace do so too.
    #[cfg(feature = "proxy")]
    pub fn watched(self) -> Self {
        self.scripted(|script| script)
    }

    #[cfg(feature = "proxy")]
    fn scripted(mut self, change: impl FnOnce(Script) -> Script) -> Self {
        self.script = Some(change(self.script.unwrap_or_default()));
        self
    }

    /// Starts it; it takes connections when this returns.
    pub async fn start(self) -> Result<TestRegistry, Error> {
        TestRegistry::start_as(self).await
    }

    /// Whether a proxy stands in front of the registry.
    #[cfg(feature = "tls")]
    pub(super) fn is_proxied(&self) -> bool {
        #[cfg(feature = "proxy")]
        return self.script.is_some();
        #[cfg(not(feature = "proxy"))]
        false
    }

    #[cfg(feature = "tls")]
    pub(super) fn authority(&self) -> Result<Option<Authority>, Error> {
        match self.transport {
            Transport::Plain => Ok(None),
            Transport::Tls => Ok(Some(Authority::new()?)),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("options", &self.options).finish_non_exhaustive()
    }
}
