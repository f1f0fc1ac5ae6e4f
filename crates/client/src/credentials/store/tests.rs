//! Login and logout, as they change files and ask helpers.

use std::{fs, os::unix::fs::PermissionsExt as _};

use pier_oci::Repository;
use serde_json::{Value, json};

use super::*;
use crate::credentials::{CredentialSource as _, Secret, files::tests::install};

/// A home in which nobody is logged in.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn locations(&self) -> Locations {
        Locations {
            inline: None,
            registry_auth_file: None,
            podman: vec![self.path(PODMAN)],
            docker: Some(self.path(DOCKER)),
            search_path: Some(self.0.path().into()),
        }
    }

    fn store(&self) -> CredentialStore {
        CredentialStore::new(self.locations())
    }

    async fn found(&self, registry: &str) -> Option<Credential> {
        let repository = Repository { registry: registry.parse().unwrap(), name: "a".parse().unwrap() };
        CredentialFiles::new(self.locations()).find(&repository).await.unwrap().credential
    }

    /// A helper that keeps everything in one file, and notes what it was asked.
    fn install_helper(&self, name: &str) {
        let script = "#!/bin/sh\ncd \"${0%/*}\"; input=$(cat); echo \"$1\" >> asked\n\
            case $1 in\n store) printf %s \"$input\" > kept;;\n erase) rm -f kept;;\n\
            get) [ -e kept ] && cat kept || { echo 'credentials not found in native keychain'; exit 1; };;\nesac\n";
        install(&self.path(&format!("docker-credential-{name}")), script);
    }
}

const DOCKER: &str = ".docker/config.json";
const PODMAN: &str = "run/auth.json";

fn alice() -> Credential {
    Credential::Basic { username: "alice".to_owned(), password: Secret::new("s:ecret") }
}

fn registry(text: &str) -> Registry {
    text.parse().unwrap()
}

fn plain(path: &Path) -> Stored {
    Stored { place: format!("`{}`", path.display()), protection: Protection::Plain, shadowed_by: None }
}

#[tokio::test]
async fn a_login_goes_to_dockers_file_as_docker_writes_it() {
    let home = Home::new();
    for (name, key) in [
        ("docker.io", "https://index.docker.io/v1/"),
        ("r.io:5000", "r.io:5000"),
        ("[::1]:5000", "[::1]:5000"),
    ] {
        let stored = home.store().store(&registry(name), &alice()).await.unwrap();
        assert_eq!(stored, plain(&home.path(DOCKER)));
        assert_eq!(home.read(DOCKER)["auths"][key], json!({ "auth": "YWxpY2U6czplY3JldA==" }));
        assert_eq!(home.found(name).await, Some(alice()));
    }
    assert_eq!(home.path(DOCKER).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!home.path(PODMAN).exists());
}

#[tokio::test]
async fn every_kind_of_credential_comes_back_as_it_was_stored() {
    let home = Home::new();
    for credential in [
        alice(),
        Credential::IdentityToken { username: "00000000-0000".to_owned(), token: Secret::new("refresh") },
        Credential::RegistryToken(Secret::new("bearer")),
        Credential::Basic { username: "alice".to_owned(), password: Secret::new("") },
    ] {
        home.store().store(&registry("r.io"), &credential).await.unwrap();
        assert_eq!(home.found("r.io").await, Some(credential));
    }
}

