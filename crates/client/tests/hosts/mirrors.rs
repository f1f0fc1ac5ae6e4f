//! Mirrors are asked first, and the registry has the last word.

use std::net::{Ipv4Addr, TcpListener};

use http::StatusCode;
use pier_client::{
    HostSettings, Hosts, Mirror, Trust,
    credentials::{Anonymous, Credential, Given, Secret},
};
use pier_content::{Error, Progress, Source as _};
use pier_oci::{Digest, Reference};
use pier_testkit::{
    faults::{Canned, Fault, Kind, RetryAfter, Scheme, Script, When},
    mock,
};

use crate::support::{IMAGE, Watched, builder, image, mirrored, pull};

fn by_digest(reference: &Reference, digest: Digest) -> Reference {
    Reference { tag: None, digest: Some(digest), ..reference.clone() }
}

#[tokio::test]
async fn content_comes_from_the_mirror_and_names_from_the_registry() {
    let image = image();
    let (mirror, origin) =
        (Watched::with(&image, Script::new()).await, Watched::with(&image, Script::new()).await);
    let client = mirrored(&origin.name(), vec![mirror.mirror(Trust::Content)]);
    let copied = pull(&client, &origin.reference()).await.unwrap();
    assert_eq!(copied.root.digest, image.root.digest);
    assert_eq!((mirror.served(Kind::Blob), origin.asked(Kind::Blob)), (3, 0));
    assert_eq!(mirror.asked(Kind::Manifest), 0);
    // The registry is named to a mirror that may have several.
    let query = format!("ns={}", origin.name()).replace(':', "%3A");
    assert!(
        mirror.proxy.requests().iter().all(|seen| seen.query.as_ref() == Some(&query)),
        "{:?}",
        mirror.proxy.requests()
    );
    assert!(origin.proxy.requests().iter().all(|seen| seen.query.is_none()));
}

#[tokio::test]
async fn a_mirror_that_is_trusted_with_names_leaves_nothing_to_the_registry() {
    let image = image();
    let (mirror, origin) = (Watched::with(&image, Script::new()).await, Watched::start(Script::new()).await);
    let client = mirrored(&origin.name(), vec![mirror.mirror(Trust::Names)]);
    let copied = pull(&client, &origin.reference()).await.unwrap();
    assert_eq!(copied.root.digest, image.root.digest);
    assert_eq!(origin.proxy.requests().len(), 0);
}

#[tokio::test]
async fn a_mirror_that_is_not_trusted_with_names_still_serves_what_a_digest_names() {
    let image = image();
    let (mirror, origin) = (Watched::with(&image, Script::new()).await, Watched::start(Script::new()).await);
    let client = mirrored(&origin.name(), vec![mirror.mirror(Trust::Content)]);
    let reference = by_digest(&origin.reference(), image.root.digest);
    let source = client.source(&origin.name()).unwrap();
    assert_eq!(source.resolve(&reference).await.unwrap().digest, image.root.digest);
    assert_eq!(pull(&client, &reference).await.unwrap().root.digest, image.root.digest);
    assert_eq!(origin.proxy.requests().len(), 0);
    // Of a digest, too, it is not believed what it says, only what it sends.
    assert!(mirror.proxy.requests().iter().all(|seen| seen.method == http::Method::GET));
    assert_eq!(source.referrers(&reference.repository, &image.root.digest).await.unwrap(), []);
    assert_eq!((mirror.asked(Kind::Referrers), origin.asked(Kind::Referrers)), (0, 1));
}

