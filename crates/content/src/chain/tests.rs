//! What an image is made of, walked from its bytes.

use serde_json::{Value, json};

use super::*;
use crate::fixtures::{CONFIG, IMAGE, LAYER, Shelf, digest, entry_for, named, platform, reference};

const ARTIFACT: &str = "application/vnd.example.thing";

fn config(diff_ids: &[&[u8]]) -> String {
    let diff_ids: Vec<_> = diff_ids.iter().map(|bytes| digest(bytes).to_string()).collect();
    json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": diff_ids } }).to_string()
}

fn manifest(config: &Value, layers: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers })
}

fn shelf(config: &str) -> (Shelf, Value) {
    let mut shelf = Shelf::default();
    let config = shelf.blob(CONFIG, config.as_bytes());
    let layers = [&b"one"[..], b"two"].map(|layer| shelf.blob(LAYER, layer));
    let image = shelf.keep(&manifest(&config, &layers));
    shelf.tag("image", &image);
    (shelf, image)
}

async fn walk(shelf: &Shelf, tag: &str) -> Result<Chain> {
    let reference = reference(&format!("host.example/app:{tag}"));
    let (mut manifests, root) = root(shelf, &reference).await?;
    chain(shelf, &mut manifests, &root, &platform("linux/amd64"), &Progress::default()).await
}

#[tokio::test]
async fn a_chain_goes_from_the_index_to_the_diff_ids() {
    let (mut shelf, image) = shelf(&config(&[b"1", b"2"]));
    let index = shelf.index(&[entry_for(image.clone(), "linux/amd64")]);
    shelf.tag("index", &index);
    let chain = walk(&shelf, "index").await.unwrap();
    let indexes: Vec<_> = chain.indexes.iter().map(|index| index.digest()).collect();
    assert_eq!(indexes, [named(&index)]);
    assert_eq!(chain.manifest.digest(), named(&image));
    assert_eq!(chain.config.digest, digest(config(&[b"1", b"2"]).as_bytes()));
    let layers: Vec<_> =
        chain.layers.iter().map(|layer| (layer.descriptor.digest, layer.diff_id.unwrap())).collect();
    assert_eq!(layers, [(digest(b"one"), digest(b"1")), (digest(b"two"), digest(b"2"))]);
    assert_eq!(chain.image.unwrap().config.platform, platform("linux/amd64"));

    let alone = walk(&shelf, "image").await.unwrap();
    assert_eq!((alone.indexes.len(), alone.manifest.digest()), (0, named(&image)));
}

#[tokio::test]
async fn diff_ids_that_belong_to_no_layer_are_refused() {
    let (shelf, _) = shelf(&config(&[b"1"]));
    let error = walk(&shelf, "image").await.unwrap_err();
    assert!(error.to_string().ends_with(": it has 1 diff ids for 2 layers"), "{error}");
    assert!(matches!(error, Error::Invalid { .. }));
}

#[tokio::test]
async fn a_config_with_another_digest_is_an_integrity_error() {
    let right = config(&[b"1", b"2"]);
    let (mut shelf, _) = shelf(&right);
    let wrong = right.replace("amd64", "arm64");
    shelf.blobs.insert(digest(right.as_bytes()), wrong.clone().into());
    match walk(&shelf, "image").await.unwrap_err() {
        Error::Integrity { expected, actual, origin } => {
            assert_eq!((expected, actual), (digest(right.as_bytes()), digest(wrong.as_bytes())));
            assert_eq!(origin.as_deref(), Some("shelf"));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn s9_a_config_that_is_longer_or_shorter_than_announced_is_refused() {
    let right = config(&[b"1", b"2"]);
    for wrong in [format!("{right} "), right[1..].to_owned()] {
        let (mut shelf, _) = shelf(&right);
        shelf.blobs.insert(digest(right.as_bytes()), wrong.into());
        match walk(&shelf, "image").await.unwrap_err() {
            Error::Size { expected, .. } => assert_eq!(expected, right.len() as u64),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn s8_a_config_without_end_is_not_read() {
    let mut shelf = Shelf::default();
    let mut large = shelf.blob(CONFIG, b"{}");
    large["size"] = json!(MAX_CONFIG_BYTES + 1);
    let image = shelf.keep(&manifest(&large, &[]));
    shelf.tag("large", &image);
    assert!(matches!(walk(&shelf, "large").await.unwrap_err(), Error::Invalid { .. }));
    assert_eq!(shelf.asked(), ["manifest large"]);
}

#[tokio::test]
async fn an_artifact_has_no_diff_ids_and_its_config_is_not_read() {
    let mut shelf = Shelf::default();
    let (config, layer) = (shelf.blob(ARTIFACT, b"{}"), shelf.blob(LAYER, b"one"));
    let artifact = shelf.keep(&manifest(&config, &[layer]));
    shelf.tag("artifact", &artifact);
    let chain = walk(&shelf, "artifact").await.unwrap();
    assert!(chain.image.is_none());
    assert_eq!(chain.layers.len(), 1);
    assert_eq!(chain.layers[0].diff_id, None);
    assert_eq!(shelf.asked(), ["manifest artifact"]);
}
