//! Indexes: images by platform, nested ones, and attestations as BuildKit writes them.

use std::collections::BTreeMap;

use pier_oci::{Algorithm, Descriptor, MediaType, Platform};
use serde_json::json;

use super::single::{blob, manifest, said};
use super::{BuiltImage, Content, Format};

/// Makes an index of what was built before, with all of that in it.
#[derive(Clone, Debug)]
pub struct IndexBuilder {
    format: Format,
    algorithm: Algorithm,
    children: Vec<Descriptor>,
    content: BuiltImage,
    annotations: BTreeMap<String, String>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
}

impl Default for IndexBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl IndexBuilder {
    /// An empty OCI index, named by SHA-256.
    pub fn new() -> Self {
        let nothing = manifest(MediaType::OCI_INDEX, &json!({}), Algorithm::Sha256);
        Self {
            format: Format::Oci,
            algorithm: Algorithm::Sha256,
            children: Vec::new(),
            content: BuiltImage { blobs: Vec::new(), manifests: Vec::new(), root: nothing.descriptor },
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

    /// How it is named.
    #[must_use]
    pub fn algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// An image for the platform that it says, or an index in the index, which says none.
    #[must_use]
    pub fn child(self, child: &BuiltImage) -> Self {
        let descriptor = child.root.clone();
        self.described(descriptor, child)
    }

    /// An image for a platform of the index's own choice, whatever its config says.
    #[must_use]
    pub fn child_for(self, platform: Platform, child: &BuiltImage) -> Self {
        let descriptor = Descriptor { platform: Some(platform), ..child.root.clone() };
        self.described(descriptor, child)
    }

    /// A descriptor whose content is left out.
    #[must_use]
    pub fn absent(mut self, descriptor: Descriptor) -> Self {
        self.children.push(descriptor);
        self
    }

    /// What BuildKit puts beside an image: a manifest for the platform `unknown/unknown` with an in-toto statement about it.
    #[must_use]
    pub fn attestation(self, image: &BuiltImage) -> Self {
        let attestation = attestation(&image.root);
        let descriptor = attestation.root.clone();
        self.described(descriptor, &attestation)
    }

    /// An annotation of the index.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The manifest that it is about, which need not be anywhere.
    #[must_use]
    pub fn subject(self, subject: &Descriptor) -> Self {
        let subject = Descriptor::new(subject.media_type.clone(), subject.digest, subject.size);
        Self { subject: Some(subject), ..self }
    }

    /// Makes it an artifact of this type.
    #[must_use]
    pub fn artifact_type(self, artifact_type: &str) -> Self {
        Self { artifact_type: Some(artifact_type.to_owned()), ..self }
    }

    fn described(mut self, descriptor: Descriptor, child: &BuiltImage) -> Self {
        self.children.push(descriptor);
        self.content.adopt(child);
        self
    }

    /// The index, with everything in it.
    pub fn build(&self) -> BuiltImage {
        let media_type = match self.format {
            Format::Oci => MediaType::OCI_INDEX,
            Format::Docker => MediaType::DOCKER_LIST,
        };
        let mut document =
            json!({ "schemaVersion": 2, "mediaType": &media_type, "manifests": self.children });
        said(&mut document, self.artifact_type.as_deref(), self.subject.as_ref(), &self.annotations);
        let index = manifest(media_type, &document, self.algorithm);
        let mut content = self.content.clone();
        content.root = index.descriptor.clone();
        content.manifests.push(index);
        content
    }
}

fn attestation(about: &Descriptor) -> BuiltImage {
    const PREDICATE: &str = "https://slsa.dev/provenance/v0.2";
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": PREDICATE,
        "subject": [{ "name": "_", "digest": { (about.digest.algorithm().as_str()): about.digest.hex() } }],
        "predicate": {},
    });
    let statement = Content::Memory(statement.to_string().into());
    #[expect(clippy::expect_used, reason = "a constant text")]
    let in_toto = "application/vnd.in-toto+json".parse().expect("a media type");
    let mut statement = blob(in_toto, statement, Algorithm::Sha256);
    statement.descriptor.annotations.insert("in-toto.io/predicate-type".to_owned(), PREDICATE.to_owned());
    let config = json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [statement.descriptor.digest] },
    });
    let config = blob(MediaType::OCI_CONFIG, Content::Memory(config.to_string().into()), Algorithm::Sha256);
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": config.descriptor,
        "layers": [statement.descriptor],
    });
    let mut attestation = manifest(MediaType::OCI_MANIFEST, &document, Algorithm::Sha256);
    attestation.descriptor.platform = Some(Platform::new("unknown", "unknown", None));
    attestation.descriptor.annotations = BTreeMap::from([
        ("vnd.docker.reference.digest".to_owned(), about.digest.to_string()),
        ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
    ]);
    let root = attestation.descriptor.clone();
    BuiltImage { blobs: vec![config, statement], manifests: vec![attestation], root }
}
