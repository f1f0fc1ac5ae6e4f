//! Every kind of yes, no and neither.

use std::{io::Write as _, sync::atomic::Ordering::SeqCst};

use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};
use pier_oci::{Manifest, Selector};
use serde_json::{Value, json};

use super::{judging::digests, *};
use crate::{
    ByteRange, Fallback, Opened,
    fixtures::{
        CONFIG, IMAGE, LAYER, Shelf, digest, entry, entry_for, named, parse, platform, reference, repository,
        tag, unavailable,
    },
};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// An image of two layers, one of them packed, in an index, and every digest of it.
struct Subject {
    shelf: Shelf,
    index: Digest,
    manifest: Digest,
    config: Digest,
    layers: [Digest; 2],
    diff_ids: [Digest; 2],
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn config_for(architecture: &str, diff_ids: &[Digest]) -> Vec<u8> {
    let diff_ids: Vec<String> = diff_ids.iter().map(ToString::to_string).collect();
    json!({ "os": "linux", "architecture": architecture, "rootfs": { "diff_ids": diff_ids } })
        .to_string()
        .into_bytes()
}

fn subject() -> Subject {
    let (plain, inside) = (vec![1; 1000], vec![2; 3000]);
    let mut shelf = Shelf::default();
    let packed = gzip(&inside);
    let layers = [shelf.blob(LAYER, &plain), shelf.blob(GZIP, &packed)];
    let diff_ids = [digest(&plain), digest(&inside)];
    let config = shelf.blob(CONFIG, &config_for("amd64", &diff_ids));
    let image =
        shelf.keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers }));
    let index = shelf.index(&[entry_for(image.clone(), "linux/amd64")]);
    shelf.tag("index", &index);
    shelf.tag("image", &image);
    Subject {
        index: named(&index),
        manifest: named(&image),
        config: named(&config),
        layers: layers.each_ref().map(named),
        diff_ids,
        shelf,
    }
}

fn options(approved: &[Digest], depth: Depth) -> VerifyOptions {
    let approved = approved.iter().copied().map(Approval::of).collect();
    VerifyOptions { depth, ..VerifyOptions::new(approved, Wanted::Machine(platform("linux/amd64"))) }
}

async fn ask(source: &dyn Source, tag: &str, options: &VerifyOptions) -> Result<Verification> {
    verify(source, &reference(&format!("host.example/app:{tag}")), options, &Progress::default()).await
}

#[track_caller]
fn approved_as(outcome: Result<Verification>, expected: Digest, kind: DigestKind) {
    match outcome.unwrap().verdict {
        Verdict::Approved { approval, kind: found, .. } => {
            assert_eq!((approval, found), (Approval::of(expected), kind));
        }
        refused @ Verdict::Refused(_) => panic!("{refused:?}"),
    }
}

#[track_caller]
fn refused_for(outcome: Result<Verification>, expected: &Refusal) {
    assert_eq!(outcome.unwrap().verdict, Verdict::Refused(expected.clone()));
}

#[tokio::test]
async fn the_digest_of_the_index_the_manifest_or_the_config_is_met_and_said_which() {
    let Subject { shelf, index, manifest, config, .. } = subject();
    for (expected, kind) in
        [(index, DigestKind::Index), (manifest, DigestKind::Manifest), (config, DigestKind::Config)]
    {
        let options = options(&[digest(b"another"), expected], Depth::Config);
        approved_as(ask(&shelf, "index", &options).await, expected, kind);
    }
    // Seen from the manifest there is no index.
    let options = options(&[index], Depth::Config);
    refused_for(ask(&shelf, "image", &options).await, &Refusal::Unknown);
}

#[tokio::test]
async fn nothing_is_approved_by_an_empty_list() {
    let Subject { shelf, .. } = subject();
    refused_for(ask(&shelf, "index", &options(&[], Depth::Config)).await, &Refusal::Unknown);
}

#[tokio::test]
async fn a_layer_or_a_diff_id_approves_nothing() {
    let Subject { shelf, layers, diff_ids, .. } = subject();
    let options = options(&[layers[0], layers[1], diff_ids[1]], Depth::DiffIds);
    refused_for(ask(&shelf, "index", &options).await, &Refusal::Unknown);
}

