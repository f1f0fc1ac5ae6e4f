//! Challenges and refusals, answered against a token server in memory.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{FutureExt as _, future::join_all};
use http::{Method, Request, Response, header::AUTHORIZATION};
use pier_oci::RepositoryName;
use tokio::sync::Semaphore;

use super::*;
use crate::credentials::{Extent, Found, Secret};

/// A token server in memory: answers what it is told to, and remembers what it was asked.
struct Server {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Asked>>,
    /// Permits of those that may be answered.
    open: Semaphore,
}

type Answer = Result<(u16, String)>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    method: Method,
    url: String,
    authorization: Option<String>,
    body: String,
}

impl Server {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = Mutex::new(answers.into_iter().collect());
        Self { answers, asked: Mutex::default(), open: Semaphore::new(Semaphore::MAX_PERMITS) }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn count(&self) -> usize {
        self.asked().len()
    }

    fn url(&self, place: usize) -> String {
        self.asked()[place].url.clone()
    }
}

#[async_trait]
impl TokenServer for Server {
    async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let authorization = request.headers().get(AUTHORIZATION);
        assert!(authorization.is_none_or(HeaderValue::is_sensitive));
        self.asked.lock().unwrap().push(Asked {
            method: request.method().clone(),
            url: request.uri().to_string(),
            authorization: authorization.map(|header| header.to_str().unwrap().to_owned()),
            body: String::from_utf8(request.body().to_vec()).unwrap(),
        });
        // All who want the same are there before the answer is.
        tokio::task::yield_now().await;
        self.open.acquire().await.unwrap().forget();
        let (status, body) =
            self.answers.lock().unwrap().pop_front().expect("a question more than expected")?;
        Ok(Response::builder().status(status).body(body.into()).unwrap())
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as the lists have it that hold it")]
fn token(text: &str) -> Answer {
    Ok((200, format!(r#"{{"token":"{text}","expires_in":300}}"#)))
}

#[expect(clippy::unnecessary_wraps, reason = "as the lists have it that hold it")]
fn no(status: u16, body: &str) -> Answer {
    Ok((status, body.to_owned()))
}

/// Gives one credential after the other, the last for ever, and counts how often it is asked.
#[derive(Debug)]
struct Known {
    credentials: Mutex<VecDeque<Option<Credential>>>,
    extent: Extent,
    asked: AtomicUsize,
}

impl Known {
    fn new(credentials: impl IntoIterator<Item = Option<Credential>>) -> Arc<Self> {
        let credentials = Mutex::new(credentials.into_iter().collect());
        Arc::new(Self { credentials, extent: Extent::Registry, asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl CredentialSource for Known {
    async fn find(&self, repository: &Repository) -> Result<Found> {
        self.find_registry(&repository.registry).await
    }

    async fn find_registry(&self, _: &Registry) -> Result<Found> {
        tokio::task::yield_now().await;
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut credentials = self.credentials.lock().unwrap();
        let credential =
            if credentials.len() > 1 { credentials.pop_front().unwrap() } else { credentials[0].clone() };
        Ok(Found { credential, place: "`config.json`".to_owned(), extent: self.extent })
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as the lists have it that hold it")]
fn user(name: &str, password: &str) -> Option<Credential> {
    Some(Credential::Basic { username: name.to_owned(), password: Secret::new(password) })
}

fn authenticator(source: &Arc<Known>) -> Authenticator {
    Authenticator::new("r.io".parse().unwrap(), Arc::clone(source) as Arc<dyn CredentialSource>)
}

fn nobody() -> Authenticator {
    authenticator(&Known::new([None]))
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn repository(text: &str) -> Repository {
    Repository { registry: "r.io".parse().unwrap(), name: name(text) }
}

const BEARER: &str = r#"Bearer realm="https://auth.r.io/token",service="r.io",scope="repository:a:pull""#;

/// What a registry says when it refuses.
struct Said {
    status: u16,
    headers: Vec<&'static str>,
    body: &'static str,
}

impl Said {
    fn unauthorized(challenge: &'static str) -> Self {
        Self {
            status: 401,
            headers: vec![challenge],
            body: r#"{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}"#,
        }
    }

    async fn answer(&self, authenticator: &Authenticator, server: &Server, sent: Sent<'_>) -> Result<String> {
        self.answer_for(authenticator, server, sent, "a", Scopes::pull(&name("a"))).await
    }

    async fn answer_for(
        &self,
        authenticator: &Authenticator,
        server: &Server,
        sent: Sent<'_>,
        repo: &str,
        scopes: Scopes,
    ) -> Result<String> {
        let headers =
            self.headers.iter().map(|text| (WWW_AUTHENTICATE, HeaderValue::from_static(text))).collect();
        let url = format!("https://r.io/v2/{repo}/manifests/latest").parse().unwrap();
        let status = StatusCode::from_u16(self.status).unwrap();
        let refusal = Refusal { status, headers: &headers, body: self.body.as_bytes(), url: &url, sent };
        let header = authenticator.answer(&refusal, Some(&repository(repo)), &scopes, server).await?;
        assert!(header.is_sensitive());
        Ok(header.to_str().unwrap().to_owned())
    }
}

fn known(authenticator: &Authenticator, repo: &str, scopes: &Scopes) -> Option<String> {
    let header = authenticator.header(Some(&repository(repo)), scopes)?;
    assert!(header.is_sensitive());
    Some(header.to_str().unwrap().to_owned())
}

#[track_caller]
fn denied(result: Result<String>) -> String {
    match result {
        Err(Error::Denied { origin, reason }) => {
            assert_eq!(origin, "r.io");
            reason
        }
        other => panic!("{other:?}"),
    }
}

fn basic_text(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

#[tokio::test]
async fn nothing_is_known_before_the_first_challenge() {
    let authenticator = authenticator(&Known::new([user("alice", "secret")]));
    assert_eq!(known(&authenticator, "a", &Scopes::pull(&name("a"))), None);
}

#[tokio::test]
async fn a_token_is_fetched_without_credentials_and_known_from_then_on() {
    let (authenticator, server) = (nobody(), Server::new([token("t1")]));
    let header = Said::unauthorized(BEARER).answer(&authenticator, &server, Sent::Nothing).await.unwrap();
    assert_eq!(header, "Bearer t1");
    assert_eq!(
        server.asked(),
        [Asked {
            method: Method::GET,
            url: "https://auth.r.io/token?service=r.io&scope=repository%3Aa%3Apull".to_owned(),
            authorization: None,
            body: String::new(),
        }]
    );
    let pull = Scopes::pull(&name("a"));
    assert_eq!(known(&authenticator, "a", &pull).as_deref(), Some("Bearer t1"));
    assert_eq!(known(&authenticator, "a", &Scopes::none()).as_deref(), Some("Bearer t1"));
    // It allows nothing else.
    assert_eq!(known(&authenticator, "a", &Scopes::push(&name("a"))), None);
    assert_eq!(known(&authenticator, "b", &Scopes::pull(&name("b"))), None);
}

#[tokio::test]
async fn a_password_goes_to_the_token_server_and_not_to_the_registry() {
    let authenticator = authenticator(&Known::new([user("alice", "secret")]));
    let server = Server::new([token("t1")]);
    let header = Said::unauthorized(BEARER).answer(&authenticator, &server, Sent::Nothing).await.unwrap();
    assert_eq!(header, "Bearer t1");
    assert_eq!(server.asked()[0].authorization, Some(basic_text("alice", "secret")));
    assert!(!server.url(0).contains("alice"), "names stay out of logs");
}

#[tokio::test]
async fn what_the_caller_needs_and_what_the_challenge_names_are_asked_for_together() {
    for (challenge, scopes, expected) in [
        (BEARER, Scopes::push(&name("a")), "service=r.io&scope=repository%3Aa%3Apull%2Cpush"),
        (
            BEARER,
            Scopes::mount(&name("a"), &name("team/b")),
            "service=r.io&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ateam%2Fb%3Apull",
        ),
        (
            r#"Bearer realm="https://auth.r.io/token",service="r.io",scope="repository:a:delete registry:catalog:*""#,
            Scopes::pull(&name("a")),
            "service=r.io&scope=registry%3Acatalog%3A*&scope=repository%3Aa%3Adelete%2Cpull",
        ),
        (r#"Bearer realm="https://auth.r.io/token",service="r.io""#, Scopes::none(), "service=r.io"),
    ] {
        let (authenticator, server) = (nobody(), Server::new([token("t")]));
        let said = Said::unauthorized(challenge);
        said.answer_for(&authenticator, &server, Sent::Nothing, "a", scopes.clone()).await.unwrap();
        assert_eq!(server.url(0), format!("https://auth.r.io/token?{expected}"));
        assert_eq!(known(&authenticator, "a", &scopes).as_deref(), Some("Bearer t"));
    }
}

#[tokio::test]
async fn realms_of_every_kind_lead_to_the_token_server() {
    for (challenge, expected) in [
        // NVIDIA's has no service.
        (
            r#"Bearer realm="https://nvcr.io/proxy_auth",scope="repository:a:pull""#,
            "https://nvcr.io/proxy_auth?scope=repository%3Aa%3Apull",
        ),
        (r#"Bearer realm="/token",service=s"#, "https://r.io/token?service=s&scope=repository%3Aa%3Apull"),
        (r#"Bearer realm="//auth.r.io/token""#, "https://auth.r.io/token?scope=repository%3Aa%3Apull"),
        (r#"Bearer realm="https://r.io/jwt?x=1#y""#, "https://r.io/jwt?x=1&scope=repository%3Aa%3Apull"),
        (
            r#"Bearer realm="https://[2001:db8::1]:5001/token""#,
            "https://[2001:db8::1]:5001/token?scope=repository%3Aa%3Apull",
        ),
        (r#"Basic realm=b, Bearer realm="https://r.io/t""#, "https://r.io/t?scope=repository%3Aa%3Apull"),
    ] {
        let (authenticator, server) = (nobody(), Server::new([token("t")]));
        let header = Said::unauthorized(challenge).answer(&authenticator, &server, Sent::Nothing).await;
        assert_eq!(header.unwrap(), "Bearer t", "{challenge}");
        assert_eq!(server.url(0), expected);
    }
}

#[tokio::test]
async fn challenges_of_several_headers_are_one_list() {
    let said = Said { status: 401, headers: vec!["Negotiate", "Basic realm=b", BEARER], body: "" };
    let (authenticator, server) = (nobody(), Server::new([token("t")]));
    assert_eq!(said.answer(&authenticator, &server, Sent::Nothing).await.unwrap(), "Bearer t");
    // One that cannot be read does not hide the others.
    let said = Said { status: 401, headers: vec!["Basic realm=\"", "Basic realm=b"], body: "" };
    let authenticator = self::authenticator(&Known::new([user("alice", "secret")]));
    let header = said.answer(&authenticator, &server, Sent::Nothing).await.unwrap();
    assert_eq!(header, basic_text("alice", "secret"));
}

#[tokio::test]
async fn challenges_that_lead_nowhere_are_refusals() {
    for (headers, expected) in [
        (vec![], "it wants authentication and does not say how"),
        (vec!["Negotiate"], "it wants authentication in a way that is not known here: `Negotiate`"),
        (
            vec!["Basic realm=\"x"],
            "its challenge cannot be understood: `Basic realm=\"x` is not a list of authentication challenges",
        ),
    ] {
        let said = Said { status: 401, headers, body: "" };
        let result = said.answer(&nobody(), &Server::new([]), Sent::Nothing).await;
        assert_eq!(denied(result), expected);
    }
}

#[tokio::test]
async fn s3_a_realm_that_is_no_place_of_the_web_is_not_asked() {
    for challenge in [
        "Bearer realm=\"https://\"",
        "Bearer realm=\"file:///etc/passwd\"",
        "Bearer realm=\"data:,x\"",
        "Bearer realm=\"http://[::1\"",
    ] {
        let said = Said::unauthorized(challenge);
        let error = said.answer(&nobody(), &Server::new([]), Sent::Nothing).await.unwrap_err();
        assert!(matches!(error, Error::Untrusted { .. }), "{challenge}: {error:?}");
        assert_eq!(
            error.to_string(),
            "r.io is not to be trusted: its challenge leads to no place that could give a token"
        );
    }
}

#[tokio::test]
async fn basic_is_learned_once_for_the_whole_registry() {
    let source = Known::new([user("alice", "s:ecret")]);
    let authenticator = authenticator(&source);
    let server = Server::new([]);
    let expected = basic_text("alice", "s:ecret");
    let header =
        Said::unauthorized("Basic realm=r").answer(&authenticator, &server, Sent::Nothing).await.unwrap();
    assert_eq!(header, expected);
    assert_eq!(known(&authenticator, "a", &Scopes::pull(&name("a"))), Some(expected.clone()));
    assert_eq!(known(&authenticator, "other", &Scopes::push(&name("other"))), Some(expected.clone()));
    assert_eq!(authenticator.header(None, &Scopes::catalog()).unwrap(), expected);
    assert_eq!(source.asked(), 1);
}

#[tokio::test]
async fn credentials_of_one_repository_are_not_shown_for_another() {
    let source = Arc::new(Known {
        credentials: Mutex::new([user("alice", "secret"), user("bob", "secret")].into()),
        extent: Extent::Repository,
        asked: AtomicUsize::new(0),
    });
    let authenticator = authenticator(&source);
    let server = Server::new([]);
    let said = Said::unauthorized("Basic realm=r");
    let (pull_a, pull_b) = (Scopes::pull(&name("a")), Scopes::pull(&name("b")));
    let header = said.answer_for(&authenticator, &server, Sent::Nothing, "a", pull_a.clone()).await.unwrap();
    assert_eq!(header, basic_text("alice", "secret"));
    assert_eq!(known(&authenticator, "b", &pull_b), None);
    let header = said.answer_for(&authenticator, &server, Sent::Nothing, "b", pull_b.clone()).await.unwrap();
    assert_eq!(header, basic_text("bob", "secret"));
    assert_eq!(known(&authenticator, "a", &pull_a), Some(basic_text("alice", "secret")));
    assert_eq!(known(&authenticator, "b", &pull_b), Some(basic_text("bob", "secret")));
}

#[tokio::test]
async fn a_registry_token_is_sent_as_it_is() {
    let source = Known::new([Some(Credential::RegistryToken(Secret::new("given")))]);
    let (authenticator, server) = (authenticator(&source), Server::new([]));
    let header = Said::unauthorized(BEARER).answer(&authenticator, &server, Sent::Nothing).await.unwrap();
    assert_eq!(header, "Bearer given");
    assert_eq!(known(&authenticator, "z", &Scopes::pull(&name("z"))).as_deref(), Some("Bearer given"));
    // It is no password.
    let result = Said::unauthorized("Basic realm=r").answer(&authenticator, &server, Sent::Nothing).await;
    assert_eq!(
        denied(result),
        "the token from `config.json` does not do for `repository:a:pull`: UNAUTHORIZED: log in"
    );
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_oauth2() {
    let credential =
        Credential::IdentityToken { username: "<token>".to_owned(), token: Secret::new("re/fresh") };
    let authenticator = authenticator(&Known::new([Some(credential)]));
    let server = Server::new([Ok((200, r#"{"access_token":"t1"}"#.to_owned()))]);
    let header = Said::unauthorized(BEARER).answer(&authenticator, &server, Sent::Nothing).await.unwrap();
    assert_eq!(header, "Bearer t1");
    assert_eq!(
        server.asked(),
        [Asked {
            method: Method::POST,
            url: "https://auth.r.io/token".to_owned(),
            authorization: None,
            body: "grant_type=refresh_token&refresh_token=re%2Ffresh&client_id=pier&service=r.io\
                   &scope=repository%3Aa%3Apull"
                .to_owned(),
        }]
    );
}

#[tokio::test]
async fn the_other_form_is_tried_where_a_token_server_does_not_know_the_first() {
    for status in [404, 405] {
        let identity =
            Credential::IdentityToken { username: "alice".to_owned(), token: Secret::new("refresh") };
        let authenticator = authenticator(&Known::new([Some(identity)]));
        let server = Server::new([no(status, ""), token("t1")]);
        let header = Said::unauthorized(BEARER).answer(&authenticator, &server, Sent::Nothing).await.unwrap();
        assert_eq!(header, "Bearer t1");
        assert_eq!(server.asked()[1].method, Method::GET);
        assert_eq!(server.asked()[1].authorization, Some(basic_text("alice", "refresh")));

        let authenticator = self::authenticator(&Known::new([user("alice", "s&cret")]));
        let server = Server::new([no(status, ""), token("t2")]);
        let header = Said::unauthorized(BEARER).answer(&authenticator, &server, Sent::Nothing).await.unwrap();
        assert_eq!(header, "Bearer t2");
        assert_eq!(server.asked()[1].method, Method::POST);
        assert_eq!(
            server.asked()[1].body,
            "grant_type=password&username=alice&password=s%26cret&client_id=pier&service=r.io\
             &scope=repository%3Aa%3Apull"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_known_until_shortly_before_its_end() {
    let (authenticator, server) = (nobody(), Server::new([token("t1"), token("t2")]));
    let said = Said::unauthorized(BEARER);
    said.answer(&authenticator, &server, Sent::Nothing).await.unwrap();
    let pull = Scopes::pull(&name("a"));
    tokio::time::advance(Duration::from_secs(269)).await;
    assert_eq!(known(&authenticator, "a", &pull).as_deref(), Some("Bearer t1"));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(known(&authenticator, "a", &pull), None);
    assert_eq!(said.answer(&authenticator, &server, Sent::Nothing).await.unwrap(), "Bearer t2");
}

#[tokio::test]
async fn a_hundred_requests_at_once_fetch_one_token() {
    let source = Known::new([user("alice", "secret")]);
    let (authenticator, server) = (authenticator(&source), Server::new([token("t1")]));
    let said = Said::unauthorized(BEARER);
    let all = join_all((0..100).map(|_| said.answer(&authenticator, &server, Sent::Nothing))).await;
    assert!(all.into_iter().all(|header| header.unwrap() == "Bearer t1"));
    assert_eq!((server.count(), source.asked()), (1, 1));
}

#[tokio::test]
async fn a_hundred_refused_tokens_are_replaced_by_one() {
    let (authenticator, server) = (nobody(), Server::new([token("t1"), token("t2")]));
    let said = Said::unauthorized(BEARER);
    said.answer(&authenticator, &server, Sent::Nothing).await.unwrap();
    let sent = authenticator.header(Some(&repository("a")), &Scopes::pull(&name("a"))).unwrap();
    let all = join_all((0..100).map(|_| said.answer(&authenticator, &server, Sent::Known(&sent)))).await;
    assert!(all.into_iter().all(|header| header.unwrap() == "Bearer t2"));
    assert_eq!(server.count(), 2);
    // One that comes late is told of the new one, too.
    assert_eq!(said.answer(&authenticator, &server, Sent::Known(&sent)).await.unwrap(), "Bearer t2");
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_cancelled_fetch_is_taken_over() {
    let mut server = Server::new([token("t1")]);
    server.open = Semaphore::new(0);
    let (authenticator, said) = (nobody(), Said::unauthorized(BEARER));
    let mut first = Box::pin(said.answer(&authenticator, &server, Sent::Nothing));
    let mut second = Box::pin(said.answer(&authenticator, &server, Sent::Nothing));
    while server.count() < 1 {
        assert!((&mut first).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert!((&mut second).now_or_never().is_none());
    assert_eq!(server.count(), 1, "the second one waits for the first");
    drop(first);
    server.open.add_permits(1);
    assert_eq!(second.await.unwrap(), "Bearer t1");
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_failed_fetch_is_shared_by_those_who_waited_and_forgotten() {
    let down = || Error::Unavailable {
        origin: "auth".to_owned(),
        operation: "ask",
        retry_after: None,
        source: None,
    };
    let (authenticator, server) = (nobody(), Server::new([Err(down()), token("t1")]));
    let said = Said::unauthorized(BEARER);
    let all = join_all((0..100).map(|_| said.answer(&authenticator, &server, Sent::Nothing))).await;
    assert!(all.iter().all(|result| matches!(result, Err(Error::Unavailable { .. }))), "{all:?}");
    assert_eq!(server.count(), 1);
    assert_eq!(said.answer(&authenticator, &server, Sent::Nothing).await.unwrap(), "Bearer t1");
}

#[tokio::test]
async fn expired_tokens_are_replaced_in_every_way_that_registries_say_it() {
    for said in [
        Said {
            status: 401,
            headers: vec![r#"Bearer realm="https://auth.r.io/token",service="r.io",error="invalid_token""#],
            body: "",
        },
        // Amazon's ECR.
        Said {
            status: 403,
            headers: vec![],
            body: r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#,
        },
        // Its public one.
        Said {
            status: 400,
            headers: vec![],
            body: r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}"#,
        },
    ] {
        let (authenticator, server) = (nobody(), Server::new([token("t1"), token("t2")]));
        Said::unauthorized(BEARER).answer(&authenticator, &server, Sent::Nothing).await.unwrap();
        let pull = Scopes::pull(&name("a"));
        let sent = authenticator.header(Some(&repository("a")), &pull).unwrap();
        assert_eq!(said.answer(&authenticator, &server, Sent::Known(&sent)).await.unwrap(), "Bearer t2");
        assert_eq!(known(&authenticator, "a", &pull).as_deref(), Some("Bearer t2"));
    }
}

#[tokio::test]
async fn an_expired_password_of_a_helper_is_replaced_by_its_next() {
    let source = Known::new([user("AWS", "old-password"), user("AWS", "new-password")]);
    let (authenticator, server) = (authenticator(&source), Server::new([]));
    let header =
        Said::unauthorized("Basic realm=r").answer(&authenticator, &server, Sent::Nothing).await.unwrap();
    assert_eq!(header, basic_text("AWS", "old-password"));
    let sent = HeaderValue::from_str(&header).unwrap();
    let expired = Said { status: 403, headers: vec![], body: r#"{"errors":[{"code":"DENIED"}]}"# };
    let all = join_all((0..10).map(|_| expired.answer(&authenticator, &server, Sent::Known(&sent)))).await;
    assert!(all.into_iter().all(|header| header.unwrap() == basic_text("AWS", "new-password")));
    assert_eq!(source.asked(), 2);
    assert_eq!(known(&authenticator, "b", &Scopes::none()), Some(basic_text("AWS", "new-password")));
}

#[tokio::test]
async fn credentials_that_a_token_server_refuses_are_looked_up_once_more() {
    let source = Known::new([user("alice", "old-password"), user("alice", "new-password")]);
    let (authenticator, server) = (authenticator(&source), Server::new([no(401, ""), token("t1")]));
    let header = Said::unauthorized(BEARER).answer(&authenticator, &server, Sent::Nothing).await.unwrap();
    assert_eq!(header, "Bearer t1");
    assert_eq!(server.asked()[1].authorization, Some(basic_text("alice", "new-password")));
    assert_eq!(known(&authenticator, "a", &Scopes::pull(&name("a"))).as_deref(), Some("Bearer t1"));
}

#[tokio::test]
async fn a_header_that_was_an_answer_is_not_answered_again() {
    let (authenticator, server) = (nobody(), Server::new([token("t1")]));
    let said = Said::unauthorized(BEARER);
    let header = said.answer(&authenticator, &server, Sent::Nothing).await.unwrap();
    let header = HeaderValue::from_str(&header).unwrap();
    for status in [401, 403, 400] {
        let said =
            Said { status, headers: vec![BEARER], body: r#"{"errors":[{"code":"DENIED","message":"no"}]}"# };
        let reason = denied(said.answer(&authenticator, &server, Sent::Answer(&header)).await);
        assert_eq!(reason, "it wants credentials, and there are none for `repository:a:pull`: DENIED: no");
    }
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_refusal_says_whether_there_were_credentials() {
    let bearer = Said::unauthorized(BEARER);
    let basic = Said::unauthorized("Basic realm=r");
    let refused = || Server::new([no(401, r#"{"details":"incorrect username or password"}"#)]);

    assert_eq!(
        denied(basic.answer(&nobody(), &Server::new([]), Sent::Nothing).await),
        "it wants credentials, and there are none for `repository:a:pull`: UNAUTHORIZED: log in"
    );
    assert_eq!(
        denied(bearer.answer(&nobody(), &refused(), Sent::Nothing).await),
        "it wants credentials, and there are none for `repository:a:pull`: incorrect username or password \
         (401 Unauthorized)"
    );
    let alice = authenticator(&Known::new([user("alice", "secret")]));
    assert_eq!(
        denied(bearer.answer(&alice, &refused(), Sent::Nothing).await),
        "the credentials of `alice` from `config.json` do not do for `repository:a:pull`: \
         incorrect username or password (401 Unauthorized)"
    );
    let sent = HeaderValue::from_str(&basic_text("alice", "secret")).unwrap();
    assert_eq!(
        denied(basic.answer(&alice, &Server::new([]), Sent::Known(&sent)).await),
        "the credentials of `alice` from `config.json` do not do for `repository:a:pull`: UNAUTHORIZED: log in"
    );
    // A 403 without a challenge, asked by nobody.
    let forbidden = Said { status: 403, headers: vec![], body: "<html>" };
    assert_eq!(
        denied(forbidden.answer(&alice, &Server::new([]), Sent::Nothing).await),
        "a request without credentials for `repository:a:pull`: 403 Forbidden"
    );
}

#[tokio::test]
async fn a_refusal_comes_with_the_command_that_helps() {
    let error = Said::unauthorized("Basic realm=r")
        .answer(&nobody(), &Server::new([]), Sent::Nothing)
        .await
        .unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("log in with `pier login r.io`"));
    assert_eq!(error.code(), "denied");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn s21_secrets_that_a_server_repeats_are_not_passed_on() {
    let body = |secret: &str| format!(r#"{{"message":"bad {secret}"}}"#);
    let encoded = STANDARD.encode("alice:hunter2");
    for repeated in ["hunter2", encoded.as_str()] {
        let alice = authenticator(&Known::new([user("alice", "hunter2")]));
        let server = Server::new([no(401, &body(repeated))]);
        let reason = denied(Said::unauthorized(BEARER).answer(&alice, &server, Sent::Nothing).await);
        assert!(reason.ends_with(": bad … (401 Unauthorized)"), "{reason}");
    }
    let alice = authenticator(&Known::new([user("alice", "hunter2")]));
    let said = Said {
        status: 401,
        headers: vec!["Basic realm=r"],
        body: r#"{"message":"bad hunter2 YWxpY2U6aHVudGVyMg=="}"#,
    };
    let header = HeaderValue::from_str(&basic_text("alice", "hunter2")).unwrap();
    let reason = denied(said.answer(&alice, &Server::new([]), Sent::Known(&header)).await);
    assert!(reason.ends_with(": bad … …"), "{reason}");
    assert!(!format!("{alice:?}").contains("hunter2"));
}

#[tokio::test]
async fn s23_refused_credentials_are_not_followed_by_nobodys() {
    let alice = authenticator(&Known::new([user("alice", "secret")]));
    let server = Server::new([no(401, "")]);
    denied(Said::unauthorized(BEARER).answer(&alice, &server, Sent::Nothing).await);
    assert_eq!(server.asked().iter().filter(|asked| asked.authorization.is_none()).count(), 0);
    assert_eq!(known(&alice, "a", &Scopes::none()), None);
}

#[derive(Debug)]
struct Broken;

#[async_trait]
impl CredentialSource for Broken {
    async fn find(&self, _: &Repository) -> Result<Found> {
        Err(Error::Credentials { place: "`x`".to_owned(), reason: "it is not JSON".to_owned() })
    }

    async fn find_registry(&self, _: &Registry) -> Result<Found> {
        unreachable!("a repository is asked about")
    }
}

#[tokio::test]
async fn s23_credentials_that_cannot_be_read_are_an_error_and_not_none() {
    let authenticator = Authenticator::new("r.io".parse().unwrap(), Arc::new(Broken));
    let result = Said::unauthorized(BEARER).answer(&authenticator, &Server::new([]), Sent::Nothing).await;
    assert_eq!(result.unwrap_err().to_string(), "`x`: it is not JSON");
}

#[test]
fn only_what_may_mean_an_expired_token_is_answered() {
    let header = HeaderValue::from_static("Bearer x");
    let url: Url = "https://r.io/v2/".parse().unwrap();
    let (none, challenge) =
        (HeaderMap::new(), HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"))]));
    let denied = r#"{"errors":[{"code":"DENIED"}]}"#;
    for (status, headers, body, sent, expected) in [
        (401, &none, "", Sent::Nothing, true),
        (401, &none, "", Sent::Known(&header), true),
        (401, &challenge, "", Sent::Answer(&header), false),
        (403, &none, "", Sent::Nothing, false),
        (403, &challenge, "", Sent::Nothing, true),
        (403, &none, "", Sent::Known(&header), true),
        (403, &challenge, "", Sent::Answer(&header), false),
        (400, &none, denied, Sent::Known(&header), true),
        (400, &none, denied, Sent::Nothing, false),
        (400, &none, denied, Sent::Answer(&header), false),
        (400, &none, r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#, Sent::Known(&header), false),
        (404, &challenge, denied, Sent::Known(&header), false),
        (500, &challenge, denied, Sent::Known(&header), false),
        (200, &challenge, denied, Sent::Known(&header), false),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let refusal = Refusal { status, headers, body: body.as_bytes(), url: &url, sent };
        assert_eq!(refusal.may_be_answered(), expected, "{refusal:?}");
    }
}
