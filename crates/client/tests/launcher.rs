//! A launcher's one question, against the manners of registries and against what older launchers got wrong.

#![expect(
    clippy::unwrap_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

#[path = "../examples/verify-before-launch.rs"]
#[expect(dead_code, reason = "what it does is called here, not its main")]
mod example;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use pier_client::{
    Client,
    credentials::{Anonymous, Credential, Given, Secret},
    launcher::{LauncherConfig, Validated, validate_image_hash},
};
use pier_content::{DigestKind, Error};
use pier_oci::{Digest, Reference};
use pier_testkit::{
    faults::{Canned, Fault, FaultyProxy, Kind, Script, When},
    image::{BuiltImage, Format, Hostile, ImageBuilder, IndexBuilder, Packing, Tree},
    mock::{self, Credentials, Manners, Place},
    test_registry::{Options, Storage, TestRegistry},
};

fn image(content: &str, architecture: &str, format: Format) -> BuiltImage {
    let layer = Tree::new().file("etc/motd", content.to_owned()).pack(Packing::Gzip);
    ImageBuilder::new().format(format).platform("linux", architecture, None).layer(layer).build()
}

/// An index with images for two platforms and an attestation in front, and its image for amd64.
fn published(format: Format) -> (BuiltImage, BuiltImage) {
    let (amd64, arm64) = (image("a", "amd64", format), image("b", "arm64", format));
    let index = IndexBuilder::new().format(format).attestation(&amd64).child(&arm64).child(&amd64).build();
    (index, amd64)
}

fn config_of(image: &BuiltImage) -> Digest {
    image.blobs[0].descriptor.digest
}

fn client() -> Client {
    Client::builder().build().unwrap()
}

/// Asks three times, a millisecond apart at first.
async fn ask(client: &Client, image: &str, digest: Digest) -> Result<Option<Validated>, Error> {
    let Reference { repository, tag, .. } = image.parse().unwrap();
    let config = LauncherConfig {
        repository,
        tags: tag.into_iter().collect(),
        platform: "linux/amd64".parse().unwrap(),
    };
    let (timeout, interval) = (Duration::from_secs(20), Duration::from_millis(1));
    validate_image_hash(client, digest, &config, timeout, interval, NonZeroU32::new(3).unwrap()).await
}

#[track_caller]
fn launches(outcome: Result<Option<Validated>, Error>, image: &BuiltImage, kind: DigestKind) {
    let validated = outcome.unwrap().unwrap();
    assert_eq!((validated.image.digest, validated.image.tag), (Some(image.root.digest), None));
    assert_eq!(validated.kind, kind);
}

async fn plain(image: &BuiltImage) -> TestRegistry {
    let options = Options { storage: Storage::Memory, ..Options::default() };
    let registry = TestRegistry::start_with(options).await.unwrap();
    registry.push(image, "team/app:1").await.unwrap();
    registry
}

async fn behind(script: Script, image: &BuiltImage) -> (TestRegistry, FaultyProxy) {
    let registry = plain(image).await;
    let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
    (registry, proxy)
}

#[tokio::test]
async fn validate_image_hash_by_config_manifest_and_index() {
    let (index, amd64) = published(Format::Oci);
    let registry = plain(&index).await;
    let name = registry.image_ref("team/app:1");
    for (digest, kind) in [
        (config_of(&amd64), DigestKind::Config),
        (amd64.root.digest, DigestKind::Manifest),
        (index.root.digest, DigestKind::Index),
    ] {
        launches(ask(&client(), &name, digest).await, &amd64, kind);
    }
    assert!(ask(&client(), &name, Digest::sha256(b"wrong")).await.unwrap().is_none());
    // What is there for another platform is not what is launched here.
    let arm64 = image("b", "arm64", Format::Oci);
    for digest in [config_of(&arm64), arm64.root.digest] {
        assert!(ask(&client(), &name, digest).await.unwrap().is_none());
    }
}