#[tokio::test]
async fn a_digest_of_another_algorithm_is_met_by_the_same_bytes() {
    let Subject { shelf, manifest, config, .. } = subject();
    let bytes = shelf.manifests[&manifest].bytes().clone();
    let sha512 = |bytes: &[u8]| Digest::of(Algorithm::Sha512, bytes);
    let of_manifest = sha512(&bytes);
    let outcome = ask(&shelf, "index", &options(&[of_manifest], Depth::Config)).await;
    approved_as(outcome, of_manifest, DigestKind::Manifest);
    let of_config = sha512(&shelf.blobs[&config]);
    let outcome = ask(&shelf, "index", &options(&[of_config], Depth::Config)).await;
    approved_as(outcome, of_config, DigestKind::Config);
}

#[tokio::test]
async fn an_approval_of_another_kind_or_for_another_platform_is_not_met_and_said_why() {
    let Subject { shelf, manifest, .. } = subject();
    let with = |approval: Approval| VerifyOptions { approved: vec![approval], ..options(&[], Depth::Config) };
    let of_kind = Approval { kind: Some(DigestKind::Config), ..Approval::of(manifest) };
    let (approved, found) = (DigestKind::Config, DigestKind::Manifest);
    let refusal = Refusal::Kind { digest: manifest, approved, found };
    refused_for(ask(&shelf, "index", &with(of_kind.clone())).await, &refusal);
    let right = Approval { kind: Some(DigestKind::Manifest), ..of_kind };
    assert!(matches!(
        ask(&shelf, "index", &with(right)).await.unwrap().verdict,
        Verdict::Approved { kind: DigestKind::Manifest, .. }
    ));

    let elsewhere = Approval { platform: Some(platform("linux/arm64")), ..Approval::of(manifest) };
    let refusal = Refusal::Platform {
        digest: manifest,
        approved: Box::new(platform("linux/arm64")),
        found: Some(Box::new(platform("linux/amd64"))),
    };
    refused_for(ask(&shelf, "index", &with(elsewhere)).await, &refusal);
    let here = Approval { platform: Some(platform("linux/amd64")), ..Approval::of(manifest) };
    assert!(matches!(ask(&shelf, "index", &with(here)).await.unwrap().verdict, Verdict::Approved { .. }));
}

#[tokio::test]
async fn what_is_not_approved_is_told_before_a_layer_is_fetched() {
    let Subject { shelf, manifest, config, .. } = subject();
    let outcome = ask(&shelf, "image", &options(&[digest(b"no")], Depth::DiffIds)).await.unwrap();
    assert_eq!(outcome.verdict, Verdict::Refused(Refusal::Unknown));
    let size = shelf.blobs[&config].len();
    assert_eq!(shelf.asked(), ["manifest image".to_owned(), format!("open {config} 0..{size}")]);
    let hashed: Vec<Digest> =
        outcome.links.iter().filter(|link| link.from.is_some()).map(|link| link.digest).collect();
    assert_eq!(hashed, [manifest, config]);
}

#[tokio::test]
async fn the_links_say_what_was_hashed_and_who_gave_it() {
    let Subject { shelf, index, manifest, config, layers, diff_ids } = subject();
    let approved = [manifest];
    for (depth, hashed) in [(Depth::Config, 3), (Depth::Layers, 5), (Depth::DiffIds, 7)] {
        let found = ask(&shelf, "index", &options(&approved, depth)).await.unwrap();
        let links: Vec<(LinkKind, Digest)> =
            found.links.iter().map(|link| (link.kind, link.digest)).collect();
        let expected = [
            (LinkKind::Index, index),
            (LinkKind::Manifest, manifest),
            (LinkKind::Config, config),
            (LinkKind::Layer, layers[0]),
            (LinkKind::DiffId, diff_ids[0]),
            (LinkKind::Layer, layers[1]),
            (LinkKind::DiffId, diff_ids[1]),
        ];
        assert_eq!(links, expected);
        assert_eq!(found.links.iter().filter(|link| link.from.is_some()).count(), hashed, "{depth:?}");
        assert!(found.links.iter().flat_map(|link| &link.from).all(|from| from == "shelf"));
        let packing: Vec<_> = found.links.iter().filter_map(|link| link.compression).collect();
        match depth {
            Depth::DiffIds => assert_eq!(packing, [Compression::None, Compression::Gzip]),
            _ => assert_eq!(packing, []),
        }
        let unpacked = found.links[6].size;
        assert_eq!(unpacked, (depth == Depth::DiffIds).then_some(3000));
    }
}

