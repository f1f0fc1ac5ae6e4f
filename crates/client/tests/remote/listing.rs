//! Tags, repositories, referrers.

use http::StatusCode;
use pier_client::{Client, Remote};
use pier_content::{Completeness, Source as _, Target as _};
use pier_oci::{Manifest, Reference, Registry, Repository, Selector, Tag};
use pier_testkit::{
    faults::{Canned, Fault, FaultyProxy, Kind, RetryAfter, Script, When},
    image::{ImageBuilder, Layer},
    mock,
};

use crate::support::{image, registry, remote, repository};

#[tokio::test]
async fn all_pages_of_a_list_are_read() {
    let registry = registry().await;
    let image = ImageBuilder::new().build();
    let expected: Vec<Tag> = (0..2345).map(|number| format!("t{number:04}").parse().unwrap()).collect();
    for tag in &expected {
        registry.push(&image, &format!("team/app:{tag}")).await.unwrap();
    }
    let remote = remote(&registry);
    assert_eq!(remote.tags(&repository(&registry, "team/app")).await.unwrap(), expected);
    assert_eq!(remote.repositories().await.unwrap(), ["team/app".parse().unwrap()]);
}

#[tokio::test]
async fn referrers_are_listed_and_filtered() {
    let registry = registry().await;
    let subject = image(1);
    registry.push(&subject, "team/app:v1").await.unwrap();
    let signature = |kind: &str, seed| {
        ImageBuilder::new().layer(Layer::random(seed, 10)).subject(&subject.root).artifact_type(kind).build()
    };
    let (one, other) = (signature("application/vnd.one", 1), signature("application/vnd.other", 2));
    registry.push(&one, "team/app:one").await.unwrap();
    registry.push(&other, "team/app:other").await.unwrap();
    let (remote, repository) = (remote(&registry), repository(&registry, "team/app"));
    let mut all: Vec<_> = remote
        .referrers(&repository, &subject.root.digest)
        .await
        .unwrap()
        .iter()
        .map(|found| found.digest)
        .collect();
    all.sort();
    let mut expected = vec![one.root.digest, other.root.digest];
    expected.sort();
    assert_eq!(all, expected);
    let some =
        remote.list_referrers(&repository, &subject.root.digest, Some("application/vnd.one")).await.unwrap();
    assert_eq!(some.iter().map(|found| found.digest).collect::<Vec<_>>(), [one.root.digest]);
    assert!(remote.referrers(&repository, &one.root.digest).await.unwrap().is_empty());
}

fn through(proxy: &FaultyProxy) -> (Remote, Repository) {
    let reference: Reference = proxy.image_ref("team/app").parse().unwrap();
    let remote = Client::builder().build().unwrap().remote(&reference.repository.registry).unwrap();
    (remote, reference.repository)
}

fn referrers() -> When {
    When::get(Kind::Referrers)
}

fn json(body: &str) -> Canned {
    let canned = Canned::new(StatusCode::OK).field("Content-Type", "application/vnd.oci.image.index.v1+json");
    Canned { body: body.to_owned(), ..canned }
}

