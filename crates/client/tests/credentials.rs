//! Credential files that other tools write and read as we do.

#![expect(clippy::unwrap_used, reason = "a failure that was not expected has to end the test")]

use std::{path::Path, sync::Arc};

use pier_client::credentials::{
    Credential, CredentialFiles, CredentialSource, CredentialStore, Locations, Secret,
};
use pier_oci::Registry;
use pier_testkit::{engine::Skopeo, skip::or_skip, test_registry::TestRegistry};

fn alice() -> Credential {
    Credential::Basic { username: "alice".to_owned(), password: Secret::new("s:ec\"ret ä") }
}

async fn known(locations: &Locations, registry: &str) -> Option<Credential> {
    let source: Arc<dyn CredentialSource> = Arc::new(CredentialFiles::new(locations.clone()));
    source.find_registry(&registry.parse().unwrap()).await.unwrap().credential
}

/// As whom skopeo would log in.
fn skopeo_knows(skopeo: &Skopeo, file: &Path, registry: &str) -> Option<String> {
    let file = file.to_str().unwrap();
    let output = skopeo.run(&["login", "--get-login", "--authfile", file, registry]).ok()?;
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[tokio::test]
async fn skopeo_logs_in_for_us_and_we_for_skopeo() {
    let Some(skopeo) = or_skip(Skopeo::find()) else { return };
    // Lets everybody in, so that skopeo keeps what it was given.
    let server = TestRegistry::start().await.unwrap();
    let name = server.image_ref("x").split_once('/').unwrap().0.to_owned();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auth.json");
    let locations = Locations { registry_auth_file: Some(file.clone()), ..Locations::default() };
    let store = CredentialStore::new(locations.clone());

    let path = file.to_str().unwrap();
    let login =
        ["login", "--tls-verify=false", "--authfile", path, "-u", "alice", "-p", "s:ec\"ret ä", &name];
    skopeo.run(&login).unwrap();
    assert_eq!(known(&locations, &name).await, Some(alice()));

    let others = ["docker.io", "r.io", "r.io:5000"];
    for other in others {
        let other: Registry = other.parse().unwrap();
        store.store(&other, &alice()).await.unwrap();
    }
    for registry in others.into_iter().chain([name.as_str()]) {
        assert_eq!(skopeo_knows(&skopeo, &file, registry).as_deref(), Some("alice"), "{registry}");
        assert_eq!(known(&locations, registry).await, Some(alice()), "{registry}");
    }

    assert_eq!(store.erase(&name.parse().unwrap()).await.unwrap(), [format!("`{path}`")]);
    assert_eq!(skopeo_knows(&skopeo, &file, &name), None);
    skopeo.run(&["logout", "--authfile", path, "docker.io"]).unwrap();
    assert_eq!(known(&locations, "docker.io").await, None);
    assert_eq!(known(&locations, "r.io").await, Some(alice()));
}

#[tokio::test]
async fn skopeo_reads_what_we_put_into_dockers_file() {
    let Some(skopeo) = or_skip(Skopeo::find()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let locations = Locations { docker: Some(file.clone()), ..Locations::default() };
    for registry in ["docker.io", "r.io"] {
        CredentialStore::new(locations.clone()).store(&registry.parse().unwrap(), &alice()).await.unwrap();
        assert_eq!(skopeo_knows(&skopeo, &file, registry).as_deref(), Some("alice"), "{registry}");
    }
}