#[tokio::test]
async fn what_a_mirror_lacks_comes_from_the_next_and_at_last_from_the_registry() {
    let image = image();
    let missing = image.blobs[1].descriptor.digest;
    let lacks = |digest| {
        Script::new().answer(When::any().digest(digest), Canned::error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"))
    };
    let (empty, partial) = (Watched::start(Script::new()).await, Watched::with(&image, lacks(missing)).await);
    let origin = Watched::with(&image, Script::new()).await;
    let client = mirrored(&origin.name(), vec![empty.mirror(Trust::Content), partial.mirror(Trust::Content)]);
    pull(&client, &origin.reference()).await.unwrap();
    assert_eq!((empty.asked(Kind::Blob), empty.served(Kind::Blob)), (3, 0));
    assert_eq!((partial.served(Kind::Blob), origin.served(Kind::Blob)), (2, 1));
}

#[tokio::test]
async fn a_mirror_that_is_down_is_left_alone_for_a_while() {
    let image = image();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let origin = Watched::with(&image, Script::new()).await;
    let down = Mirror {
        url: format!("http://{address}").parse().unwrap(),
        trust: Trust::Names,
        settings: HostSettings::default(),
    };
    let client = mirrored(&origin.name(), vec![down]);
    pull(&client, &origin.reference()).await.unwrap();
    // Somebody listens there now, and is not asked: nobody waits for each layer anew.
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    pull(&client, &origin.reference()).await.unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_mirror_that_wants_a_pause_is_not_waited_for() {
    let image = image();
    let busy = Script::new().answer(When::any(), Canned::too_many_requests(RetryAfter::Seconds(60)));
    let (mirror, origin) = (Watched::with(&image, busy).await, Watched::with(&image, Script::new()).await);
    let client = mirrored(&origin.name(), vec![mirror.mirror(Trust::Content)]);
    let before = std::time::Instant::now();
    pull(&client, &origin.reference()).await.unwrap();
    assert!(before.elapsed().as_secs() < 30);
    assert_eq!((mirror.asked(Kind::Blob), origin.served(Kind::Blob)), (3, 3));
}

#[tokio::test]
async fn wrong_bytes_of_a_mirror_are_thrown_away_and_the_registry_serves() {
    let image = image();
    let lies = Script::new().rule(When::get(Kind::Blob), Fault::Flip { at: 5 });
    let (mirror, origin) = (Watched::with(&image, lies).await, Watched::with(&image, Script::new()).await);
    let client = mirrored(&origin.name(), vec![mirror.mirror(Trust::Content)]);
    let copied = pull(&client, &origin.reference()).await.unwrap();
    assert_eq!(copied.root.digest, image.root.digest);
    assert_eq!(origin.served(Kind::Blob), 3);
}

#[tokio::test]
async fn s4_a_manifest_of_a_mirror_that_is_not_the_one_asked_for_is_not_taken() {
    let image = image();
    let lies = Script::new().rule(When::get(Kind::Manifest), Fault::Flip { at: 20 });
    let (mirror, origin) = (Watched::with(&image, lies).await, Watched::with(&image, Script::new()).await);
    let client = mirrored(&origin.name(), vec![mirror.mirror(Trust::Content)]);
    let reference = by_digest(&origin.reference(), image.root.digest);
    pull(&client, &reference).await.unwrap();
    assert_eq!((mirror.asked(Kind::Manifest), origin.served(Kind::Manifest)), (1, 1));
}

#[tokio::test]
async fn a_half_sent_blob_of_a_mirror_is_finished_by_the_registry() {
    let image = image();
    let layer = image.blobs.iter().map(|blob| &blob.descriptor).max_by_key(|layer| layer.size).unwrap();
    let get = || When::get(Kind::Blob).digest(layer.digest);
    let breaks = Script::new()
        .rule(get().once(), Fault::Truncate { after: 100_000 })
        .answer(get().skip(1), Canned::new(StatusCode::INTERNAL_SERVER_ERROR));
    let (mirror, origin) = (Watched::with(&image, breaks).await, Watched::with(&image, Script::new()).await);
    let client = mirrored(&origin.name(), vec![mirror.mirror(Trust::Content)]);
    pull(&client, &origin.reference()).await.unwrap();
    let from_origin = origin.proxy.downloaded(&layer.digest);
    assert_eq!(from_origin, layer.size - 100_000);
}

#[tokio::test]
async fn a_login_page_in_place_of_a_mirror_decides_nothing() {
    let image = image();
    for answer in [
        Canned::html(StatusCode::OK),
        Canned::html(StatusCode::FORBIDDEN),
        Canned::error(StatusCode::BAD_REQUEST, "NAME_INVALID"),
        Canned::new(StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let page = Script::new().answer(When::any(), answer.clone());
        let (mirror, origin) = (Watched::start(page).await, Watched::with(&image, Script::new()).await);
        let client = mirrored(&origin.name(), vec![mirror.mirror(Trust::Names)]);
        let copied = pull(&client, &origin.reference()).await;
        assert_eq!(copied.unwrap().root.digest, image.root.digest, "{answer:?}");
        // And what the registry says is what the call says.
        let missing = Reference { tag: Some("v9".parse().unwrap()), ..origin.reference() };
        let error = client.source(&origin.name()).unwrap().resolve(&missing).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn a_path_of_a_mirror_stands_before_the_repositorys_name() {
    let image = image();
    let (mirror, origin) = (Watched::start(Script::new()).await, Watched::start(Script::new()).await);
    mirror.registry.push(&image, "hub/team/app:v1").await.unwrap();
    let url = format!("{}/hub", mirror.proxy.url());
    let with_path = Mirror { url: url.parse().unwrap(), ..mirror.mirror(Trust::Names) };
    let client = mirrored(&origin.name(), vec![with_path]);
    pull(&client, &origin.reference()).await.unwrap();
    let paths: Vec<String> = mirror.proxy.requests().into_iter().map(|seen| seen.path).collect();
    assert!(paths.iter().all(|path| path.starts_with("/v2/hub/team/app/")), "{paths:?}");
    assert_eq!(origin.proxy.requests().len(), 0);
}

#[tokio::test]
async fn a_mirror_is_never_pushed_to() {
    let image = image();
    let (mirror, origin) = (Watched::with(&image, Script::new()).await, Watched::start(Script::new()).await);
    let client = mirrored(&origin.name(), vec![mirror.mirror(Trust::Names)]);
    let target = client.target(&origin.name()).unwrap();
    let other = Watched::with(&image, Script::new()).await;
    let (source, from, to) = (client.remote(&other.name()).unwrap(), other.reference(), origin.reference());
    let tags = [to.tag.clone().unwrap()];
    let options = pier_content::CopyOptions::default();
    pier_content::copy(&source, &from, &*target, &to.repository, &tags, &options, &Progress::default())
        .await
        .unwrap();
    assert_eq!(mirror.proxy.requests().len(), 0);
    assert_eq!(client.remote(&origin.name()).unwrap().resolve(&to).await.unwrap().digest, image.root.digest);
}

#[tokio::test]
async fn s1_a_mirror_is_told_who_we_are_there_and_not_who_we_are_at_the_registry() {
    let image = image();
    let mirror = mock::Registry::start(mock::ECR).await.unwrap();
    let origin = Watched::with(&image, Script::new()).await;
    mirror.push(&image, IMAGE).await.unwrap();
    let watched = pier_testkit::faults::FaultyProxy::start(mirror.address(), Script::new()).await.unwrap();
    let at_mirror = || Mirror {
        url: watched.url().parse().unwrap(),
        trust: Trust::Content,
        settings: HostSettings::default(),
    };
    let hosts = || Hosts {
        named: vec![(
            origin.name().into(),
            HostSettings { mirrors: Some(vec![at_mirror()]), ..HostSettings::default() },
        )],
        ..Hosts::default()
    };
    let known = |registry, username: &str, password: &str| Given {
        registry,
        credential: Credential::Basic {
            username: username.to_owned(),
            password: Secret::new(password.to_owned()),
        },
        others: std::sync::Arc::new(Anonymous),
    };
    // The registry's password is not shown to the mirror, which then refuses.
    let of_registry = known(origin.name(), "me", "hunter2");
    let client = builder().hosts(hosts()).credentials(std::sync::Arc::new(of_registry)).build().unwrap();
    pull(&client, &origin.reference()).await.unwrap();
    assert!(!watched.requests().is_empty());
    assert!(watched.requests().iter().all(|seen| seen.authorization.is_none()));
    assert_eq!(origin.served(Kind::Blob), 3);
    // The mirror's own is.
    let [mock::Credentials::Password { username, password }] = &mirror.credentials()[..] else { panic!() };
    let name = watched.address().to_string().parse().unwrap();
    let of_mirror = known(name, username, password);
    let client = builder().hosts(hosts()).credentials(std::sync::Arc::new(of_mirror)).build().unwrap();
    pull(&client, &origin.reference()).await.unwrap();
    assert!(watched.requests().iter().any(|seen| seen.authorization == Some(Scheme::Basic)));
    assert_eq!(origin.served(Kind::Blob), 3, "the mirror served the second time");
    assert!(origin.proxy.requests().iter().all(|seen| seen.authorization.is_none()));
}
