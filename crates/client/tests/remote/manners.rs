//! The registries that people use, each with its own manners: all of them are logged in to, asked, pulled from and pushed to, and none sees
//! what it should not.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use pier_client::{
    Client,
    credentials::{Credential, Given, Secret},
};
use pier_content::{
    CopyOptions, Jitter, Memory, Mounted, Progress, RetryPolicy, Source as _, StoreSource, StoreTarget,
    Target as _, copy,
};
use pier_oci::Reference;
use pier_testkit::{
    image::{BuiltImage, ImageBuilder, Layer},
    mock::{self, Credentials, Place},
};

use crate::faults::check_store;

fn image(seed: u64) -> BuiltImage {
    ImageBuilder::new().layer(Layer::random(seed, 200_000)).layer(Layer::random(seed + 1, 3_000_000)).build()
}

/// A client that is who the registry lets in.
fn client(registry: &mock::Registry, credentials: Option<&Credentials>) -> Client {
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
    builder.build().unwrap()
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
        let image = image(1);
        registry.push(&image, "team/app:v1").await.unwrap();
        let mut forms: Vec<Option<Credentials>> = registry.credentials().into_iter().map(Some).collect();
        if forms.is_empty() {
            forms.push(None);
        }
        for (number, credentials) in forms.iter().enumerate() {
            let client = client(&registry, credentials.as_ref());
            let from = reference(&registry, "team/app:v1");
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
        let shown = remote.has(&to.repository, blob).await.unwrap();
        assert_eq!(mounted == Mounted::Yes, shown, "{}", manners.name);
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