#[track_caller]
fn integrity(outcome: Result<Verification>, wanted: Digest) {
    match outcome.unwrap_err() {
        Error::Integrity { expected, origin, .. } => {
            assert_eq!((expected, origin.as_deref()), (wanted, Some("shelf")));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_layer_that_is_another_is_tampered_with_only_as_deep_as_one_looks() {
    let Subject { mut shelf, config, layers, .. } = subject();
    let mut wrong = shelf.blobs[&layers[1]].to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    shelf.blobs.insert(layers[1], wrong.into());
    approved_as(ask(&shelf, "index", &options(&[config], Depth::Config)).await, config, DigestKind::Config);
    integrity(ask(&shelf, "index", &options(&[config], Depth::Layers)).await, layers[1]);
    integrity(ask(&shelf, "index", &options(&[config], Depth::DiffIds)).await, layers[1]);
}

#[tokio::test]
async fn a_layer_that_unpacks_to_something_else_is_found_by_its_diff_id() {
    let mut shelf = Shelf::default();
    let layer = shelf.blob(GZIP, &gzip(b"what is there"));
    let config = shelf.blob(CONFIG, &config_for("amd64", &[digest(b"what is said")]));
    let image =
        shelf.keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer] }));
    shelf.tag("image", &image);
    let manifest = named(&image);
    let outcome = ask(&shelf, "image", &options(&[manifest], Depth::Layers)).await;
    approved_as(outcome, manifest, DigestKind::Manifest);
    integrity(ask(&shelf, "image", &options(&[manifest], Depth::DiffIds)).await, digest(b"what is said"));
}

#[tokio::test]
async fn a_layer_that_cannot_be_unpacked_or_unpacks_to_too_much_is_invalid() {
    for (layer, reason) in [
        (gzip(&[0; 5000]), "it cannot be unpacked: it unpacks to more than 4999 bytes"),
        (b"BZh91AY&SY".to_vec(), "it cannot be unpacked: it is packed with bzip2, which images do not use"),
    ] {
        let mut shelf = Shelf::default();
        let layer = shelf.blob(GZIP, &layer);
        let config = shelf.blob(CONFIG, &config_for("amd64", &[digest(&[0; 5000])]));
        let image = shelf
            .keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer] }));
        shelf.tag("image", &image);
        let options = VerifyOptions { max_unpacked: 4999, ..options(&[named(&image)], Depth::DiffIds) };
        match ask(&shelf, "image", &options).await.unwrap_err() {
            Error::Invalid { reason: found, .. } => assert_eq!(found, reason),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_layer_that_comes_thrice_is_fetched_once() {
    let mut shelf = Shelf::default();
    let layer = shelf.blob(LAYER, b"layer");
    let config = shelf.blob(CONFIG, &config_for("amd64", &[digest(b"layer"); 3]));
    let layers = vec![layer.clone(); 3];
    let image =
        shelf.keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers }));
    shelf.tag("image", &image);
    let manifest = named(&image);
    let found = ask(&shelf, "image", &options(&[manifest], Depth::DiffIds)).await.unwrap();
    assert_eq!(found.links.len(), 8);
    let opened = shelf.asked().iter().filter(|call| call.contains(&named(&layer).to_string())).count();
    assert_eq!(opened, 1);
}

#[tokio::test]
async fn a_line_that_breaks_is_gone_on_with() {
    let Subject { mut shelf, config, .. } = subject();
    shelf.breaks_after = Some(600);
    let shelf = std::sync::Arc::new(shelf);
    let policy = crate::RetryPolicy {
        first_delay: std::time::Duration::ZERO,
        ..crate::RetryPolicy::new(crate::Jitter::none())
    };
    let retrying = crate::Retrying::new(shelf.clone(), policy);
    let outcome = ask(&retrying, "index", &options(&[config], Depth::DiffIds)).await;
    approved_as(outcome, config, DigestKind::Config);
    let all: usize = shelf.blobs.values().map(Bytes::len).sum();
    assert_eq!(shelf.served.load(SeqCst), all, "no byte comes twice");
}

/// A mirror that has everything and changes the layers.
#[derive(Debug)]
struct Liar(Shelf);

#[async_trait::async_trait]
impl Source for Liar {
    fn name(&self) -> String {
        "liar".to_owned()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        self.0.resolve(reference).await
    }

