//! Registries with manners: a client that does everything right gets along with each, and one that does not is told on.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the lint's exemption for tests does not reach the functions that tests share"
)]

#[path = "raw/client.rs"]
mod client;

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::{Answer, exchange, get, put};
use pier_oci::wire::query::percent_encoded;
use pier_oci::wire::{Bearer, Challenge, challenges};
use pier_oci::{Digest, RepositoryName, Selector};
use pier_testkit::engine::Oras;
use pier_testkit::image::{BuiltImage, ImageBuilder, Packing, Tree};
use pier_testkit::mock::{
    self, Access, Credentials, HugeBlob, Manners, Place, Presence, Ranges, Registry, Violation,
};
use pier_testkit::skip::or_skip;

/// A client that does what challenges and locations say, and nothing else.
struct Model<'a> {
    registry: &'a Registry,
    credentials: Option<Credentials>,
    header: String,
}

/// Host and target of a URL, or of a path at this host.
fn place(url: &str, host: SocketAddr) -> (SocketAddr, String) {
    let Some(rest) = url.strip_prefix("http://") else { return (host, url.to_owned()) };
    let (host, path) = rest.split_once('/').unwrap();
    (host.parse().unwrap(), format!("/{path}"))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

impl<'a> Model<'a> {
    fn new(registry: &'a Registry, credentials: Option<Credentials>) -> Self {
        Self { registry, credentials, header: String::new() }
    }

    fn address(&self) -> SocketAddr {
        self.registry.address()
    }

    async fn once(&self, request: &dyn Fn(&str) -> String) -> Answer {
        exchange(self.address(), &request(&self.header)).await
    }

    /// Asks; answers a challenge, and an expired credential that comes without one; asks again.
    async fn ask(&mut self, request: &dyn Fn(&str) -> String) -> Answer {
        let first = self.once(request).await;
        let is_expired = !self.header.is_empty() && matches!(first.status(), 400 | 403);
        if first.status() != 401 && !is_expired {
            return first;
        }
        let asked = if is_expired {
            // Whoever has expired is told how to ask once nobody asks.
            self.header.clear();
            self.once(request).await
        } else {
            first
        };
        let Some(challenge) = asked.field("WWW-Authenticate") else { return asked };
        self.header = match challenges(challenge).unwrap().remove(0) {
            Challenge::Basic { .. } => match &self.registry.credentials()[0] {
                Credentials::Password { username, password } => basic(username, password),
                Credentials::IdentityToken { .. } => panic!("no identity tokens with Basic"),
            },
            Challenge::Bearer(bearer) => format!("Bearer {}", self.token(&bearer).await.unwrap()),
            Challenge::Other { scheme } => panic!("{scheme}"),
        };
        self.header = format!("Authorization: {}\r\n", self.header);
        self.once(request).await
    }

    async fn token(&self, bearer: &Bearer) -> Option<String> {
        let (host, path) = place(&bearer.realm, self.address());
        let mut parameters = Vec::new();
        parameters
            .extend(bearer.service.iter().map(|service| format!("service={}", percent_encoded(service))));
        let scopes = bearer.scope.iter().flat_map(|scopes| scopes.split(' '));
        parameters.extend(scopes.map(|scope| format!("scope={}", percent_encoded(scope))));
        let answer = match &self.credentials {
            Some(Credentials::IdentityToken { token, .. }) => {
                parameters.extend(["grant_type=refresh_token".to_owned(), "client_id=model".to_owned()]);
                parameters.push(format!("refresh_token={}", percent_encoded(token)));
                let form = "Content-Type: application/x-www-form-urlencoded\r\n";
                exchange(host, &put("POST", &path, form, &parameters.join("&"))).await
            }
            credentials => {
                let header = match credentials {
                    Some(Credentials::Password { username, password }) => {
                        format!("Authorization: {}\r\n", basic(username, password))
                    }
                    _ => String::new(),
                };
                exchange(host, &get(&format!("{path}?{}", parameters.join("&")), &header)).await
            }
        };
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let token = answer.get("token").or(answer.get("access_token"))?;
        Some(token.as_str().unwrap().to_owned())
    }

    async fn push(&mut self, image: &BuiltImage, repository: &str, tag: &str) {
        for blob in &image.blobs {
            let bytes = String::from_utf8(blob.content.bytes().unwrap().to_vec()).unwrap();
            let start = format!("/v2/{repository}/blobs/uploads/");
            let started = self.ask(&|header| put("POST", &start, header, "")).await;
            assert_eq!(started.status(), 202, "{started:?}");
            let session = place(started.field("Location").unwrap(), self.address()).1;
            let chunk = self.ask(&|header| put("PATCH", &session, header, &bytes)).await;
            assert_eq!(chunk.status(), self.registry.manners().chunk_taken, "{chunk:?}");
            let session = place(chunk.field("Location").unwrap(), self.address()).1;
            let join = if session.contains('?') { '&' } else { '?' };
            let digest = blob.descriptor.digest.to_string();
            let finish = format!("{session}{join}digest={}", percent_encoded(&digest));
            let done = self.ask(&|header| put("PUT", &finish, header, "")).await;
            assert_eq!(done.status(), 201, "{done:?}");
        }
        let manifest = &image.manifests[0];
        let path = format!("/v2/{repository}/manifests/{tag}");
        let bytes = std::str::from_utf8(&manifest.bytes).unwrap();
        let media_type = format!("Content-Type: {}\r\n", manifest.descriptor.media_type);
        let request = |header: &str| put("PUT", &path, &format!("{header}{media_type}"), bytes);
        for _ in 0..self.registry.manners().throttled_manifests {
            assert_eq!(self.ask(&request).await.status(), 429);
        }
        let done = self.ask(&request).await;
        let has_location = self.registry.manners().manifest_location == Presence::Present;
        assert_eq!((done.status(), done.field("Location").is_some()), (201, has_location), "{done:?}");
    }

    async fn mount(&mut self, digest: &Digest, from: &str, to: &str) -> u16 {
        let digest = percent_encoded(&digest.to_string()).into_owned();
        let path = format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}");
        self.ask(&|header| put("POST", &path, header, "")).await.status()
    }

    async fn blob(&mut self, repository: &str, digest: &Digest, fields: &str) -> Answer {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let answer = self.ask(&|header| get(&path, &format!("{header}{fields}"))).await;
        let Some(location) = answer.field("Location") else { return answer };
        assert_eq!(answer.status(), 307);
        let (host, target) = place(location, self.address());
        assert_ne!(host, self.address());
        exchange(host, &get(&target, fields)).await
    }

    async fn pull(&mut self, image: &BuiltImage, repository: &str, tag: &str) {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let manifest = self.ask(&|header| get(&path, header)).await;
        assert_eq!((manifest.status(), &manifest.body), (200, &image.manifests[0].bytes.to_vec()));
        for blob in &image.blobs {
            let answer = self.blob(repository, &blob.descriptor.digest, "").await;
            assert_eq!(answer.status(), 200, "{answer:?}");
            assert_eq!(Digest::sha256(&answer.body), blob.descriptor.digest);
        }
    }
}

