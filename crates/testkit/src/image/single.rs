//! One image, or one artifact.

use std::collections::BTreeMap;

use bytes::Bytes;
use pier_oci::{Algorithm, Descriptor, Digest, MediaType, Platform};
use serde_json::{Map, Value, json};

use super::{BuiltBlob, BuiltImage, BuiltManifest, Content, Format, Layer};

/// Makes an image: a config, its layers and what is said about it.
///
/// As it begins it is OCI's, for `linux/amd64`, named by SHA-256, without layers.
#[derive(Clone, Debug)]
pub struct ImageBuilder {
    format: Format,
    algorithm: Algorithm,
    platform: Platform,
    layers: Vec<Layer>,
    entrypoint: Vec<String>,
    command: Vec<String>,
    annotations: BTreeMap<String, String>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ImageBuilder {
    /// An empty image.
    pub fn new() -> Self {
        Self {
            format: Format::Oci,
            algorithm: Algorithm::Sha256,
            platform: Platform::new("linux", "amd64", None),
            layers: Vec::new(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            annotations: BTreeMap::new(),
            subject: None,
            artifact_type: None,
        }
    }

    /// Whose media types it has.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// How its manifest, its config and its layers are named. Diff ids stay SHA-256.
    #[must_use]
    pub fn algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// What its config says it runs on, exactly as given here.
    #[must_use]
    pub fn platform(self, os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let platform = Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: None,
            os_features: Vec::new(),
        };
        Self { platform, ..self }
    }

    /// One more layer, on top. The same one may be put there twice.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// The program that is run, and its first arguments.
    #[must_use]
    pub fn entrypoint(self, words: &[&str]) -> Self {
        Self { entrypoint: owned(words), ..self }
    }

    /// Arguments, which whoever runs it may replace.
    #[must_use]
    pub fn command(self, words: &[&str]) -> Self {
        Self { command: owned(words), ..self }
    }

    /// An annotation of the manifest.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The manifest that it is about, which need not be anywhere.
    #[must_use]
    pub fn subject(self, subject: &Descriptor) -> Self {
        // Only identity: a subject has no platform and no annotations of its own.
        let subject = Descriptor::new(subject.media_type.clone(), subject.digest, subject.size);
        Self { subject: Some(subject), ..self }
    }

    /// Makes it an artifact of this type: it has the empty config, and no platform.
    #[must_use]
    pub fn artifact_type(self, artifact_type: &str) -> Self {
        Self { artifact_type: Some(artifact_type.to_owned()), ..self }
    }

    /// The image.
    pub fn build(&self) -> BuiltImage {
        let (media_type, config) = self.config();
        let config = blob(media_type, Content::Memory(config), self.algorithm);
        let mut image =
            BuiltImage { root: config.descriptor.clone(), blobs: vec![config], manifests: Vec::new() };
        let config = image.root.clone();
        let mut layers = Vec::new();
        for layer in &self.layers {
            let layer = blob(layer.media_type(self.format), layer.content.clone(), self.algorithm);
            layers.push(layer.descriptor.clone());
            if image.blobs.iter().all(|blob| blob.descriptor.digest != layer.descriptor.digest) {
                image.blobs.push(layer);
            }
        }
        let media_type = match self.format {
            Format::Oci => MediaType::OCI_MANIFEST,
            Format::Docker => MediaType::DOCKER_MANIFEST,
        };
        let mut document = json!({
            "schemaVersion": 2, "mediaType": &media_type, "config": config, "layers": layers,
        });
        said(&mut document, self.artifact_type.as_deref(), self.subject.as_ref(), &self.annotations);
        let mut manifest = manifest(media_type, &document, self.algorithm);
        manifest.descriptor.platform = self.artifact_type.is_none().then(|| self.platform.clone());
        image.root = manifest.descriptor.clone();
        image.manifests.push(manifest);
        image
    }

    fn config(&self) -> (MediaType, Bytes) {
        if self.artifact_type.is_some() {
            return (MediaType::OCI_EMPTY, Bytes::from_static(b"{}"));
        }
        let media_type = match self.format {
            Format::Oci => MediaType::OCI_CONFIG,
            Format::Docker => MediaType::DOCKER_CONFIG,
        };
        let mut run = Map::new();
        for (name, words) in [("Entrypoint", &self.entrypoint), ("Cmd", &self.command)] {
            if !words.is_empty() {
                run.insert(name.to_owned(), json!(words));
            }
        }
        let diff_ids: Vec<Digest> = self.layers.iter().map(Layer::diff_id).collect();
        let mut config = json!({
            "os": self.platform.os,
            "architecture": self.platform.architecture,
            "config": run,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        if let Some(variant) = &self.platform.variant {
            config["variant"] = json!(variant);
        }
        (media_type, config.to_string().into())
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Adds to a manifest or an index what was said about it.
pub(super) fn said(
    document: &mut Value,
    artifact_type: Option<&str>,
    subject: Option<&Descriptor>,
    annotations: &BTreeMap<String, String>,
) {
    if let Some(artifact_type) = artifact_type {
        document["artifactType"] = json!(artifact_type);
    }
    if let Some(subject) = subject {
        document["subject"] = json!(subject);
    }
    if !annotations.is_empty() {
        document["annotations"] = json!(annotations);
    }
}

/// A document with its descriptor.
pub(super) fn manifest(media_type: MediaType, document: &Value, algorithm: Algorithm) -> BuiltManifest {
    written(media_type, document.to_string().into(), algorithm)
}

/// Bytes that are sent as a manifest, with a descriptor that is right about them.
pub(super) fn written(media_type: MediaType, bytes: Bytes, algorithm: Algorithm) -> BuiltManifest {
    let digest = Digest::of(algorithm, &bytes);
    BuiltManifest { descriptor: Descriptor::new(media_type, digest, bytes.len() as u64), bytes }
}

/// Content with a descriptor that is right about it.
#[expect(clippy::expect_used, reason = "the temporary file is this process's own and stays while it is held")]
pub(super) fn blob(media_type: MediaType, content: Content, algorithm: Algorithm) -> BuiltBlob {
    let (digest, size) = content.measure(algorithm).expect("content that was just written can be read");
    BuiltBlob { descriptor: Descriptor::new(media_type, digest, size), content }
}