    async fn manifest(
        &self,
        repository: &pier_oci::Repository,
        selector: &Selector,
        limit: u64,
    ) -> Result<Manifest> {
        self.0.manifest(repository, selector, limit).await
    }

    async fn open(
        &self,
        repository: &pier_oci::Repository,
        descriptor: &Descriptor,
        range: ByteRange,
    ) -> Result<Opened> {
        let mut opened = self.0.open(repository, descriptor, range).await?;
        opened.stream =
            opened.stream.map(|bytes| bytes.map(|bytes| bytes.iter().map(|byte| byte ^ 1).collect())).boxed();
        Ok(opened)
    }

    async fn referrers(&self, _: &pier_oci::Repository, _: &Digest) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn what_a_mirror_lies_about_is_fetched_from_the_registry() {
    let (Subject { shelf: honest, config, .. }, Subject { shelf: other, .. }) = (subject(), subject());
    let options = options(&[config], Depth::DiffIds);
    let both = Fallback::new(std::sync::Arc::new(Liar(other)), vec![std::sync::Arc::new(honest)]);
    approved_as(ask(&both, "index", &options).await, config, DigestKind::Config);
    // Nobody whose bytes were thrown away is said to have given them.
    let (Subject { shelf: honest, manifest, .. }, Subject { shelf: other, .. }) = (subject(), subject());
    let origins = Origins::default();
    let progress = origins.listening(&Progress::default());
    let insisting = |source: std::sync::Arc<dyn Source>| -> std::sync::Arc<dyn Source> {
        let policy = crate::RetryPolicy {
            progress: progress.clone(),
            ..crate::RetryPolicy::new(crate::Jitter::none())
        };
        std::sync::Arc::new(crate::Retrying::new(source, policy))
    };
    let liar = insisting(std::sync::Arc::new(Liar(other)));
    let both = Fallback::new(liar, vec![insisting(std::sync::Arc::new(honest))]);
    let options = VerifyOptions { origins, ..self::options(&[manifest], Depth::DiffIds) };
    let found = verify(&both, &reference("host.example/app:image"), &options, &progress).await.unwrap();
    let from = |kind| {
        let links = found.links.iter().filter(|link| link.kind == kind);
        links.map(|link| link.from.clone().unwrap()).collect::<Vec<_>>()
    };
    // The liar's manifests are right.
    assert_eq!(from(LinkKind::Manifest), ["liar"]);
    assert_eq!(from(LinkKind::Config), ["shelf"]);
    assert_eq!(from(LinkKind::Layer), ["shelf", "shelf"]);
    assert_eq!(from(LinkKind::DiffId), ["shelf", "shelf"]);
    // A source that says of itself that it has verified everything is believed as little as any other.
    let alone = Liar(subject().shelf);
    assert!(matches!(ask(&alone, "index", &options).await.unwrap_err(), Error::Integrity { .. }));
}

#[tokio::test]
async fn the_tag_is_asked_for_once_and_all_else_by_digest() {
    let Subject { shelf, index, config, .. } = subject();
    ask(&shelf, "index", &options(&[config], Depth::DiffIds)).await.unwrap();
    let asked = shelf.asked();
    assert_eq!(asked[0], "manifest index");
    assert!(asked[1..].iter().all(|call| call.contains(" sha256:")), "{asked:?}");
    assert!(!asked.contains(&format!("manifest {index}")));
}

#[tokio::test]
async fn what_may_not_be_there_and_what_could_not_be_asked_are_no_verdicts() {
    let Subject { shelf, config, .. } = subject();
    let options = options(&[config], Depth::Config);
    let missing = ask(&shelf, "missing", &options).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    *shelf.failures.lock().unwrap() = vec![unavailable(None)];
    let down = ask(&shelf, "index", &options).await.unwrap_err();
    assert!(matches!(down, Error::Unavailable { .. }), "{down}");
}

#[tokio::test]
async fn an_index_that_lists_an_image_for_another_platform_than_it_is_for_is_not_believed() {
    let mut shelf = Shelf::default();
    let config = shelf.blob(CONFIG, &config_for("arm64", &[]));
    let image =
        shelf.keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [] }));
    let index = shelf.index(&[entry_for(image.clone(), "linux/amd64")]);
    shelf.tag("index", &index);
    shelf.tag("image", &image);
    let approved = [named(&image)];
    let no_platform = |outcome: Result<Verification>| match outcome.unwrap_err() {
        Error::NoPlatform { wanted, available } => {
            assert_eq!((*wanted, available), (platform("linux/amd64"), vec![platform("linux/arm64")]));
        }
        other => panic!("{other}"),
    };
    no_platform(ask(&shelf, "index", &options(&approved, Depth::Config)).await);
    // One that stands alone is as it is, unless somebody asked for another.
    let outcome = ask(&shelf, "image", &options(&approved, Depth::Config)).await;
    approved_as(outcome, approved[0], DigestKind::Manifest);
    let asked_for = VerifyOptions {
        wanted: Wanted::Platform(platform("linux/amd64")),
        ..options(&approved, Depth::Config)
    };
    no_platform(ask(&shelf, "image", &asked_for).await);
}

