//! What the tests share: registries behind proxies that note who comes, clients, and copies into memory.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use pier_client::{Client, ClientBuilder, HostSettings, Hosts, Mirror, Trust};
use pier_content::{
    Copied, CopyOptions, Jitter, Memory, Progress, Result, RetryPolicy, Source, StoreTarget, copy,
};
use pier_oci::{Reference, Registry};
use pier_testkit::{
    faults::{FaultyProxy, Kind, Script, Seen},
    image::{BuiltImage, ImageBuilder, Layer, Packing, Tree},
    test_registry::{Options, Storage, TestRegistry},
};

/// The image that all tests are about.
pub(crate) const IMAGE: &str = "team/app:v1";

/// A registry, and in front of it somebody who notes who comes.
pub(crate) struct Watched {
    pub(crate) registry: TestRegistry,
    pub(crate) proxy: FaultyProxy,
}

impl Watched {
    pub(crate) async fn start(script: Script) -> Self {
        let registry = registry().await;
        let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
        Self { registry, proxy }
    }

    /// The same with the image in it.
    pub(crate) async fn with(image: &BuiltImage, script: Script) -> Self {
        let watched = Self::start(script).await;
        watched.registry.push(image, IMAGE).await.unwrap();
        watched
    }

    pub(crate) fn name(&self) -> Registry {
        self.proxy.address().to_string().parse().unwrap()
    }

    pub(crate) fn reference(&self) -> Reference {
        self.proxy.image_ref(IMAGE).parse().unwrap()
    }

    pub(crate) fn mirror(&self, trust: Trust) -> Mirror {
        Mirror { url: self.proxy.url().parse().unwrap(), trust, settings: HostSettings::default() }
    }

    /// Requests of a kind that were answered with what was asked for.
    pub(crate) fn served(&self, kind: Kind) -> usize {
        let good = |seen: &&Seen| seen.kind == kind && matches!(seen.status, Some(200..300));
        self.proxy.requests().iter().filter(good).count()
    }

    /// Requests of a kind.
    pub(crate) fn asked(&self, kind: Kind) -> usize {
        self.proxy.requests().iter().filter(|seen| seen.kind == kind).count()
    }
}

pub(crate) async fn registry() -> TestRegistry {
    TestRegistry::start_with(Options { storage: Storage::Memory, ..Options::default() }).await.unwrap()
}

/// An image of two layers and a config.
pub(crate) fn image() -> BuiltImage {
    let tree = Tree::new().file("etc/motd", "hello");
    ImageBuilder::new().layer(tree.pack(Packing::Gzip)).layer(Layer::random(7, 300_000)).build()
}

/// A client that does not wait long.
pub(crate) fn builder() -> ClientBuilder {
    Client::builder().retries(RetryPolicy {
        attempts: NonZeroU32::new(2).unwrap(),
        first_delay: Duration::from_millis(1),
        ..RetryPolicy::new(Jitter::none())
    })
}

/// A client with these settings for one registry.
pub(crate) fn client(registry: &Registry, settings: HostSettings) -> Client {
    let hosts = Hosts { named: vec![(registry.clone().into(), settings)], ..Hosts::default() };
    builder().hosts(hosts).build().unwrap()
}

/// A client that asks these mirrors first.
pub(crate) fn mirrored(registry: &Registry, mirrors: Vec<Mirror>) -> Client {
    client(registry, HostSettings { mirrors: Some(mirrors), ..HostSettings::default() })
}

/// Copies an image into memory, where everything is verified.
pub(crate) async fn pull(client: &Client, reference: &Reference) -> Result<Copied> {
    let memory = Arc::new(Memory::default());
    let target = StoreTarget { blobs: memory.clone(), catalog: memory };
    let source: Arc<dyn Source> = client.source(&reference.repository.registry)?;
    let tags: Vec<_> = reference.tag.iter().cloned().collect();
    let options = CopyOptions::default();
    copy(&*source, reference, &target, &reference.repository, &tags, &options, &Progress::default()).await
}