/// Of text, so that requests are.
fn image(text: &str) -> BuiltImage {
    ImageBuilder::new().layer(Tree::new().file("file", text.to_owned()).pack(Packing::Tar)).build()
}

async fn start(manners: Manners) -> (Registry, Option<Credentials>) {
    let registry = Registry::start(manners).await.unwrap();
    let credentials = registry.credentials().into_iter().next();
    (registry, credentials)
}

#[tokio::test]
async fn a_client_that_does_what_it_is_told_gets_along_with_each() {
    for manners in mock::ALL {
        let (registry, credentials) = start(manners).await;
        let (image, other) = (image("layer"), image("other"));
        let mut model = Model::new(&registry, credentials);
        model.push(&image, "team/app", "v1").await;
        model.pull(&image, "team/app", "v1").await;
        assert_eq!(registry.violations(), [], "{}", manners.name);
        // Whatever was proven has expired, and is proven again.
        let before = registry.requests();
        registry.expire();
        model.pull(&image, "team/app", "v1").await;
        let refusals: Vec<_> = registry.requests()[before.len()..]
            .iter()
            .map(|asked| asked.status)
            .filter(|status| *status >= 400)
            .collect();
        let expected: &[u16] = match manners.name {
            "ECR" => &[403, 401],
            "ECR Public" => &[400, 401],
            _ if matches!(manners.access, Access::Open) => &[],
            _ => &[401],
        };
        assert_eq!(refusals, expected, "{}", manners.name);
        // A mount of what a manifest names, and of what none does.
        let layer = image.blobs[0].descriptor.digest;
        let loose = other.blobs[0].clone();
        let from: RepositoryName = "team/app".parse().unwrap();
        let lone = BuiltImage { blobs: vec![loose.clone()], manifests: Vec::new(), root: other.root.clone() };
        registry.push(&lone, "team/app:none").await.unwrap();
        assert!(registry.behind().catalog().linked(&from, &loose.descriptor.digest).await.unwrap().is_some());
        let mut statuses = Vec::new();
        for digest in [&layer, &loose.descriptor.digest] {
            statuses.push(model.mount(digest, "team/app", "team/new").await);
        }
        let expected = match manners.name {
            "ECR" => [201, 202],
            "mount 401" => [401, 401],
            "mount 403" => [403, 403],
            _ => [201, 201],
        };
        assert_eq!(statuses, expected, "{}", manners.name);
        assert_eq!(registry.violations(), [], "{}", manners.name);
    }
}