#[test]
fn a_config_without_a_variant_is_for_every_variant() {
    for (machine, image, expected) in [
        ("linux/arm/v6", "linux/arm", true),
        ("linux/arm/v7", "linux/arm/v6", true),
        ("linux/arm/v6", "linux/arm/v7", false),
        ("linux/arm64", "linux/arm64/v8", true),
        ("linux/arm64", "linux/amd64", false),
        ("linux/amd64", "linux/amd64", true),
        ("linux/amd64", "windows/amd64", false),
    ] {
        // As a config says it, where what is left out stays left out.
        let mut words = image.split('/').map(str::to_owned);
        let (os, architecture) = (words.next().unwrap(), words.next().unwrap());
        let said =
            Platform { os, architecture, variant: words.next(), os_version: None, os_features: Vec::new() };
        assert_eq!(runs(&platform(machine), &said), expected, "{machine} {image}");
    }
}

/// An image in Docker's types, and a manifest list of it.
fn docker() -> (Shelf, Value, Value) {
    let mut shelf = Shelf::default();
    let layer = shelf.blob("application/vnd.docker.image.rootfs.diff.tar.gzip", &gzip(b"layer"));
    let config = shelf.blob(DOCKER_CONFIG, &config_for("amd64", &[digest(b"layer")]));
    let image = shelf
        .keep(&json!({ "schemaVersion": 2, "mediaType": DOCKER_IMAGE, "config": config, "layers": [layer] }));
    let list = shelf.keep(&json!({
        "schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [entry_for(image.clone(), "linux/amd64")],
    }));
    shelf.tag("list", &list);
    (shelf, image, config)
}

#[tokio::test]
async fn trap_docker_manifest_lists() {
    let (shelf, image, config) = docker();
    for (expected, kind) in [(named(&image), DigestKind::Manifest), (named(&config), DigestKind::Config)] {
        approved_as(ask(&shelf, "list", &options(&[expected], Depth::DiffIds)).await, expected, kind);
    }
}

#[tokio::test]
async fn trap_manifests_without_media_type() {
    let mut shelf = Shelf::default();
    let config = shelf.blob(CONFIG, &config_for("amd64", &[]));
    let document = json!({ "schemaVersion": 2, "config": config, "layers": [] });
    let manifest = Manifest::parse(document.to_string().into(), None).unwrap();
    let digest = manifest.digest();
    shelf.tags.insert("bare".to_owned(), digest);
    shelf.manifests.insert(digest, manifest);
    approved_as(ask(&shelf, "bare", &options(&[digest], Depth::DiffIds)).await, digest, DigestKind::Manifest);
}

#[tokio::test]
async fn trap_an_index_without_platforms() {
    let mut shelf = Shelf::default();
    let config = shelf.blob(CONFIG, &config_for("amd64", &[]));
    let image =
        shelf.keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [] }));
    let other = shelf.blob(CONFIG, &config_for("arm64", &[]));
    let other = shelf.keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": other, "layers": [] }));
    let (one, two) = (shelf.index(std::slice::from_ref(&image)), shelf.index(&[image.clone(), other]));
    shelf.tag("one", &one);
    shelf.tag("two", &two);
    let approved = [named(&image)];
    let outcome = ask(&shelf, "one", &options(&approved, Depth::Config)).await;
    approved_as(outcome, approved[0], DigestKind::Manifest);
    // Nothing tells which of two is meant, and the first is not taken for it.
    let outcome = ask(&shelf, "two", &options(&approved, Depth::Config)).await;
    assert!(matches!(outcome.unwrap_err(), Error::NoPlatform { .. }));
    // Whoever knows the config finds it all the same.
    let config = named(&config);
    let repository = repository("host.example/app");
    let found = find_config(&shelf, &repository, &[tag("two")], &config, None).await.unwrap().found.unwrap();
    assert_eq!((found.0, found.1.digest), (tag("two"), approved[0]));
}

