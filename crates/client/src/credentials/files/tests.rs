//! The places together: which one decides.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::*;
use crate::credentials::{Credential, Given, Secret, auth_file::encode};

/// A home with credential files.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn with(self, name: &str, document: &Value) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, document.to_string()).unwrap();
        self
    }

    fn locations(&self, others: &[(&str, &str)]) -> Locations {
        let folders = [("HOME", self.path("home")), ("XDG_RUNTIME_DIR", self.path("run"))];
        Locations::from_env(|name| {
            let other = others.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
            other.or_else(|| folders.iter().find(|(known, _)| *known == name).map(|(_, path)| path.into()))
        })
        .unwrap()
    }

    async fn find(&self, others: &[(&str, &str)], repository: &str) -> Result<Found> {
        let (registry, name) = repository.split_once('/').unwrap();
        let repository = Repository { registry: registry.parse().unwrap(), name: name.parse().unwrap() };
        CredentialFiles::new(self.locations(others)).find(&repository).await
    }
}

fn auths(entries: &[(&str, &str)]) -> Value {
    let entries = entries.iter().map(|(key, user)| ((*key).to_owned(), json!({ "auth": encode(user, "p") })));
    json!({ "auths": entries.collect::<serde_json::Map<_, _>>() })
}

fn found(user: &str, place: &Path, extent: Extent) -> Found {
    let credential = Credential::Basic { username: user.to_owned(), password: Secret::new("p") };
    Found { credential: Some(credential), place: format!("`{}`", place.display()), extent }
}

const DOCKER: &str = "home/.docker/config.json";
const LASTING: &str = "home/.config/containers/auth.json";
const SESSION: &str = "run/containers/auth.json";

#[tokio::test]
async fn the_first_place_that_knows_a_registry_counts() {
    let mut home = Home::new();
    let named = home.path("named.json");
    let named_text = named.to_str().unwrap().to_owned();
    let variables = [("REGISTRY_AUTH_FILE", named_text.as_str())];
    assert_eq!(home.find(&[], "r.io/a").await.unwrap(), Found::nothing());
    // From the place that counts least to the one that counts most.
    for (place, user) in [(DOCKER, "docker"), (LASTING, "lasting"), (SESSION, "session")] {
        home = home.with(place, &auths(&[("r.io", user)]));
        let expected = found(user, &home.path(place), Extent::Registry);
        assert_eq!(home.find(&[], "r.io/a").await.unwrap(), expected);
    }
    home = home.with("named.json", &auths(&[("r.io", "named")]));
    let expected = found("named", &named, Extent::Registry);
    assert_eq!(home.find(&variables, "r.io/a").await.unwrap(), expected);
    let inline = auths(&[("r.io", "inline")]).to_string();
    let all = [variables[0], ("DOCKER_AUTH_CONFIG", inline.as_str())];
    let inline = home.find(&all, "r.io/a").await.unwrap();
    assert_eq!(
        (inline.credential.unwrap().username(), inline.place.as_str()),
        (Some("inline"), "`DOCKER_AUTH_CONFIG`")
    );

    let given = Given {
        registry: "r.io".parse().unwrap(),
        credential: Credential::RegistryToken(Secret::new("t")),
        others: std::sync::Arc::new(CredentialFiles::new(home.locations(&all))),
    };
    let registry: Registry = "r.io".parse().unwrap();
    assert_eq!(given.find_registry(&registry).await.unwrap().credential, Some(given.credential.clone()));
    let other: Registry = "other.io".parse().unwrap();
    assert_eq!(given.find_registry(&other).await.unwrap(), Found::nothing());
}

#[tokio::test]
async fn a_place_that_does_not_know_a_registry_leaves_it_to_the_next() {
    let home = Home::new()
        .with(SESSION, &auths(&[("other.io", "x")]))
        .with(LASTING, &json!({ "auths": { "r.io": {} } }))
        .with(DOCKER, &auths(&[("r.io", "docker")]));
    let expected = found("docker", &home.path(DOCKER), Extent::Registry);
    assert_eq!(home.find(&[("DOCKER_AUTH_CONFIG", "{}")], "r.io/a").await.unwrap(), expected);
}

#[tokio::test]
async fn the_folder_of_dockers_file_can_be_set() {
    let home = Home::new()
        .with(DOCKER, &auths(&[("r.io", "home")]))
        .with("etc/config.json", &auths(&[("r.io", "etc")]));
    let folder = home.path("etc");
    let expected = found("etc", &home.path("etc/config.json"), Extent::Registry);
    assert_eq!(home.find(&[("DOCKER_CONFIG", folder.to_str().unwrap())], "r.io/a").await.unwrap(), expected);
}

