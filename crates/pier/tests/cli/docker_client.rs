//! What the tests of an earlier tool asked of its registry client and of Docker's: looking at what is not there, and pushes that are refused.

use pier_testkit::test_registry::TestRegistry;
use serde_json::json;

use crate::{
    pier::{Said, Store, text, write},
    remote::{Multi, Remote, image},
};

#[test]
fn inspect_repo_missing_with_and_without_slash_tag_missing_and_platform_missing() {
    let (store, remote) = (Store::empty(), Remote::start());
    let multi = Multi::new();
    remote.push(&multi.index, "team/app:1");
    let digest = multi.index.root.digest.to_string();
    for missing in ["missing:1", "with/a/slash:1", "team/app:2", "team:1"] {
        let name = remote.name(missing);
        for command in
            [&["inspect", &*name][..], &["resolve", &name], &["verify", &name, "--approve", &digest]]
        {
            let said = store.pier(command);
            assert_eq!((said.status, said.stdout.as_str()), (1, ""), "{command:?}: {}", said.stderr);
            assert!(said.stderr.contains("is not there"), "{}", said.stderr);
        }
    }
    let name = remote.name("team/app:1");
    for command in [
        &["inspect", &*name, "--platform", "linux/s390x"][..],
        &["verify", &name, "--approve", &digest, "--platform", "linux/s390x"],
    ] {
        let said = store.pier(command);
        assert_eq!((said.status, said.stdout.as_str()), (1, ""), "{command:?}: {}", said.stderr);
        assert!(said.stderr.contains("no image for platform `linux/s390x`"), "{}", said.stderr);
    }
}

/// A store with an image to push, and how it is pushed by somebody.
struct Pusher {
    store: Store,
    source: String,
}

impl Pusher {
    fn new() -> Self {
        let (store, remote) = (Store::empty(), Remote::start());
        let name = remote.push(&image(1), "team/app:1");
        assert_eq!(store.pier(&["pull", "--progress", "none", &name]).status, 0);
        Self { source: format!("store:{}", remote.local("team/app:1")), store }
    }

    /// `login` as it stands in the file of credentials: base64 of `user:password`.
    fn push(&self, login: Option<&str>, to: &str) -> Said {
        let (registry, _) = to.split_once('/').unwrap();
        let auths = login.map_or_else(|| json!({}), |login| json!({ registry: { "auth": login } }));
        let file = write(&self.store, "auth.json", &json!({ "auths": auths }).to_string());
        self.store.pier(&["push", "--progress", "none", "--authfile", text(&file), &self.source, to])
    }
}

#[test]
fn push_valid_missing_image_and_non_existent_registry() {
    let (pusher, remote) = (Pusher::new(), Remote::start());
    assert_eq!(pusher.push(None, &remote.name("pushed/app:1")).status, 0);
    let missing = pusher.store.pier(&["push", "store:nothing:1", &remote.name("pushed/app:2")]);
    assert_eq!((missing.status, missing.stdout.as_str()), (1, ""), "{}", missing.stderr);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = write(&pusher.store, "pier.toml", "[client]\nattempts = 1\n");
    let to = format!("{nobody}/app:1");
    let said =
        pusher.store.pier(&["push", "--progress", "none", "--config", text(&config), &pusher.source, &to]);
    assert_eq!((said.status, said.stdout.as_str()), (3, ""), "{}", said.stderr);
}

#[tokio::test]
async fn push_with_auth_correct_missing_incorrect_and_correct_but_unauthorised() {
    let registry =
        TestRegistry::builder().auth("me", "secret").reader("guest", "hello").start().await.unwrap();
    // The store is filled from a registry of its own, which waits for its runtime.
    let pusher = tokio::task::spawn_blocking(Pusher::new).await.unwrap();
    for (row, login, status) in [
        ("missing", None, 5),
        ("incorrect", Some("bWU6d3Jvbmc="), 5),
        ("correct but unauthorised", Some("Z3Vlc3Q6aGVsbG8="), 5),
        ("correct", Some("bWU6c2VjcmV0"), 0),
    ] {
        let said = pusher.push(login, &registry.image_ref("team/app:1"));
        assert_eq!(said.status, status, "{row}: {}", said.stderr);
        assert_eq!(registry.exists("team/app:1").await.unwrap(), status == 0, "{row}");
        for secret in ["secret", "wrong", "hello", "bWU6"] {
            assert!(!said.stderr.contains(secret), "{row}: {}", said.stderr);
        }
    }
}