/// Docker's `config.json` with one login.
fn docker_config(registry: &Registry, credentials: Option<&Credentials>) -> String {
    let entry = match credentials {
        Some(Credentials::Password { username, password }) => {
            serde_json::json!({ "auth": STANDARD.encode(format!("{username}:{password}")) })
        }
        Some(Credentials::IdentityToken { username, token }) => {
            serde_json::json!({ "auth": STANDARD.encode(format!("{username}:")), "identitytoken": token })
        }
        None => return "{}".to_owned(),
    };
    serde_json::json!({ "auths": { registry.address().to_string(): entry } }).to_string()
}

/// A client that was not made for these registries but for the real ones.
#[tokio::test]
async fn oras_gets_along_with_those_that_it_knows() {
    let Some(oras) = or_skip(Oras::find()) else { return };
    // It takes no realm without a scheme, and has no way around HEAD.
    let unknown = [mock::HARBOR.name, mock::NO_MANIFEST_HEAD.name];
    for manners in mock::ALL.into_iter().filter(|manners| !unknown.contains(&manners.name)) {
        let (registry, credentials) = start(manners).await;
        let config = docker_config(&registry, credentials.as_ref());
        std::fs::write(oras.config().join("config.json"), config).unwrap();
        let image = image("layer");
        registry.push(&image, "team/app:v1").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["team/app:v1", "team/new:v2"].map(|name| registry.image_ref(name));
        let layout = format!("{}:v1", folder.path().display());
        oras.run(&["copy", "--from-plain-http", "--to-oci-layout", &from, &layout]).unwrap();
        oras.run(&["copy", "--from-plain-http", "--to-plain-http", &from, &to]).unwrap();
        let (repository, tag) = ("team/new".parse().unwrap(), Selector::Tag("v2".parse().unwrap()));
        let copied = registry.behind().catalog().resolve(&repository, &tag).await.unwrap();
        assert_eq!(copied.digest(), image.root.digest, "{}", manners.name);
        assert_eq!(registry.violations(), [], "{}", manners.name);
    }
}

#[tokio::test]
async fn every_login_is_taken_and_a_wrong_one_is_not() {
    for manners in mock::ALL {
        let (registry, _) = start(manners).await;
        registry.push(&image("layer"), "team/app:v1").await.unwrap();
        let Access::Bearer(_) = manners.access else { continue };
        let base = exchange(registry.address(), &get("/v2/team/app/tags/list", "")).await;
        let Challenge::Bearer(bearer) =
            challenges(base.field("WWW-Authenticate").unwrap()).unwrap().remove(0)
        else {
            panic!("{base:?}");
        };
        for credentials in registry.credentials() {
            assert!(
                Model::new(&registry, Some(credentials)).token(&bearer).await.is_some(),
                "{}",
                manners.name
            );
        }
        let wrong = Credentials::Password { username: "user".to_owned(), password: "wrong".to_owned() };
        assert_eq!(Model::new(&registry, Some(wrong)).token(&bearer).await, None, "{}", manners.name);
        let nobody = Model::new(&registry, None).token(&bearer).await;
        let expected = !matches!(manners.name, "ACR" | "GAR");
        assert_eq!(nobody.is_some(), expected, "{}", manners.name);
        assert_eq!(registry.violations(), [], "{}", manners.name);
    }
}