const ARTIFACT: &str = "application/vnd.example.thing";

#[tokio::test]
async fn the_config_of_an_artifact_is_hashed_too() {
    let mut shelf = Shelf::default();
    let (config, layer) = (shelf.blob(ARTIFACT, b"{}"), shelf.blob(LAYER, b"one"));
    let artifact =
        shelf.keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer] }));
    shelf.tag("artifact", &artifact);
    let manifest = named(&artifact);
    let outcome = ask(&shelf, "artifact", &options(&[manifest], Depth::Layers)).await.unwrap();
    assert!(outcome.links.iter().all(|link| link.from.is_some()));
    assert!(matches!(outcome.verdict, Verdict::Approved { binds: Binds::Image, .. }));
    shelf.blobs.insert(named(&config), "[]".into());
    integrity(ask(&shelf, "artifact", &options(&[manifest], Depth::Config)).await, named(&config));
}

/// Whoever writes a manifest writes the media type of the config, and could have nobody look into it.
#[tokio::test]
async fn what_only_the_config_of_an_image_says_is_not_taken_for_granted_without_one() {
    let mut shelf = Shelf::default();
    let layer = shelf.blob(LAYER, b"evil");
    let mut config = shelf.blob(CONFIG, &config_for("arm64", &[digest(b"good")]));
    config["mediaType"] = ARTIFACT.into();
    let image =
        shelf.keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer] }));
    let index = shelf.index(&[entry_for(image.clone(), "linux/amd64")]);
    shelf.tag("image", &image);
    shelf.tag("index", &index);
    let refused = |untold| Refusal::NoImage { media_type: ARTIFACT.parse().unwrap(), untold };
    let (manifest, config) = ([named(&image)], [named(&config)]);
    for tag in ["image", "index"] {
        for depth in [Depth::Config, Depth::Layers, Depth::DiffIds] {
            let outcome = ask(&shelf, tag, &options(&config, depth)).await;
            refused_for(outcome, &refused(Untold::Layers));
        }
        let outcome = ask(&shelf, tag, &options(&manifest, Depth::DiffIds)).await;
        refused_for(outcome, &refused(Untold::DiffIds));
        let wanted = Wanted::Platform(platform("linux/amd64"));
        let asked_for = VerifyOptions { wanted, ..options(&manifest, Depth::Layers) };
        refused_for(ask(&shelf, tag, &asked_for).await, &refused(Untold::Platform));
        approved_as(
            ask(&shelf, tag, &options(&manifest, Depth::Layers)).await,
            manifest[0],
            DigestKind::Manifest,
        );
    }
}

/// A registry that puts other layers beside the approved config; the manifest and all layers have the digests that it says.
fn evil(layers: &[&[u8]]) -> (Subject, Shelf) {
    let subject = subject();
    let mut shelf = Shelf { blobs: subject.shelf.blobs.clone(), ..Shelf::default() };
    let config = entry(CONFIG, &subject.shelf.blobs[&subject.config]);
    let layers: Vec<Value> = layers.iter().map(|layer| shelf.blob(GZIP, layer)).collect();
    let image =
        shelf.keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers }));
    shelf.tag("image", &image);
    let index = shelf.index(&[entry_for(image, "linux/amd64")]);
    shelf.tag("index", &index);
    (subject, shelf)
}