#[tokio::test]
async fn repositories_are_told_apart_only_where_a_file_does() {
    let home = Home::new()
        .with(SESSION, &auths(&[("r.io/team", "team"), ("other.io", "other")]))
        .with(DOCKER, &auths(&[("r.io", "docker")]));
    let (session, docker) = (home.path(SESSION), home.path(DOCKER));
    for (repository, expected) in [
        ("r.io/team/app", found("team", &session, Extent::Repository)),
        ("r.io/app", found("docker", &docker, Extent::Repository)),
        ("other.io/app", found("other", &session, Extent::Registry)),
        ("third.io/app", Found::nothing()),
    ] {
        assert_eq!(home.find(&[], repository).await.unwrap(), expected, "{repository}");
    }
    let files = CredentialFiles::new(home.locations(&[]));
    let whole = files.find_registry(&"r.io".parse().unwrap()).await.unwrap();
    assert_eq!(whole, found("docker", &docker, Extent::Repository));
}

#[tokio::test]
async fn s23_a_malformed_place_is_an_error_and_not_nobody() {
    let text = |result: Result<Found>| result.unwrap_err().to_string();
    for place in [DOCKER, LASTING, SESSION] {
        let home = Home::new().with(place, &json!({ "auths": [] }));
        let expected = format!("`{}`: `auths` is not a JSON object", home.path(place).display());
        assert_eq!(text(home.find(&[], "r.io/a").await), expected);
        fs::write(home.path(place), "{\"auths\": {").unwrap();
        let expected = format!(
            "`{}`: it is not JSON: EOF while parsing an object at line 1 column 11",
            home.path(place).display()
        );
        assert_eq!(text(home.find(&[], "r.io/a").await), expected);
    }
    let home = Home::new();
    assert_eq!(
        text(home.find(&[("DOCKER_AUTH_CONFIG", "hunter2")], "r.io/a").await),
        "`DOCKER_AUTH_CONFIG`: it is not a JSON object"
    );
    let missing = home.path("missing.json");
    assert_eq!(
        text(home.find(&[("REGISTRY_AUTH_FILE", missing.to_str().unwrap())], "r.io/a").await),
        format!("`{}`: `REGISTRY_AUTH_FILE` names it, and it is not there", missing.display())
    );
    let home = Home::new().with(DOCKER, &json!({ "auths": { "r.io": { "auth": "hunter2" } } }));
    assert_eq!(
        text(home.find(&[], "r.io/a").await),
        format!("`{}`: `auths.r.io.auth` is not base64", home.path(DOCKER).display())
    );
    // It is of no interest to others.
    assert_eq!(home.find(&[], "s.io/a").await.unwrap(), Found::nothing());
}

#[tokio::test]
async fn helpers_are_asked_before_entries() {
    let program = "#!/bin/sh\nread server\n[ \"$server\" = \"$KNOWN\" ] || case $server in \
                   r.io) echo '{\"Username\":\"own\",\"Secret\":\"p\"}';; \
                   *) echo 'credentials not found in native keychain'; exit 1;; esac\n";
    let all = program.replace("own", "all").replace("r.io)", "r.io|s.io)");
    let mut document = auths(&[("r.io", "entry"), ("s.io", "entry"), ("t.io", "entry")]);
    document["credHelpers"] = json!({ "r.io": "own" });
    document["credsStore"] = json!("all");
    let home = Home::new().with(DOCKER, &document);
    for (name, script) in [("own", program), ("all", all.as_str())] {
        install(&home.path(&format!("docker-credential-{name}")), script);
    }
    let path = home.0.path().to_str().unwrap();
    for (repository, user, place) in [
        ("r.io/a", "own", "credential helper `docker-credential-own`".to_owned()),
        ("s.io/a", "all", "credential helper `docker-credential-all`".to_owned()),
        ("t.io/a", "entry", format!("`{}`", home.path(DOCKER).display())),
    ] {
        let found = home.find(&[("PATH", path)], repository).await.unwrap();
        assert_eq!((found.credential.unwrap().username(), found.place), (Some(user), place));
    }
}

/// Written by another process: one that is forked here while the script is open for writing would keep it from being run.
pub(in crate::credentials) fn install(path: &Path, script: &str) {
    use std::io::Write as _;
    let mut writer = std::process::Command::new("/bin/sh")
        .args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(path)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
}
