//! A registry that is not ours to command: Pier's own in this process, behind the proxy that counts and breaks.

use std::future::Future;

use pier_oci::{Descriptor, Digest, Platform};
use pier_testkit::faults::{FaultyProxy, Script};
use pier_testkit::image::{BuiltImage, ImageBuilder, IndexBuilder, Layer};
use pier_testkit::test_registry::TestRegistry;

use crate::pier::Said;

pub(crate) struct Remote {
    pub(crate) registry: TestRegistry,
    pub(crate) proxy: FaultyProxy,
}

/// An index of an image for each of the two architectures that Pier runs on, and what it consists of.
pub(crate) struct Multi {
    pub(crate) index: BuiltImage,
    /// For this machine.
    pub(crate) here: BuiltImage,
    /// For the other.
    pub(crate) there: BuiltImage,
}

/// Runs what a test waits for.
#[track_caller]
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Remote {
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::scripted(Script::new())
    }

    #[track_caller]
    pub(crate) fn scripted(script: Script) -> Self {
        wait(async {
            let registry = TestRegistry::start().await.unwrap();
            let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
            Self { registry, proxy }
        })
    }

    /// Puts an image into the registry without the proxy noticing. Gives its name on the command line.
    #[track_caller]
    pub(crate) fn push(&self, image: &BuiltImage, name: &str) -> String {
        wait(self.registry.push(image, name)).unwrap();
        self.name(name)
    }

    /// What an image of this registry is called on the command line.
    pub(crate) fn name(&self, name: &str) -> String {
        self.proxy.image_ref(name)
    }

    /// What a repository of this registry is called in the store.
    pub(crate) fn local(&self, name: &str) -> String {
        format!("127.0.0.1_{}/{name}", self.proxy.address().port())
    }

    /// Bytes of a blob that were fetched from the registry.
    pub(crate) fn fetched(&self, blob: &Descriptor) -> u64 {
        self.proxy.downloaded(&blob.digest)
    }

    /// With the one thing that differs from run to run, the address, written as `REGISTRY`, and how long something took as `N s`.
    pub(crate) fn tidy(&self, said: &Said) -> String {
        let text = format!("status: {}\n--- stdout\n{}--- stderr\n{}", said.status, said.stdout, said.stderr);
        let text = text.replace(&self.name(""), "REGISTRY/").replace(&self.local(""), "REGISTRY/");
        text.replace(&self.proxy.address().to_string(), "REGISTRY")
    }
}

impl Multi {
    pub(crate) fn new() -> Self {
        let machine = Platform::from_rust("linux", std::env::consts::ARCH);
        let other = if machine.architecture == "amd64" { "arm64" } else { "amd64" };
        let here = image_for(&machine.architecture, 1);
        let there = image_for(other, 2);
        let index = IndexBuilder::new().child(&here).child(&there).attestation(&here).build();
        Self { index, here, there }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.index.root.digest
    }
}

/// An image of one layer of some bytes.
pub(crate) fn image(seed: u64) -> BuiltImage {
    image_of(seed, 3000)
}

/// An image of one layer of so many bytes.
pub(crate) fn image_of(seed: u64, bytes: usize) -> BuiltImage {
    ImageBuilder::new().layer(Layer::random(seed, bytes)).build()
}

fn image_for(architecture: &str, seed: u64) -> BuiltImage {
    let layer = Layer::random(seed, 3000);
    ImageBuilder::new().platform("linux", architecture, None).layer(layer).build()
}

/// The layer of an image that has one.
pub(crate) fn layer(image: &BuiltImage) -> &Descriptor {
    &image.blobs.iter().max_by_key(|blob| blob.descriptor.size).unwrap().descriptor
}