/// Whoever looks for signatures and is told that there are none goes on.
#[tokio::test]
async fn only_a_registry_that_says_so_has_no_referrers() {
    let registry = registry().await;
    let subject = image(1);
    registry.push(&subject, "team/app:v1").await.unwrap();
    let page = FaultyProxy::start(
        registry.address(),
        Script::new().answer(When::any(), Canned::html(StatusCode::OK)),
    )
    .await
    .unwrap();
    let circle = json(r#"{"schemaVersion":2,"manifests":[]}"#).field("Link", "<?last=a>; rel=\"next\"");
    let status = |status| Script::new().answer(referrers(), Canned::new(status));
    for (script, expected) in [
        (status(StatusCode::NOT_FOUND), None),
        (status(StatusCode::METHOD_NOT_ALLOWED), None),
        (status(StatusCode::BAD_REQUEST), None),
        (Script::new().rule(referrers(), Fault::RedirectTo(page.url())), None),
        (Script::new().answer(referrers(), json("{")), Some("invalid")),
        (Script::new().answer(referrers(), json("[]")), Some("invalid")),
        (Script::new().answer(referrers(), Canned::html(StatusCode::OK)), Some("invalid")),
        (Script::new().answer(referrers(), circle), Some("invalid")),
        (Script::new().answer(referrers(), Canned::error(StatusCode::BAD_REQUEST, "DENIED")), Some("denied")),
        (status(StatusCode::FORBIDDEN), Some("denied")),
        (status(StatusCode::INTERNAL_SERVER_ERROR), Some("unavailable")),
        (
            Script::new().answer(referrers(), Canned::too_many_requests(RetryAfter::Seconds(9))),
            Some("too-many-requests"),
        ),
        (Script::new().rule(referrers(), Fault::CutBefore), Some("unavailable")),
    ] {
        let proxy = FaultyProxy::start(registry.address(), script.clone()).await.unwrap();
        let (remote, repository) = through(&proxy);
        let listed = remote.referrers(&repository, &subject.root.digest).await;
        let found = listed.as_ref().map_or_else(|error| Some(error.code()), |_| None);
        assert_eq!(found, expected, "{script:?}: {listed:?}");
    }
}

fn tags() -> When {
    When::get(Kind::Tags)
}

fn tags_with(next: &str) -> Canned {
    json(r#"{"name":"team/app","tags":["a"]}"#).field("Link", format!("<{next}>; rel=\"next\""))
}

#[tokio::test]
async fn a_list_that_goes_round_in_a_circle_is_left() {
    let registry = registry().await;
    let turn = |number, next| (tags().skip(number).once(), tags_with(next));
    let turns = [turn(0, "?last=a"), turn(1, "?last=b"), turn(2, "?last=c"), turn(3, "?last=a")];
    let script = turns.into_iter().fold(Script::new(), |script, (when, answer)| script.answer(when, answer));
    let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
    let (remote, repository) = through(&proxy);
    let error = remote.tags(&repository).await.unwrap_err();
    assert!(error.to_string().ends_with("the list goes round in a circle"), "{error}");
    assert_eq!(proxy.requests().len(), 4);
}

#[tokio::test]
async fn s8_a_list_is_read_as_far_as_anybody_could_want() {
    let registry = registry().await;
    let blanks = |mib: usize| " ".repeat(mib << 20);
    let page = |number: u64| {
        let canned = tags_with(&format!("?last={number}"));
        (tags().skip(number).once(), Canned { body: canned.body + &blanks(15), ..canned })
    };
    let many = (0..12).map(page).fold(Script::new(), |script, (when, answer)| script.answer(when, answer));
    let long = Script::new().answer(tags(), Canned { body: blanks(17), ..json("") });
    for (script, expected, pages) in [
        (many, "the list has more than 134217728 bytes", 9),
        (long, "a page of the list has more than 16777216 bytes", 1),
    ] {
        let proxy = FaultyProxy::start(registry.address(), script).await.unwrap();
        let (remote, repository) = through(&proxy);
        let error = remote.tags(&repository).await.unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
        assert_eq!(proxy.requests().len(), pages);
    }
}

#[tokio::test]
async fn s1_s3_the_next_page_of_a_list_is_where_the_list_is() {
    let (registry, other) = (registry().await, registry().await);
    let proxy = FaultyProxy::start(registry.address(), Script::new()).await.unwrap();
    let (remote, repository) = through(&proxy);
    for next in [
        format!("{}/v2/team/app/tags/list", other.url()),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        format!("http://localhost:{}/v2/team/app/tags/list", proxy.address().port()),
        "ftp://example.org/".to_owned(),
    ] {
        let value = format!("<{next}>; rel=\"next\"");
        registry.push(&image(1), "team/app:v1").await.unwrap();
        proxy.set_script(Script::new().rule(tags(), Fault::Field { name: "link", value }));
        let error = remote.tags(&repository).await.unwrap_err();
        assert_eq!(error.code(), "untrusted", "{next}: {error:?}");
    }
}

/// The tag may be somebody's who has nothing to do with referrers.
#[tokio::test]
async fn an_image_under_the_tag_of_referrers_is_not_replaced() {
    let registry = mock::Registry::start(mock::Manners { referrers: mock::Presence::Absent, ..mock::PLAIN })
        .await
        .unwrap();
    let (subject, squatter) = (image(1), image(2));
    let tag = subject.root.digest.to_string().replace(':', "-");
    registry.push(&subject, "team/app:v1").await.unwrap();
    registry.push(&squatter, &format!("team/app:{tag}")).await.unwrap();
    let signature = ImageBuilder::new().subject(&subject.root).artifact_type("application/vnd.one").build();
    let name: Registry = registry.address().to_string().parse().unwrap();
    let remote = Client::builder().build().unwrap().remote(&name).unwrap();
    let repository = Repository { registry: name, name: "team/app".parse().unwrap() };
    let manifest: Manifest = signature.manifests[0].parse().unwrap();
    let error = remote.put_manifest(&repository, &manifest, &[], Completeness::Sparse).await.unwrap_err();
    assert_eq!(error.code(), "invalid", "{error:?}");
    let kept = Selector::Tag(tag.parse().unwrap());
    let kept = remote.manifest(&repository, &kept, 4 << 20).await.unwrap();
    assert_eq!(kept.digest(), squatter.root.digest);
}
