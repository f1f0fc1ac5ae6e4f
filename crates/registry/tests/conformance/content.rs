//! The suite's kinds of content: what is pushed before each, and the manifests, the root last.

use pier_oci::{Algorithm, Digest};
use pier_registry::Registry;
use serde_json::{Value, json};

use crate::{
    registry::{REPOSITORY, digest},
    uploads::push,
};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A manifest as it is pushed.
#[derive(Clone, Debug)]
pub(crate) struct Pushed {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    /// The digest of its subject.
    pub(crate) subject: Option<Digest>,
}

/// Makes content of one algorithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maker<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) algorithm: Algorithm,
}

impl Maker<'_> {
    /// Pushes a blob and describes it.
    pub(crate) async fn blob(self, media_type: &str, content: &[u8]) -> Value {
        let digest = push(self.registry, REPOSITORY, self.algorithm, content).await;
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": content.len() })
    }

    /// Describes a blob that is not pushed.
    pub(crate) fn absent(self, media_type: &str, content: &[u8]) -> Value {
        let digest = digest(self.algorithm, content);
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": content.len() })
    }

    /// An image with these members besides config and layers; a member that is null is left out.
    pub(crate) async fn image(self, note: &str, more: Value) -> Pushed {
        let config = self.blob(CONFIG, br#"{"os":"linux","architecture":"amd64"}"#).await;
        let layer = self.blob(LAYER, note.as_bytes()).await;
        let base = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        self.manifest(MANIFEST, &merged(base, more))
    }

    pub(crate) async fn artifact(self, more: Value) -> Pushed {
        let empty = self.blob(EMPTY, b"{}").await;
        let base = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.artifact",
            "config": empty, "layers": [self.blob("text/plain", b"an artifact").await],
        });
        self.manifest(MANIFEST, &merged(base, more))
    }

    pub(crate) fn index(self, children: &[&Pushed], more: Value) -> Pushed {
        let children: Vec<Value> = children.iter().map(|child| child.descriptor()).collect();
        let base = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
        self.manifest(INDEX, &merged(base, more))
    }

    fn manifest(self, media_type: &'static str, document: &Value) -> Pushed {
        let bytes = document.to_string().into_bytes();
        let digest = digest(self.algorithm, &bytes);
        let subject = document["subject"]["digest"].as_str().map(|subject| subject.parse().unwrap());
        Pushed { media_type, bytes, digest, subject }
    }

    /// Every kind of content by its name in the suite, manifests that others name first.
    pub(crate) async fn all(self) -> Vec<(&'static str, Vec<Pushed>)> {
        let image = self.image("a layer", json!({})).await;
        let other = self.image("another layer", json!({})).await;
        let subject = |of: &Pushed| json!({ "subject": of.descriptor() });
        let index = self.index(&[&image, &other], json!({}));
        let nested = self.index(&[&index], json!({}));
        let artifact = self.artifact(json!({})).await;
        let artifact_index =
            self.index(&[&artifact], json!({ "artifactType": "application/vnd.example.artifacts" }));
        let signature = self.artifact(merged(subject(&image), json!({ "annotations": { "k": "v" } }))).await;
        let missing = self.image("never pushed", json!({})).await;
        let foreign = self.absent("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", b"foreign");
        let absent = self.absent(LAYER, b"left out");
        let empty = merged(self.absent(EMPTY, b"{}"), json!({ "data": "e30=" }));
        self.blob(EMPTY, b"{}").await;
        vec![
            ("image", vec![image.clone()]),
            ("image-uncompressed", vec![
                self.image("plain", json!({ "layers": [self.blob("application/vnd.oci.image.layer.v1.tar", b"tar").await] }))
                    .await,
            ]),
            ("large-manifest", vec![
                self.image("large", json!({ "annotations": { "padding": "x".repeat(3_900_000) } })).await,
            ]),
            ("index", vec![image.clone(), other.clone(), index.clone()]),
            ("nested-index", vec![image.clone(), other.clone(), index.clone(), nested]),
            ("empty-index", vec![self.index(&[], json!({}))]),
            ("artifact", vec![artifact.clone()]),
            ("artifact-index", vec![artifact.clone(), artifact_index.clone()]),
            ("artifact-without-layers", vec![self.artifact(json!({ "layers": [empty.clone()] })).await]),
            ("artifacts-with-subject", vec![image.clone(), signature]),
            ("index-with-subject", vec![
                image.clone(),
                artifact.clone(),
                self.index(&[&artifact], merged(subject(&image), json!({ "artifactType": "a/b" }))),
            ]),
            ("missing-subject", vec![self.artifact(subject(&missing)).await]),
            ("data-field", vec![self.image("data", json!({ "layers": [empty] })).await]),
            ("non-distributable-layers", vec![self.image("foreign", json!({ "layers": [foreign] })).await]),
            ("custom-fields", vec![
                self.image("custom", json!({ "org.example.custom": { "a": [1, "b", null] } })).await,
            ]),
            ("no-layers", vec![self.image("none", json!({ "layers": [] })).await]),
            ("sparse-image", vec![self.image("sparse", json!({ "layers": [absent] })).await]),
            ("sparse-index", vec![image.clone(), self.index(&[&image, &missing], json!({}))]),
        ]
    }
}

impl Pushed {
    pub(crate) fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.bytes.len() })
    }

    pub(crate) fn document(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }
}

/// A document with members of another over its own.
fn merged(mut base: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("members are asked for") };
    base.as_object_mut().unwrap().extend(more);
    base
}