/// A registry with manners, and a client that it lets in.
async fn with_manners(manners: Manners, image: &BuiltImage) -> (mock::Registry, Client) {
    let registry = mock::Registry::start(manners).await.unwrap();
    registry.push(image, "team/app:1").await.unwrap();
    let mut builder = Client::builder();
    if let Some(credentials) = registry.credentials().first() {
        let credential = match credentials.clone() {
            Credentials::Password { username, password } => {
                Credential::Basic { username, password: Secret::new(password) }
            }
            Credentials::IdentityToken { username, token } => {
                Credential::IdentityToken { username, token: Secret::new(token) }
            }
        };
        let name = registry.address().to_string().parse().unwrap();
        builder =
            builder.credentials(Arc::new(Given { registry: name, credential, others: Arc::new(Anonymous) }));
    }
    (registry, builder.build().unwrap())
}

/// Old defects 1 and 4: the token server and the registry of Docker Hub were asked for everybody's images.
#[tokio::test]
async fn old_defect_1_and_4_every_registry_is_asked_itself_for_tokens_and_content() {
    let (index, amd64) = published(Format::Oci);
    for manners in [
        mock::PLAIN,
        mock::DOCKER_HUB,
        mock::GHCR,
        mock::ECR,
        mock::ECR_PUBLIC,
        mock::ACR,
        mock::GAR,
        mock::QUAY,
    ] {
        let (registry, client) = with_manners(manners, &index).await;
        let name = registry.image_ref("team/app:1");
        launches(ask(&client, &name, config_of(&amd64)).await, &amd64, DigestKind::Config);
        launches(ask(&client, &name, amd64.root.digest).await, &amd64, DigestKind::Manifest);
        assert_eq!(registry.violations(), [], "{}", registry.manners().name);
    }
}

#[tokio::test]
async fn old_defect_1_a_token_that_expires_meanwhile_is_renewed() {
    let (index, amd64) = published(Format::Oci);
    for manners in [mock::DOCKER_HUB, mock::ECR_PUBLIC] {
        let (registry, client) = with_manners(manners, &index).await;
        let name = registry.image_ref("team/app:1");
        launches(ask(&client, &name, amd64.root.digest).await, &amd64, DigestKind::Manifest);
        let tokens = registry.count(Place::TokenServer);
        registry.expire();
        launches(ask(&client, &name, amd64.root.digest).await, &amd64, DigestKind::Manifest);
        assert!(registry.count(Place::TokenServer) > tokens);
    }
}

#[tokio::test]
async fn old_defect_2_a_missing_tag_is_answered_at_once() {
    let (index, _) = published(Format::Oci);
    let (registry, proxy) = behind(Script::new(), &index).await;
    let wrong = Digest::sha256(b"wrong");
    assert!(ask(&client(), &proxy.image_ref("team/app:2"), wrong).await.unwrap().is_none());
    let manifests = proxy.requests().iter().filter(|seen| seen.path.contains("/manifests/")).count();
    assert_eq!(manifests, 2, "one by digest, one by tag");
    drop(registry);
}

#[tokio::test]
async fn old_defect_2_refused_credentials_are_answered_at_once() {
    let (index, amd64) = published(Format::Oci);
    for status in [401, 403] {
        let script = Script::new().rule(
            When::get(Kind::Manifest),
            Fault::Answer(Canned::new(http::StatusCode::from_u16(status).unwrap())),
        );
        let (_registry, proxy) = behind(script, &index).await;
        let error = ask(&client(), &proxy.image_ref("team/app:1"), amd64.root.digest).await.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{status}: {error}");
        assert!(proxy.requests().iter().filter(|seen| seen.path.contains("/manifests/")).count() <= 2);
    }
}

#[tokio::test]
async fn what_may_pass_is_asked_for_again_as_often_as_was_said() {
    let (index, amd64) = published(Format::Oci);
    for status in [500, 502, 503, 429] {
        let busy = Fault::Answer(Canned::new(http::StatusCode::from_u16(status).unwrap()));
        let script = Script::new().rule(When::get(Kind::Manifest).times(2), busy.clone());
        let (_registry, proxy) = behind(script, &index).await;
        let name = proxy.image_ref("team/app:1");
        launches(ask(&client(), &name, amd64.root.digest).await, &amd64, DigestKind::Manifest);
        let script = Script::new().rule(When::get(Kind::Manifest), busy);
        let (_registry, proxy) = behind(script, &index).await;
        let error = ask(&client(), &proxy.image_ref("team/app:1"), amd64.root.digest).await.unwrap_err();
        assert!(error.is_retryable(), "{status}: {error}");
        assert_eq!(proxy.requests().iter().filter(|seen| seen.path.contains("/manifests/")).count(), 3);
    }
}

