//! The registry in the process for tests that are not asynchronous.
//!
//! ```
//! use pier_testkit::{blocking::TestRegistry, image::{ImageBuilder, Layer}};
//!
//! # fn main() -> Result<(), pier_testkit::test_registry::Error> {
//! let registry = TestRegistry::start()?;
//! let image = ImageBuilder::new().layer(Layer::random(1, 3000)).build();
//! registry.push(&image, "team/app:v1")?;
//! assert!(registry.exists("team/app:v1")?);
//! assert!(!registry.exists("team/app:v2")?);
//! # Ok(())
//! # }
//! ```
//!
//! What needs no wait is asked of the registry itself, which this derefs to.

use std::future::Future;
use std::ops::Deref;
use std::{io, thread};

use pier_oci::Digest;
use tokio::runtime::Runtime;

use crate::image::BuiltImage;
use crate::test_registry::{self, Builder, Error};

/// A registry that runs until it is dropped; see [`test_registry::TestRegistry`].
#[derive(Debug)]
pub struct TestRegistry {
    registry: test_registry::TestRegistry,
    runtime: Waiter,
}

/// What waits. Its drop does not, since within another runtime nobody may.
#[derive(Debug)]
struct Waiter(Option<Runtime>);

impl TestRegistry {
    /// Starts an empty registry.
    pub fn start() -> Result<Self, Error> {
        Self::start_as(test_registry::TestRegistry::builder())
    }

    /// Starts a registry that is like this.
    pub fn start_as(builder: Builder) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Io { operation: "start a runtime", source })?;
        let runtime = Waiter(Some(runtime));
        let registry = runtime.wait(builder.start())??;
        Ok(Self { registry, runtime })
    }

    /// Puts an image into the registry; see [`push`](test_registry::TestRegistry::push).
    pub fn push(&self, image: &BuiltImage, name: &str) -> Result<Digest, Error> {
        self.runtime.wait(self.registry.push(image, name))?
    }

    /// Whether there is an image; see [`exists`](test_registry::TestRegistry::exists).
    pub fn exists(&self, name: &str) -> Result<bool, Error> {
        self.runtime.wait(self.registry.exists(name))?
    }

    /// Copies a repository; see [`clone_repo`](test_registry::TestRegistry::clone_repo).
    pub fn clone_repo(&self, from: &str, to: &str) -> Result<String, Error> {
        self.runtime.wait(self.registry.clone_repo(from, to))?
    }

    /// Copies a repository into one of this test; see
    /// [`clone_repo_for_test`](test_registry::TestRegistry::clone_repo_for_test).
    pub fn clone_repo_for_test(&self, from: &str) -> Result<String, Error> {
        // Its name is that of the thread, so it is taken on this one.
        let name = self.registry.repository_for_test();
        self.clone_repo(from, &name)
    }
}

impl Deref for TestRegistry {
    type Target = test_registry::TestRegistry;

    fn deref(&self) -> &Self::Target {
        &self.registry
    }
}

impl Waiter {
    /// Waits on a thread of its own, so that it works wherever it is called: a runtime must not be waited for within another.
    fn wait<T: Send>(&self, work: impl Future<Output = T> + Send) -> Result<T, Error> {
        let lost = |what: &str| Error::Io { operation: "wait", source: io::Error::other(what.to_owned()) };
        let runtime = self.0.as_ref().ok_or_else(|| lost("the runtime has ended"))?;
        let waited = thread::scope(|scope| scope.spawn(|| runtime.block_on(work)).join());
        waited.map_err(|_| lost("a thread panicked"))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
