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
    Client, Timeouts,
    credentials::{Anonymous, Credential, Given, Secret},
    launcher::{LauncherConfig, Validated, validate_image_hash},
};
use pier_content::{Binds, DigestKind, Error, verify::Depth};
use pier_oci::{Descriptor, Digest, Reference};
use pier_testkit::{
    faults::{self, Canned, Fault, FaultyProxy, Kind, Script, When},
    image::{BuiltImage, BuiltManifest, Format, Hostile, ImageBuilder, IndexBuilder, Packing, Tree},
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
    ask_down_to(Depth::Config, client, image, digest).await
}

async fn ask_down_to(
    depth: Depth,
    client: &Client,
    image: &str,
    digest: Digest,
) -> Result<Option<Validated>, Error> {
    let Reference { repository, tag, .. } = image.parse().unwrap();
    let config = LauncherConfig {
        repository,
        tags: tag.into_iter().collect(),
        platform: "linux/amd64".parse().unwrap(),
        depth,
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

/// What a hostile registry makes of an image: its config, said to be of this type, beside other layers. Every digest is right.
fn evil(image: &BuiltImage, config_type: &str) -> BuiltImage {
    let other = self::image("evil", "amd64", Format::Oci);
    let mut document: serde_json::Value = serde_json::from_slice(&image.manifests[0].bytes).unwrap();
    document["layers"] = serde_json::to_value([&other.blobs[1].descriptor]).unwrap();
    document["config"]["mediaType"] = config_type.into();
    let bytes = document.to_string().into_bytes();
    let mut root = Descriptor::new(image.root.media_type.clone(), Digest::sha256(&bytes), bytes.len() as u64);
    root.platform.clone_from(&image.root.platform);
    BuiltImage {
        blobs: vec![image.blobs[0].clone(), other.blobs[1].clone()],
        manifests: vec![BuiltManifest { descriptor: root.clone(), bytes: bytes.into() }],
        root,
    }
}

#[tokio::test]
async fn an_approved_config_beside_other_layers_is_not_launched_by_who_looks_at_layers() {
    let (_, amd64) = published(Format::Oci);
    let evil_image = evil(&amd64, "application/vnd.oci.image.config.v1+json");
    let registry = plain(&evil_image).await;
    let name = registry.image_ref("team/app:1");
    for depth in [Depth::Layers, Depth::DiffIds] {
        let error = ask_down_to(depth, &client(), &name, config_of(&amd64)).await.unwrap_err();
        assert!(matches!(error, Error::Integrity { .. }), "{error}");
    }
    // Whoever does not is told what the approval says nothing of.
    let validated = ask(&client(), &name, config_of(&amd64)).await.unwrap().unwrap();
    assert_eq!((validated.binds, validated.kind), (Binds::Config, DigestKind::Config));
    // And a config that nobody could look into approves nothing.
    let registry = plain(&evil(&amd64, "application/vnd.example.thing")).await;
    let name = registry.image_ref("team/app:1");
    for depth in [Depth::Config, Depth::Layers, Depth::DiffIds] {
        assert!(ask_down_to(depth, &client(), &name, config_of(&amd64)).await.unwrap().is_none());
    }

    let registry = plain(&amd64).await;
    let name = registry.image_ref("team/app:1");
    for (digest, binds) in [(config_of(&amd64), Binds::DiffIds), (amd64.root.digest, Binds::Image)] {
        let validated = ask_down_to(Depth::Layers, &client(), &name, digest).await.unwrap().unwrap();
        assert_eq!(validated.binds, binds);
    }
}

/// A registry with manners, and a client that it lets in.
async fn with_manners(manners: Manners, image: &BuiltImage) -> (mock::Registry, Client) {
    let registry = mock::Registry::start(manners).await.unwrap();
    registry.push(image, "team/app:1").await.unwrap();
    let client = let_in(&registry, registry.address());
    (registry, client)
}

/// A client that a registry lets in, which it reaches here.
fn let_in(registry: &mock::Registry, address: std::net::SocketAddr) -> Client {
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
        let name = address.to_string().parse().unwrap();
        builder =
            builder.credentials(Arc::new(Given { registry: name, credential, others: Arc::new(Anonymous) }));
    }
    builder.build().unwrap()
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

/// A server that fails, a token that expires while it is waited for, and an answer: all in one call.
#[tokio::test]
async fn trap_a_token_that_expires_during_retries_is_renewed_in_the_same_call() {
    let (index, amd64) = published(Format::Oci);
    for manners in [mock::DOCKER_HUB, mock::ECR_PUBLIC] {
        let registry = mock::Registry::start(manners).await.unwrap();
        registry.push(&index, "team/app:1").await.unwrap();
        let manifest = || When::get(Kind::Manifest);
        let busy = Fault::Answer(Canned::new(http::StatusCode::SERVICE_UNAVAILABLE));
        // Without a token; with one; with the same one again, which is held back until it has expired.
        let script = Script::new()
            .rule(manifest().skip(1).once(), busy)
            .rule(manifest().skip(2).once(), Fault::StallHead);
        let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
        let client = let_in(&registry, proxy.address());
        let name = proxy.image_ref("team/app:1");
        let asking = tokio::spawn(async move { ask(&client, &name, amd64.root.digest).await });
        let held = |seen: &[faults::Seen]| seen.iter().any(|seen| seen.fault == Some(Fault::StallHead));
        proxy.wait_for(held).await.unwrap();
        let tokens = registry.count(Place::TokenServer);
        assert_eq!(tokens, 1, "{}", registry.manners().name);
        registry.expire();
        proxy.release();
        let validated = asking.await.unwrap().unwrap().unwrap();
        assert_eq!(validated.kind, DigestKind::Manifest);
        assert_eq!(registry.count(Place::TokenServer), 2);
        let statuses: Vec<_> = proxy.requests().iter().filter_map(|seen| seen.status).take(4).collect();
        // ECR says of an expired token that the request is wrong.
        let expired = if registry.manners().name == mock::ECR_PUBLIC.name { 400 } else { 401 };
        assert_eq!(statuses, [401, 503, expired, 200]);
    }
}

/// Old defect 8: nobody checked who approved, and an environment variable stood for it. What is approved comes from the caller here, or from
/// a list whose signature is checked; nothing of the environment has a say.
#[tokio::test]
async fn old_defect_8_nothing_but_the_digest_decides() {
    let (index, amd64) = published(Format::Oci);
    let registry = plain(&index).await;
    let name = registry.image_ref("team/app:1");
    // The right name and tag, and a digest that is only nearly right.
    let mut nearly = amd64.root.digest.to_string();
    let last = nearly.pop().unwrap();
    nearly.push(if last == '0' { '1' } else { '0' });
    assert!(ask(&client(), &name, nearly.parse().unwrap()).await.unwrap().is_none());
}

/// Old defect 9: a blocking call stood in an asynchronous one, every failure was tried again, and a failure had no class.
#[tokio::test(flavor = "current_thread")]
async fn old_defect_9_nothing_blocks_and_a_failure_says_what_it_is() {
    let (index, amd64) = published(Format::Oci);
    let script = Script::new().rule(When::get(Kind::Manifest).once(), Fault::StallHead);
    let (_registry, proxy) = behind(script, &index).await;
    let (client, name) = (client(), proxy.image_ref("team/app:1"));
    let asking = ask(&client, &name, amd64.root.digest);
    // On one thread: while the registry is waited for, others go on.
    let other = async {
        proxy.wait_for(|seen| !seen.is_empty()).await.unwrap();
        proxy.release();
    };
    let (outcome, ()) = tokio::join!(asking, other);
    launches(outcome, &amd64, DigestKind::Manifest);
    for (fault, code, attempts) in [
        (Canned::error(http::StatusCode::FORBIDDEN, "DENIED"), "denied", 1),
        (Canned::new(http::StatusCode::BAD_GATEWAY), "unavailable", 3),
    ] {
        let script = Script::new().answer(When::get(Kind::Manifest), fault);
        let (_registry, proxy) = behind(script, &index).await;
        let error = ask(&client, &proxy.image_ref("team/app:1"), amd64.root.digest).await.unwrap_err();
        let asked = proxy.requests().iter().filter(|seen| seen.kind == Kind::Manifest).count();
        assert_eq!((error.code(), asked), (code, attempts), "{error}");
    }
}

/// The client's own limits would cut short what the caller says; this one waits for nothing by itself.
#[tokio::test]
async fn an_answer_may_take_as_long_as_the_call_says() {
    let (index, amd64) = published(Format::Oci);
    let script = Script::new().rule(When::get(Kind::Manifest).once(), Fault::StallHead);
    let (_registry, proxy) = behind(script, &index).await;
    let timeouts = Timeouts { answer: Duration::ZERO, ..Timeouts::default() };
    let client = Client::builder().timeouts(timeouts).build().unwrap();
    let name = proxy.image_ref("team/app:1");
    let asking = ask(&client, &name, amd64.root.digest);
    let other = async {
        proxy.wait_for(|seen| !seen.is_empty()).await.unwrap();
        proxy.release();
    };
    let (outcome, ()) = tokio::join!(asking, other);
    launches(outcome, &amd64, DigestKind::Manifest);
    assert_eq!(proxy.requests().iter().filter(|seen| seen.kind == Kind::Manifest).count(), 1);
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