#[tokio::test]
async fn what_else_is_in_a_file_stays_as_it_is() {
    let home = Home::new();
    let before = r#"{
	"psFormat": "table {{.ID}}\u00e4",
	"big": 123456789012345678901234567890.10,
	"auths": {
		"other.io": {"auth": "eDp5", "email": "a@b.c"},
		"https://r.io/v1/": {
			"auth": "b2xkOm9sZA==",
			"email": "a@b.c"
		}
	},
	"plugins": { "x": [1,  2] }
}"#;
    home.write(DOCKER, before);
    home.store().store(&registry("r.io"), &alice()).await.unwrap();
    let after = fs::read_to_string(home.path(DOCKER)).unwrap();
    let expected = before.replace(
        "{\n\t\t\t\"auth\": \"b2xkOm9sZA==\",\n\t\t\t\"email\": \"a@b.c\"\n\t\t}",
        "{\n\t\t\t\"email\": \"a@b.c\",\n\t\t\t\"auth\": \"YWxpY2U6czplY3JldA==\"\n\t\t}",
    ) + "\n";
    assert_eq!(after, expected);
    assert_eq!(
        home.store().erase(&registry("r.io")).await.unwrap(),
        [format!("`{}`", home.path(DOCKER).display())]
    );
    let mut value: Value = serde_json::from_str(before).unwrap();
    value["auths"].as_object_mut().unwrap().remove("https://r.io/v1/");
    assert_eq!(home.read(DOCKER), value);
}

#[tokio::test]
async fn a_login_counts_wherever_an_older_one_is() {
    let home = Home::new();
    home.write(
        PODMAN,
        r#"{"auths": {"docker.io": {"auth": "b2xkOm9sZA=="}, "r.io/team": {"auth": "eDp5"}}}"#,
    );
    let stored = home.store().store(&Registry::docker_hub(), &alice()).await.unwrap();
    assert_eq!(stored, plain(&home.path(PODMAN)));
    assert_eq!(home.found("docker.io").await, Some(alice()));
    assert!(!home.path(DOCKER).exists());
    // Those of single repositories are no login to the registry.
    assert_eq!(home.store().store(&registry("r.io"), &alice()).await.unwrap(), plain(&home.path(DOCKER)));
}

#[tokio::test]
async fn the_file_that_is_named_is_made() {
    let home = Home::new();
    let named = home.path("named.json");
    let locations = Locations { registry_auth_file: Some(named.clone()), ..home.locations() };
    let store = CredentialStore::new(locations);
    assert_eq!(store.store(&Registry::docker_hub(), &alice()).await.unwrap(), plain(&named));
    assert_eq!(
        home.read("named.json"),
        json!({ "auths": { "docker.io": { "auth": "YWxpY2U6czplY3JldA==" } } })
    );
    assert!(!home.path(DOCKER).exists());
}

#[tokio::test]
async fn a_login_that_will_not_be_used_says_so() {
    let home = Home::new();
    let inline = r#"{"auths": {"r.io": {"auth": "eDp5"}}}"#;
    let locations = Locations { inline: Some(Secret::new(inline)), ..home.locations() };
    let store = CredentialStore::new(locations);
    let stored = store.store(&registry("r.io"), &alice()).await.unwrap();
    assert_eq!(stored.shadowed_by.as_deref(), Some("`DOCKER_AUTH_CONFIG`"));
    assert_eq!(store.store(&registry("s.io"), &alice()).await.unwrap().shadowed_by, None);
}

#[tokio::test]
async fn a_helper_keeps_what_it_is_configured_for() {
    for settings in [json!({ "credsStore": "test" }), json!({ "credHelpers": { "r.io": "test" } })] {
        let home = Home::new();
        home.install_helper("test");
        let mut document = settings.clone();
        document["auths"] = json!({ "r.io": { "auth": "b2xkOm9sZA==" } });
        home.write(DOCKER, &document.to_string());
        let stored = home.store().store(&registry("r.io"), &alice()).await.unwrap();
        let place = "credential helper `docker-credential-test`".to_owned();
        assert_eq!(
            stored,
            Stored { place: place.clone(), protection: Protection::Helper, shadowed_by: None }
        );
        assert_eq!(
            home.read("kept"),
            json!({ "ServerURL": "r.io", "Username": "alice", "Secret": "s:ecret" })
        );
        // The file says that there is one, and what it said before is gone.
        let mut expected = settings;
        expected["auths"] = json!({ "r.io": {} });
        assert_eq!(home.read(DOCKER), expected);
        assert_eq!(home.found("r.io").await, Some(alice()));

        assert_eq!(home.store().erase(&registry("r.io")).await.unwrap(), [place]);
        assert!(!home.path("kept").exists());
        assert_eq!(home.read(DOCKER)["auths"], json!({}));
        assert_eq!(home.found("r.io").await, None);
    }
}