#[tokio::test]
async fn challenges_are_as_the_real_ones_are() {
    for (manners, starts, ends) in [
        (
            mock::DOCKER_HUB,
            "Bearer realm=\"http://",
            ",service=\"registry.docker.io\",scope=\"repository:a:pull\"",
        ),
        (mock::NVCR, "Bearer realm=\"http://", "/proxy_auth\",scope=\"repository:a:pull\""),
        (
            mock::HARBOR,
            "Bearer realm=\"/service/token\"",
            ",service=\"harbor-registry\",scope=\"repository:a:pull\"",
        ),
        (mock::ECR, "Basic realm=\"http://", "/\",service=\"ecr.amazonaws.com\""),
        (
            mock::SEVERAL_SCOPES,
            "Bearer realm=\"http://",
            ",scope=\"repository:a:pull repository:shared/base:pull\"",
        ),
    ] {
        let (registry, _) = start(manners).await;
        let answer = exchange(registry.address(), &get("/v2/a/manifests/v1", "")).await;
        let challenge = answer.field("WWW-Authenticate").unwrap();
        assert!(challenge.starts_with(starts) && challenge.ends_with(ends), "{challenge}");
        let is_elsewhere = !challenge.contains(&registry.address().to_string());
        assert_eq!(is_elsewhere, ["Docker Hub", "Harbor", "several scopes"].contains(&manners.name));
    }
}

#[tokio::test]
async fn oddities_are_there() {
    for manners in mock::ALL {
        let (registry, credentials) = start(manners).await;
        let image = image("layer");
        registry.push(&image, "a:v1").await.unwrap();
        let mut model = Model::new(&registry, credentials);
        let head = model.ask(&|header| get("/v2/a/manifests/v1", header).replace("GET", "HEAD")).await;
        let expected = if manners.manifest_head == Presence::Present { 200 } else { 405 };
        assert_eq!(head.status(), expected, "{}", manners.name);
        let layer = image.blobs.iter().map(|blob| &blob.descriptor).max_by_key(|blob| blob.size).unwrap();
        let range = model.blob("a", &layer.digest, "Range: bytes=1-3\r\n").await;
        let expected = match manners.ranges {
            Ranges::Served => (206, 3),
            Ranges::Ignored => (200, usize::try_from(layer.size).unwrap()),
            Ranges::Refused => (416, 0),
        };
        assert_eq!((range.status(), range.body.len()), expected, "{}", manners.name);
        let referrers = format!("/v2/a/referrers/{}", layer.digest);
        let referrers = model.ask(&|header| get(&referrers, header)).await;
        assert_eq!(referrers.status(), if manners.name == "GHCR" { 404 } else { 200 }, "{}", manners.name);
        let page = model.ask(&|header| get("/v2/a/tags/list?n=1001", header)).await;
        assert_eq!(page.status() == 200, manners.max_page.is_none(), "{}", manners.name);
    }
}

#[tokio::test]
async fn credentials_that_reach_the_storage_are_refused_and_noted() {
    let (registry, credentials) = start(mock::ECR).await;
    let image = image("layer");
    registry.push(&image, "a:v1").await.unwrap();
    let mut model = Model::new(&registry, credentials);
    let path = format!("/v2/a/blobs/{}", image.blobs[0].descriptor.digest);
    let answer = model.ask(&|header| get(&path, header)).await;
    let (host, target) = place(answer.field("Location").unwrap(), registry.address());
    let refused = exchange(host, &get(&target, &model.header)).await;
    assert_eq!(refused.status(), 400);
    assert!(String::from_utf8_lossy(&refused.body).contains("Only one auth mechanism allowed"));
    assert_eq!(registry.violations(), [Violation::CredentialsToStorage]);
    assert_eq!(exchange(host, &get(&target, "")).await.status(), 200);
    registry.expire_urls();
    assert_eq!(exchange(host, &get(&target, "")).await.status(), 403);
    assert_eq!(registry.count(Place::Storage), 3);
}

