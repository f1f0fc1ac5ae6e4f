//! The registries that people use, each with its own manners: all of them are logged in to, asked, pulled from and pushed to, and none sees
//! what it should not.

use std::{
    collections::HashSet,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use http::Method;
use pier_client::{
    Client, ClientBuilder, Greeting, HostSettings, Hosts,
    credentials::{Credential, CredentialSource, Extent, Found, Given, Secret},
};
use pier_content::{
    CopyOptions, Jitter, Memory, Mounted, Progress, Result, RetryPolicy, Source as _, StoreSource,
    StoreTarget, Target as _, copy,
};
use pier_oci::{Reference, Registry, Repository};
use pier_testkit::{
    image::{BuiltImage, ImageBuilder, Layer},
    mock::{self, Credentials, Place},
};

use crate::faults::check_store;

fn image(seed: u64) -> BuiltImage {
    ImageBuilder::new().layer(Layer::random(seed, 200_000)).layer(Layer::random(seed + 1, 3_000_000)).build()
}

/// With a layer of which ranges are asked for, where that matters.
fn image_for(manners: &mock::Manners) -> BuiltImage {
    let in_order = manners.ranges == mock::Ranges::Served && manners.blobs == mock::Blobs::Here;
    let size = if in_order { 3_000_000 } else { 40 << 20 };
    ImageBuilder::new().layer(Layer::random(1, 200_000)).layer(Layer::random(2, size)).build()
}

/// A client that is who the registry lets in.
fn client(registry: &mock::Registry, credentials: Option<&Credentials>) -> Client {
    builder(registry, credentials).build().unwrap()
}

fn builder(registry: &mock::Registry, credentials: Option<&Credentials>) -> ClientBuilder {
    let retries = RetryPolicy {
        attempts: const { NonZeroU32::new(4).unwrap() },
        first_delay: Duration::from_millis(1),
        max_delay: Duration::from_secs(1),
        ..RetryPolicy::new(Jitter::none())
    };
    let mut builder = Client::builder().retries(retries);
    if let Some(credentials) = credentials {
        let credential = match credentials.clone() {
            Credentials::Password { username, password } => {
                Credential::Basic { username, password: Secret::new(password) }
            }
            Credentials::IdentityToken { username, token } => {
                Credential::IdentityToken { username, token: Secret::new(token) }
            }
        };
        let others = Arc::new(pier_client::credentials::Anonymous);
        let name = registry.address().to_string().parse().unwrap();
        builder = builder.credentials(Arc::new(Given { registry: name, credential, others }));
    }
    builder
}

fn reference(registry: &mock::Registry, name: &str) -> Reference {
    registry.image_ref(name).parse().unwrap()
}

/// Pulls into a store in memory.
async fn pull(client: &Client, reference: &Reference) -> Arc<Memory> {
    let memory = Arc::new(Memory::default());
    let target = StoreTarget { blobs: memory.clone(), catalog: memory.clone() };
    let source = client.source(&reference.repository.registry).unwrap();
    let tags: Vec<_> = reference.tag.iter().cloned().collect();
    let options = CopyOptions::default();
    copy(&*source, reference, &target, &reference.repository, &tags, &options, &Progress::default())
        .await
        .unwrap();
    memory
}

async fn push(client: &Client, store: &Arc<Memory>, from: &Reference, to: &Reference) {
    let source = StoreSource { blobs: store.clone(), catalog: store.clone() };
    let target = client.target(&to.repository.registry).unwrap();
    let tags: Vec<_> = to.tag.iter().cloned().collect();
    let options = CopyOptions::default();
    copy(&source, from, &*target, &to.repository, &tags, &options, &Progress::default()).await.unwrap();
}

#[tokio::test]
async fn every_registry_is_resolved_pulled_from_pushed_to_and_listed() {
    for manners in mock::ALL {
        let registry = mock::Registry::start(manners).await.unwrap();
        let image = image_for(&manners);
        registry.push(&image, "team/app:v1").await.unwrap();
        let mut forms: Vec<Option<Credentials>> = registry.credentials().into_iter().map(Some).collect();
        if forms.is_empty() {
            forms.push(None);
        }
        for (number, credentials) in forms.iter().enumerate() {
            let client = client(&registry, credentials.as_ref());
            let from = reference(&registry, "team/app:v1");
            let greeting = client.remote(&from.repository.registry).unwrap().greet().await.unwrap();
            let expected = if credentials.is_some() { Greeting::Known } else { Greeting::Unasked };
            assert_eq!(greeting, expected, "{}", manners.name);
            let source = client.source(&from.repository.registry).unwrap();
            assert_eq!(source.resolve(&from).await.unwrap().digest, image.root.digest, "{}", manners.name);
            let store = pull(&client, &from).await;
            assert_eq!(check_store(&store, &image).await, image.blobs.len(), "{}", manners.name);
            let to = reference(&registry, &format!("team/copy{number}:v2"));
            push(&client, &store, &from, &to).await;
            let back = pull(&client, &to).await;
            assert_eq!(check_store(&back, &image).await, image.blobs.len(), "{}", manners.name);
            let remote = client.remote(&to.repository.registry).unwrap();
            assert_eq!(
                remote.tags(&to.repository).await.unwrap(),
                ["v2".parse().unwrap()],
                "{}",
                manners.name
            );
            assert_eq!(remote.referrers(&to.repository, &image.root.digest).await.unwrap(), []);
        }
        assert_eq!(registry.violations(), [], "{}", manners.name);
    }
}

#[tokio::test]
async fn every_registry_mounts_or_is_sent_the_blob() {
    for manners in mock::ALL {
        let registry = mock::Registry::start(manners).await.unwrap();
        let image = image(2);
        registry.push(&image, "team/app:v1").await.unwrap();
        let client = client(&registry, registry.credentials().first());
        let (from, to) = (reference(&registry, "team/app:v1"), reference(&registry, "team/other:v1"));
        let remote = client.remote(&to.repository.registry).unwrap();
        let blob = &image.blobs[0].descriptor;
        let mounted = remote.mount(&to.repository, &blob.digest, &from.repository).await.unwrap();
        // A client that never asks has nothing mounted anywhere.
        let expected = match manners.mounts {
            mock::Mounts::Taken | mock::Mounts::OfManifests => Mounted::Yes,
            mock::Mounts::Refused(_) => Mounted::No,
        };
        assert_eq!(mounted, expected, "{}", manners.name);
        assert_eq!(remote.has(&to.repository, blob).await.unwrap(), mounted == Mounted::Yes);
        if let mock::Access::Bearer(_) = manners.access {
            // The right to write here does not bring the right to read there, so that is asked for with it.
            let asked = |asked: &mock::Asked| {
                let query =
                    asked.query.as_deref().unwrap_or_default().replace("%3A", ":").replace("%2F", "/");
                asked.place == Place::TokenServer
                    && (query.contains("repository:team/app:pull") || asked.method == Method::POST)
            };
            assert!(registry.requests().iter().any(asked), "{}", manners.name);
        }
        let store = pull(&client, &from).await;
        push(&client, &store, &from, &to).await;
        assert!(remote.has(&to.repository, blob).await.unwrap(), "{}", manners.name);
        assert_eq!(registry.violations(), [], "{}", manners.name);
    }
}

#[tokio::test]
async fn what_expires_in_the_middle_is_renewed() {
    for manners in mock::ALL {
        let registry = mock::Registry::start(manners).await.unwrap();
        let image = image(3);
        registry.push(&image, "team/app:v1").await.unwrap();
        if matches!(manners.access, mock::Access::Basic | mock::Access::Open) {
            // A password that has expired is somebody else's to renew.
            continue;
        }
        let client = client(&registry, registry.credentials().first());
        let from = reference(&registry, "team/app:v1");
        let store = pull(&client, &from).await;
        registry.expire();
        registry.expire_urls();
        let again = pull(&client, &from).await;
        assert_eq!(check_store(&again, &image).await, image.blobs.len(), "{}", manners.name);
        registry.expire();
        push(&client, &store, &from, &reference(&registry, "team/late:v1")).await;
        assert_eq!(registry.violations(), [], "{}", manners.name);
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once_and_never_become_nobodys() {
    for manners in mock::ALL {
        let registry = mock::Registry::start(manners).await.unwrap();
        registry.push(&image(4), "team/app:v1").await.unwrap();
        if registry.credentials().is_empty() {
            continue;
        }
        let wrong = Credentials::Password { username: "mallory".to_owned(), password: "wrong".to_owned() };
        let client = client(&registry, Some(&wrong));
        let from = reference(&registry, "team/app:v1");
        let error = client.source(&from.repository.registry).unwrap().resolve(&from).await.unwrap_err();
        assert_eq!(error.code(), "denied", "{}: {error:?}", manners.name);
        assert!(!error.to_string().contains("wrong"), "{error}");
        assert!(registry.count(Place::TokenServer) <= 2, "{}", manners.name);
    }
}

/// One token for a repository serves all that is asked of it.
#[tokio::test]
async fn a_token_is_fetched_once() {
    let registry = mock::Registry::start(mock::DOCKER_HUB).await.unwrap();
    let image = image(5);
    registry.push(&image, "team/app:v1").await.unwrap();
    let client = client(&registry, registry.credentials().first());
    let from = reference(&registry, "team/app:v1");
    pull(&client, &from).await;
    assert_eq!(registry.count(Place::TokenServer), 1);
}

/// Google's: each answer leads somewhere else, and more than one chunk goes.
#[tokio::test]
async fn an_upload_that_moves_with_each_chunk_is_followed() {
    let registry =
        mock::Registry::start(mock::Manners { max_chunk: Some(1_000_000), ..mock::GAR }).await.unwrap();
    let image = image(6);
    registry.push(&image, "team/app:v1").await.unwrap();
    let client = client(&registry, registry.credentials().first());
    let (from, to) = (reference(&registry, "team/app:v1"), reference(&registry, "elsewhere/app:v1"));
    let store = pull(&client, &from).await;
    push(&client, &store, &from, &to).await;
    let chunks: Vec<_> =
        registry.requests().into_iter().filter(|asked| asked.method == Method::PATCH).collect();
    assert_eq!(chunks.len(), 3);
    let targets: HashSet<_> = chunks.iter().map(|asked| (&asked.path, &asked.query)).collect();
    assert_eq!(targets.len(), chunks.len(), "{chunks:?}");
    let back = pull(&client, &to).await;
    assert_eq!(check_store(&back, &image).await, image.blobs.len());
    assert_eq!(registry.violations(), []);
}

/// What a helper says: another password when the one before has expired.
#[derive(Debug)]
struct Renewed(Arc<mock::Registry>);

impl Renewed {
    fn found(&self) -> Found {
        let [Credentials::Password { username, password }] = &self.0.credentials()[..] else { panic!() };
        let credential =
            Credential::Basic { username: username.clone(), password: Secret::new(password.clone()) };
        Found { credential: Some(credential), place: "a helper".to_owned(), extent: Extent::Registry }
    }
}

#[async_trait::async_trait]
impl CredentialSource for Renewed {
    async fn find(&self, _: &Repository) -> Result<Found> {
        Ok(self.found())
    }

    async fn find_registry(&self, _: &Registry) -> Result<Found> {
        Ok(self.found())
    }
}

/// Amazon's: twelve hours later a helper's password is answered with 403 and no challenge.
#[tokio::test]
async fn a_password_that_expires_in_the_middle_is_had_anew() {
    let registry = Arc::new(mock::Registry::start(mock::ECR).await.unwrap());
    let image = image(7);
    registry.push(&image, "team/app:v1").await.unwrap();
    let client = Client::builder().credentials(Arc::new(Renewed(registry.clone()))).build().unwrap();
    let from = reference(&registry, "team/app:v1");
    let store = pull(&client, &from).await;
    for place in ["team/second:v1", "team/third:v1"] {
        registry.expire();
        registry.expire_urls();
        pull(&client, &from).await;
        registry.expire();
        push(&client, &store, &from, &reference(&registry, place)).await;
    }
    assert!(registry.requests().iter().any(|asked| asked.status == 403));
    assert_eq!(registry.violations(), []);
}

/// Nobody holds the one place and waits for it: redirects, tokens and copies within one registry take turns.
#[tokio::test]
async fn one_request_at_once_is_enough() {
    for manners in [
        mock::Manners { blobs: mock::Blobs::Presigned, ..mock::DOCKER_HUB },
        mock::Manners { blobs: mock::Blobs::Presigned, ..mock::MOUNT_FORBIDDEN },
        mock::ECR_PUBLIC,
        mock::GAR,
    ] {
        let registry = mock::Registry::start(manners).await.unwrap();
        let many =
            (1..9).map(|seed| Layer::random(seed, 300_000)).fold(ImageBuilder::new(), ImageBuilder::layer);
        let image = many.layer(Layer::random(20, 40 << 20)).build();
        registry.push(&image, "team/app:v1").await.unwrap();
        let name: Registry = registry.address().to_string().parse().unwrap();
        let one = HostSettings { requests_at_once: NonZeroUsize::new(1), ..HostSettings::default() };
        let hosts = Hosts { named: vec![(name.clone().into(), one)], ..Hosts::default() };
        let client = builder(&registry, registry.credentials().first()).hosts(hosts).build().unwrap();
        let from = reference(&registry, "team/app:v1");
        let work = async {
            let store = pull(&client, &from).await;
            registry.expire();
            registry.expire_urls();
            push(&client, &store, &from, &reference(&registry, "team/pushed:v1")).await;
            registry.expire();
            // From the registry to itself, so that each upload reads what it sends.
            let to = reference(&registry, "other/copied:v1");
            let (source, target) = (client.source(&name).unwrap(), client.target(&name).unwrap());
            let (tags, options) = (["v1".parse().unwrap()], CopyOptions::default());
            let progress = Progress::default();
            copy(&*source, &from, &*target, &to.repository, &tags, &options, &progress).await.unwrap();
            let back = pull(&client, &to).await;
            assert_eq!(check_store(&back, &image).await, image.blobs.len());
        };
        let done = tokio::time::timeout(Duration::from_mins(2), work).await;
        assert!(done.is_ok(), "{}: {:?}", manners.name, registry.requests().last());
        assert_eq!(registry.violations(), [], "{}", manners.name);
    }
}