#[tokio::test]
async fn old_defect_2_a_refused_connection_is_no_answer_and_no_crash() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = ask(&client(), &format!("{nobody}/team/app:1"), Digest::sha256(b"any")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn old_defect_3_a_header_that_lies_does_not_make_an_image_approved() {
    let (index, amd64) = published(Format::Oci);
    let approved = Digest::sha256(b"the approved one");
    // The registry says of what it sends that it is what was approved.
    let script = Script::new().rule(When::get(Kind::Manifest), Fault::LyingDigest(approved));
    let (_registry, proxy) = behind(script, &index).await;
    let outcome = ask(&client(), &proxy.image_ref("team/app:1"), approved).await;
    assert!(!matches!(outcome, Ok(Some(_))), "{outcome:?}");
    // And one that says nothing is believed as much: its bytes are hashed.
    let script = Script::new().rule(When::get(Kind::Manifest), Fault::NoField("docker-content-digest"));
    let (_registry, proxy) = behind(script, &index).await;
    let outcome = ask(&client(), &proxy.image_ref("team/app:1"), config_of(&amd64)).await;
    launches(outcome, &amd64, DigestKind::Config);
}

#[tokio::test]
async fn old_defect_5_docker_manifest_lists_are_read() {
    let (index, amd64) = published(Format::Docker);
    let registry = plain(&index).await;
    let name = registry.image_ref("team/app:1");
    launches(ask(&client(), &name, config_of(&amd64)).await, &amd64, DigestKind::Config);
    launches(ask(&client(), &name, index.root.digest).await, &amd64, DigestKind::Index);
}

#[tokio::test]
async fn old_defect_5_a_manifest_without_media_type_is_read() {
    let image = Hostile::NoMediaType.build();
    let registry = plain(&image).await;
    let name = registry.image_ref("team/app:1");
    launches(ask(&client(), &name, image.root.digest).await, &image, DigestKind::Manifest);
    launches(ask(&client(), &name, config_of(&image)).await, &image, DigestKind::Config);
}

#[tokio::test]
async fn old_defect_5_an_index_entry_without_platform_is_looked_at() {
    let (amd64, arm64) = (image("a", "amd64", Format::Oci), image("b", "arm64", Format::Oci));
    let mut bare = amd64.clone();
    bare.root.platform = None;
    let index = IndexBuilder::new().child(&arm64).child(&bare).build();
    let registry = plain(&index).await;
    let name = registry.image_ref("team/app:1");
    launches(ask(&client(), &name, config_of(&amd64)).await, &amd64, DigestKind::Config);
}

/// Old defect 6: the ID that an engine gives is the config's or the manifest's, by its image store. No engine is asked here, and the config is
/// the one that the manifest names, hashed.
#[tokio::test]
async fn old_defect_6_the_config_is_hashed_and_nobody_is_asked_what_it_is() {
    let (index, amd64) = published(Format::Oci);
    let flip = Script::new().rule(When::get(Kind::Blob).digest(config_of(&amd64)), Fault::Flip { at: 4 });
    let (_registry, proxy) = behind(flip, &index).await;
    let error = ask(&client(), &proxy.image_ref("team/app:1"), config_of(&amd64)).await.unwrap_err();
    assert!(matches!(error, Error::Integrity { .. }), "{error}");
}

#[tokio::test]
async fn the_example_says_what_to_launch() {
    let architecture = pier_oci::Platform::from_rust("linux", std::env::consts::ARCH).architecture;
    let image = image("a", &architecture, Format::Oci);
    let registry = plain(&image).await;
    let name = registry.image_ref("team/app:1");
    let launched = example::to_launch(&name, &config_of(&image).to_string()).await.unwrap().unwrap();
    assert_eq!(launched.to_string(), format!("{}@{}", registry.image_ref("team/app"), image.root.digest));
    let other = Digest::sha256(b"another").to_string();
    assert_eq!(example::to_launch(&name, &other).await.unwrap(), None);
}