#[tokio::test]
async fn what_none_should_do_is_noted() {
    let bearer = "Authorization: Bearer made-up\r\n";
    let basic = "Authorization: Basic QTpC\r\n";
    for (manners, path, fields, expected) in [
        (mock::PLAIN, "/v2/", basic, &[Violation::UnaskedCredentials][..]),
        (mock::NVCR, "/v2/", basic, &[Violation::WrongScheme]),
        (mock::ECR, "/v2/", bearer, &[Violation::WrongScheme]),
        (mock::GHCR, "/v2/", bearer, &[Violation::StrangeToken]),
        (mock::GHCR, "/token?service=ghcr.io", bearer, &[Violation::TokenToTokenServer]),
        (mock::GHCR, "/token?service=other", "", &[Violation::WrongService]),
        (mock::NVCR, "/proxy_auth?service=made-up", "", &[Violation::WrongService]),
    ] {
        let (registry, _) = start(manners).await;
        exchange(registry.address(), &get(path, fields)).await;
        assert_eq!(registry.violations(), expected, "{path} {fields}");
    }
    let (registry, _) = start(mock::GHCR).await;
    exchange(registry.address(), &get("/v2/a/manifests/v1", "")).await;
    exchange(registry.address(), &get("/token?service=ghcr.io", "")).await;
    assert_eq!(registry.violations(), [Violation::NoScope]);
    let (registry, _) = start(mock::ACR).await;
    let form = "service=registry.example&grant_type=refresh_token";
    exchange(registry.address(), &put("POST", "/oauth2/token", "", form)).await;
    assert_eq!(registry.violations(), [Violation::NoClientId]);
}

#[tokio::test]
async fn a_location_that_was_replaced_is_lost() {
    for manners in [mock::DOCKER_HUB, mock::GAR] {
        let (registry, credentials) = start(manners).await;
        let mut model = Model::new(&registry, credentials);
        let started = model.ask(&|header| put("POST", "/v2/a/blobs/uploads/", header, "")).await;
        let session = place(started.field("Location").unwrap(), registry.address()).1;
        assert_eq!(
            model.ask(&|header| put("PATCH", &session, header, "x")).await.status(),
            manners.chunk_taken
        );
        assert_eq!(registry.violations(), []);
        assert_eq!(model.ask(&|header| put("PATCH", &session, header, "x")).await.status(), 404);
        assert_eq!(registry.violations(), [Violation::LostLocation], "{}", manners.name);
    }
}

#[tokio::test]
async fn a_huge_blob_is_what_it_says() {
    let huge = HugeBlob::start(3_000_000).await.unwrap();
    assert_eq!(huge.layer(), Digest::sha256(&vec![0; 3_000_000]));
    let manifest = exchange(huge.address(), &get("/v2/huge/manifests/latest", "")).await;
    assert_eq!(Digest::sha256(&manifest.body), huge.digest());
    let blob = format!("/v2/huge/blobs/{}", huge.layer());
    let whole = exchange(huge.address(), &get(&blob, "")).await;
    assert_eq!((whole.status(), Digest::sha256(&whole.body)), (200, huge.layer()));
    let range = exchange(huge.address(), &get(&blob, "Range: bytes=2999990-\r\n")).await;
    assert_eq!((range.status(), range.body.len()), (206, 10));
    assert_eq!(range.field("Content-Range"), Some("bytes 2999990-2999999/3000000"));
    let head = exchange(huge.address(), &get(&blob, "").replace("GET", "HEAD")).await;
    assert_eq!((head.length(), head.body.len()), (Some(3_000_000), 0));
    assert_eq!(exchange(huge.address(), &get("/v2/huge/manifests/other", "")).await.status(), 404);
}