#[tokio::test]
async fn a_helper_that_fails_leaves_the_file_as_it_is() {
    let home = Home::new();
    install(&home.path("docker-credential-test"), "#!/bin/sh\necho 'not implemented'; exit 1\n");
    let text = r#"{"credsStore": "test", "auths": {"r.io": {"auth": "b2xkOm9sZA=="}}}"#;
    home.write(DOCKER, text);
    let error = home.store().store(&registry("r.io"), &alice()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "credential helper `docker-credential-test`: it fails with exit status: 1: not implemented"
    );
    assert_eq!(fs::read_to_string(home.path(DOCKER)).unwrap(), text);
}

#[tokio::test]
async fn a_logout_takes_every_spelling_out_of_every_file() {
    let home = Home::new();
    home.write(DOCKER, r#"{"auths": {"https://index.docker.io/v1/": {"auth": "eDp5"}, "docker.io": {"auth": "eDp5"}, "r.io": {"auth": "eDp5"}}}"#);
    home.write(
        PODMAN,
        r#"{"auths": {"registry-1.docker.io": {"auth": "eDp5"}, "docker.io/library": {"auth": "eDp5"}}}"#,
    );
    let erased = home.store().erase(&Registry::docker_hub()).await.unwrap();
    assert_eq!(erased, [PODMAN, DOCKER].map(|name| format!("`{}`", home.path(name).display())));
    assert_eq!(home.read(DOCKER), json!({ "auths": { "r.io": { "auth": "eDp5" } } }));
    assert_eq!(home.read(PODMAN), json!({ "auths": { "docker.io/library": { "auth": "eDp5" } } }));
    assert_eq!(home.store().erase(&Registry::docker_hub()).await.unwrap(), [""; 0]);
    assert_eq!(home.store().erase(&registry("unknown.io")).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_can_be_logged_out_of() {
    let home = Home::new();
    home.write(DOCKER, r#"{"auths": {"r.io": {"auth": "!"}}}"#);
    assert_eq!(home.store().erase(&registry("r.io")).await.unwrap().len(), 1);
    assert_eq!(home.read(DOCKER), json!({ "auths": {} }));
}

#[tokio::test]
async fn s23_a_malformed_file_is_not_written_to() {
    let home = Home::new();
    for text in ["{\"auths\": ", "[]", "{\"auths\": []}", "{\"credsStore\": \"../x\"}"] {
        home.write(DOCKER, text);
        for error in [
            home.store().store(&registry("r.io"), &alice()).await.unwrap_err(),
            home.store().erase(&registry("r.io")).await.unwrap_err(),
        ] {
            assert!(matches!(&error, Error::Credentials { place, .. } if place.contains(DOCKER)), "{error}");
        }
        assert_eq!(fs::read_to_string(home.path(DOCKER)).unwrap(), text);
    }
}

#[tokio::test]
async fn s23_a_login_that_has_no_place_is_an_error() {
    let store = CredentialStore::new(Locations::default());
    let error = store.store(&registry("r.io"), &alice()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "credential files: there is no place for them: neither `HOME` nor `DOCKER_CONFIG` is set"
    );
    assert_eq!(store.erase(&registry("r.io")).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn logins_at_once_are_all_kept() {
    let home = Home::new();
    let store = home.store();
    let registries: Vec<Registry> = (0..16).map(|number| registry(&format!("r{number}.io"))).collect();
    let credential = alice();
    let logins = registries.iter().map(|registry| store.store(registry, &credential));
    for stored in futures_util::future::join_all(logins).await {
        stored.unwrap();
    }
    assert_eq!(home.read(DOCKER)["auths"].as_object().unwrap().len(), 16);
}