#[tokio::test]
async fn other_layers_beside_an_approved_config_are_found_out_by_their_diff_ids() {
    let (Subject { config, diff_ids, .. }, shelf) = evil(&[&[1; 1000], &gzip(b"evil")]);
    for tag in ["image", "index"] {
        for depth in [Depth::Layers, Depth::DiffIds] {
            integrity(ask(&shelf, tag, &options(&[config], depth)).await, diff_ids[1]);
        }
    }
    // Whoever looks at no layer is told that nothing is said of them.
    let found = ask(&shelf, "image", &options(&[config], Depth::Config)).await.unwrap();
    assert!(matches!(found.verdict, Verdict::Approved { binds: Binds::Config, .. }));
    // In another order it is another image.
    let (Subject { config, diff_ids, .. }, shelf) = evil(&[&gzip(&[2; 3000]), &[1; 1000]]);
    integrity(ask(&shelf, "image", &options(&[config], Depth::Layers)).await, diff_ids[0]);
    // And more or fewer are refused by their number.
    for layers in [&[&[1; 1000][..]][..], &[&[1; 1000], &gzip(&[2; 3000]), &gzip(b"evil")]] {
        let (Subject { config, .. }, shelf) = evil(layers);
        for depth in [Depth::Config, Depth::Layers] {
            let outcome = ask(&shelf, "image", &options(&[config], depth)).await;
            assert!(matches!(outcome, Err(Error::Invalid { .. })), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn an_approval_binds_what_its_digest_names() {
    let Subject { shelf, index, manifest, config, .. } = subject();
    for (approved, depth, reached, bound) in [
        (vec![index], Depth::Config, Depth::Config, Binds::Image),
        (vec![manifest], Depth::Layers, Depth::Layers, Binds::Image),
        (vec![manifest], Depth::DiffIds, Depth::DiffIds, Binds::Image),
        (vec![config, manifest], Depth::Layers, Depth::Layers, Binds::Image),
        (vec![config], Depth::Config, Depth::Config, Binds::Config),
        (vec![config], Depth::Layers, Depth::DiffIds, Binds::DiffIds),
        (vec![config], Depth::DiffIds, Depth::DiffIds, Binds::DiffIds),
    ] {
        let found = ask(&shelf, "index", &options(&approved, depth)).await.unwrap();
        match found.verdict {
            Verdict::Approved { binds, .. } => assert_eq!((found.depth, binds), (reached, bound)),
            refused @ Verdict::Refused(_) => panic!("{refused:?}"),
        }
    }
    let refused = ask(&shelf, "index", &options(&[digest(b"no")], Depth::DiffIds)).await.unwrap();
    assert_eq!(refused.depth, Depth::Config, "no layer was looked at");
}

/// A layer that is packed in another way is another manifest with the same config.
#[tokio::test]
async fn an_image_that_was_packed_anew_is_still_the_one_with_this_config() {
    let (Subject { config, manifest, .. }, shelf) = evil(&[&gzip(&[1; 1000]), &[2; 3000]]);
    let found = ask(&shelf, "image", &options(&[config], Depth::Layers)).await.unwrap();
    assert_ne!(found.chain.manifest.digest(), manifest);
    assert!(matches!(found.verdict, Verdict::Approved { binds: Binds::DiffIds, .. }));
}

#[tokio::test]
async fn digests_by_another_algorithm_are_computed_once_for_any_number_of_approvals() {
    let Subject { shelf, manifest, .. } = subject();
    let of = |number: u32| Digest::of(Algorithm::Sha512, &number.to_le_bytes());
    let mut approved: Vec<Digest> = (0..2000).map(of).collect();
    let expected = Digest::of(Algorithm::Sha512, shelf.manifests[&manifest].bytes());
    approved.push(expected);
    let approved = options(&approved, Depth::Config);
    let reference = reference("host.example/app:index");
    let (mut manifests, root) = root(&shelf, &reference).await.unwrap();
    let (platform, progress) = (platform("linux/amd64"), Progress::default());
    let chain = chain(&shelf, &mut manifests, &root, &platform, &progress).await.unwrap();
    let computed = digests(&chain, &approved.approved).await.unwrap();
    assert_eq!(computed.iter().map(|(_, digests)| digests.len()).collect::<Vec<_>>(), [2, 2, 2]);
    approved_as(ask(&shelf, "index", &approved).await, expected, DigestKind::Manifest);
}

/// Two indexes with images for two platforms each; the last image is in both.
fn tagged() -> (Shelf, Vec<Digest>, Vec<Digest>) {
    let mut shelf = Shelf::default();
    let mut configs = Vec::new();
    let mut images = Vec::new();
    for (platform, content) in [("linux/amd64", "1"), ("linux/arm64", "1"), ("linux/amd64", "2")] {
        let architecture = platform.split_once('/').unwrap().1;
        let config = shelf.blob(CONFIG, &config_for(architecture, &[digest(content.as_bytes())]));
        let layer = shelf.blob(LAYER, content.as_bytes());
        configs.push(named(&config));
        let image = shelf
            .keep(&json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer] }));
        images.push(entry_for(image, platform));
    }
    let old = shelf.index(&[images[0].clone(), images[1].clone()]);
    let new = shelf.index(&[images[2].clone(), images[1].clone()]);
    let outer = shelf.index(std::slice::from_ref(&old));
    shelf.tag("old", &old);
    shelf.tag("new", &new);
    shelf.tag("nested", &outer);
    (shelf, configs, images.iter().map(named).collect())
}

#[tokio::test]
async fn a_config_is_found_through_tags_in_their_order() {
    let (shelf, configs, images) = tagged();
    let repository = repository("host.example/app");
    let amd64 = platform("linux/amd64");
    let tags = [tag("gone"), tag("new"), tag("old")];
    let find = async |config, platform| find_config(&shelf, &repository, &tags, config, platform).await;

    let search = find(&configs[0], Some(&amd64)).await.unwrap();
    let (found, manifest) = search.found.unwrap();
    assert_eq!((found, manifest.digest, search.missing), (tag("old"), images[0], vec![tag("gone")]));
    let search = find(&configs[1], None).await.unwrap();
    let (found, manifest) = search.found.unwrap();
    assert_eq!((found, manifest.digest), (tag("new"), images[1]));
    // Images for other platforms are not looked at when one is asked for, nor are configs taken for manifests.
    assert_eq!(find(&configs[1], Some(&amd64)).await.unwrap().found, None);
    assert_eq!(find(&images[1], None).await.unwrap().found, None);

    let nested = [tag("nested")];
    let found = find_config(&shelf, &repository, &nested, &configs[0], Some(&amd64)).await.unwrap().found;
    assert_eq!(found.unwrap().1.digest, images[0]);
}

#[tokio::test]
async fn whatever_is_approved_is_found_through_tags() {
    let (shelf, configs, images) = tagged();
    let repository = repository("host.example/app");
    let tags = [tag("new"), tag("old")];
    let find = async |approved: &[Approval]| {
        let found = find_approved(&shelf, &repository, &tags, approved, None).await.unwrap().found;
        found.map(|(tag, manifest)| (tag.to_string(), manifest.digest))
    };
    let old = (shelf.tags["old"], "old".to_owned());
    for (approved, expected) in [
        (old.0, Some((old.1.clone(), old.0))),
        (images[0], Some((old.1.clone(), images[0]))),
        (configs[0], Some((old.1.clone(), images[0]))),
        (digest(b"another"), None),
    ] {
        assert_eq!(find(&[Approval::of(digest(b"none")), Approval::of(approved)]).await, expected);
    }
    let of_kind = |kind, digest| Approval { kind: Some(kind), ..Approval::of(digest) };
    assert_eq!(find(&[of_kind(DigestKind::Manifest, configs[0])]).await, None);
    assert_eq!(find(&[of_kind(DigestKind::Config, images[0])]).await, None);
    assert_eq!(find(&[of_kind(DigestKind::Manifest, old.0)]).await, None);
}

#[tokio::test]
async fn a_tag_that_could_not_be_looked_through_is_no_answer() {
    let (shelf, configs, _) = tagged();
    let repository = repository("host.example/app");
    let tags = [tag("new"), tag("old")];
    *shelf.failures.lock().unwrap() = vec![unavailable(None)];
    let outcome = find_config(&shelf, &repository, &tags, &digest(b"another"), None).await;
    assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{outcome:?}");
    // What is found is found.
    *shelf.failures.lock().unwrap() = vec![unavailable(None)];
    let outcome = find_config(&shelf, &repository, &tags, &configs[0], None).await.unwrap();
    assert_eq!(outcome.found.unwrap().0, tag("old"));
}

#[tokio::test]
async fn a_manifest_that_does_not_have_its_digest_is_tampered_with() {
    let Subject { mut shelf, manifest, config, .. } = subject();
    let right = shelf.manifests[&manifest].bytes().clone();
    let document: Value = serde_json::from_slice(&right).unwrap();
    let mut other = document;
    other["annotations"] = json!({ "by": "somebody else" });
    shelf.manifests.insert(manifest, parse(IMAGE, &other));
    integrity(ask(&shelf, "index", &options(&[config], Depth::Config)).await, manifest);
}
