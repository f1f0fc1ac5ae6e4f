//! A registry in the process and a store of one's own: what a command that asks a registry needs.

use std::sync::Arc;

use http::Method;
use pier_content::{Completeness, PutManifest, TagRules};
use pier_oci::{Digest, Reference, Tag};
use pier_testkit::{
    faults::{FaultyProxy, Script},
    image::{BuiltImage, ImageBuilder, IndexBuilder, Packing, Tree},
    test_registry::{Options, Storage, TestRegistry},
};
use serde_json::Value;

use crate::pier::{Said, Store};

/// The registry is called `HOST` in what is typed and in what is said.
pub(crate) struct Site {
    pub(crate) store: Store,
    pub(crate) registry: TestRegistry,
    /// What commands talk to in the registry's place, if anything.
    pub(crate) proxy: Option<FaultyProxy>,
}

impl Site {
    pub(crate) async fn start() -> Self {
        let options = Options { storage: Storage::Memory, ..Options::default() };
        let registry = TestRegistry::start_with(options).await.unwrap();
        Self { store: Store::empty(), registry, proxy: None }
    }

    /// One whose registry is behind a proxy that does this.
    pub(crate) async fn behind(script: Script) -> Self {
        let site = Self::start().await;
        let proxy = FaultyProxy::start(site.registry.address(), script).await.unwrap();
        Self { proxy: Some(proxy), ..site }
    }

    pub(crate) fn host(&self) -> String {
        let address = self.proxy.as_ref().map_or_else(|| self.registry.address(), FaultyProxy::address);
        address.to_string()
    }

    /// Runs `pier ARGUMENTS`.
    #[track_caller]
    pub(crate) fn pier(&self, arguments: &[&str]) -> Said {
        let host = self.host();
        let arguments: Vec<String> =
            arguments.iter().map(|argument| argument.replace("HOST", &host)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut said = self.store.pier(&arguments);
        for text in [&mut said.stdout, &mut said.stderr] {
            *text = text.replace(&host, "HOST");
        }
        said
    }

    /// Runs it with `--json`; it has to succeed and say nothing but data.
    #[track_caller]
    pub(crate) fn json_of(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.pier(&[arguments, &["--json"]].concat()).data(0)).unwrap()
    }

    /// Puts more tags on an image that is there.
    pub(crate) async fn tag(&self, image: &BuiltImage, repository: &str, tags: &[&str]) {
        let put = PutManifest {
            repository: repository.parse().unwrap(),
            manifest: Arc::new(image.manifests.last().unwrap().parse().unwrap()),
            tags: tags.iter().map(|tag| tag.parse::<Tag>().unwrap()).collect(),
            completeness: Completeness::Strict,
            rules: TagRules::default(),
        };
        self.registry.catalog().put_manifest(put).await.unwrap();
    }

    /// The methods of all requests so far.
    pub(crate) fn methods(&self) -> Vec<Method> {
        self.proxy.as_ref().unwrap().requests().into_iter().map(|seen| seen.method).collect()
    }
}

/// An image with one file, for one platform.
pub(crate) fn image(content: &str, architecture: &str) -> BuiltImage {
    let layer = Tree::new().file("etc/motd", content.to_owned()).pack(Packing::Gzip);
    ImageBuilder::new().platform("linux", architecture, None).layer(layer).build()
}

/// An index of two images, neither of them for a machine that tests run on, and an attestation.
pub(crate) fn index() -> BuiltImage {
    let (first, second) = (image("first", "s390x"), image("second", "riscv64"));
    IndexBuilder::new().child(&first).child(&second).attestation(&first).build()
}

/// What the bytes of a manifest hash to, by itself.
pub(crate) fn hashed(image: &BuiltImage) -> Digest {
    Digest::sha256(&image.manifests.last().unwrap().bytes)
}

/// A name that exists only to be refused.
pub(crate) fn digest_of_nothing() -> String {
    let reference: Reference = format!("a@{}", Digest::sha256(b"nothing")).parse().unwrap();
    reference.digest.unwrap().to_string()
}

/// JSON as it is printed.
pub(crate) fn pretty(json: &Value) -> String {
    serde_json::to_string_pretty(json).unwrap()
}

/// What is said of a tag of a repository that is not there.
pub(crate) fn missing(name: &str) -> String {
    let (repository, _) = name.split_once(':').unwrap();
    format!(
        "error: manifest `HOST/{name}` is not there\nhint: `pier tags HOST/{repository}` lists what is there\n"
    )
}
