//! Whom a client trusts, and to whom it shows its certificate.

use std::sync::Arc;

use http::Method;
use pier_client::{Authorities, ClientIdentity, HostSettings, Verification};
use pier_content::{Error, Memory, Origin, Progress, Source as _, StoreSource, Target as _};
use pier_oci::{Reference, Registry};
use pier_testkit::{
    faults::{Canned, Fault, FaultyProxy, Kind, Script, When},
    test_registry::TestRegistry,
    tls::{Authority, Clients},
};

use crate::support::{IMAGE, builder, client, image, pull, registry};

async fn with_image() -> TestRegistry {
    let registry = registry().await;
    registry.push(&image(), IMAGE).await.unwrap();
    registry
}

/// A registry with TLS in front of another.
async fn secure(
    behind: &TestRegistry,
    script: Script,
    authority: &Authority,
    clients: Clients,
) -> FaultyProxy {
    FaultyProxy::start_tls(behind.address(), script, authority, clients).await.unwrap()
}

fn name(proxy: &FaultyProxy) -> Registry {
    proxy.address().to_string().parse().unwrap()
}

fn reference(proxy: &FaultyProxy) -> Reference {
    proxy.image_ref(IMAGE).parse().unwrap()
}

fn trusting(authority: &Authority) -> HostSettings {
    let authorities = vec![Authorities::from_pem(authority.pem().as_bytes()).unwrap()];
    HostSettings { authorities, ..HostSettings::default() }
}

fn identity(authority: &Authority) -> ClientIdentity {
    let identity = authority.client("somebody").unwrap();
    ClientIdentity::from_pem((identity.certificate + &identity.key).as_bytes()).unwrap()
}

#[tokio::test]
async fn an_authority_that_was_named_is_trusted_and_no_other() {
    let (behind, authority) = (with_image().await, Authority::new().unwrap());
    let proxy = secure(&behind, Script::new(), &authority, Clients::Anyone).await;
    pull(&client(&name(&proxy), trusting(&authority)), &reference(&proxy)).await.unwrap();
    let seen = proxy.requests().len();
    let another = Authority::new().unwrap();
    for settings in [HostSettings::default(), trusting(&another)] {
        let error = pull(&client(&name(&proxy), settings), &reference(&proxy)).await.unwrap_err();
        assert!(matches!(error, Error::Untrusted { .. }), "{error:?}");
    }
    assert_eq!(proxy.requests().len(), seen);
}

#[tokio::test]
async fn a_certificate_is_not_checked_where_that_was_switched_off() {
    let (behind, authority) = (with_image().await, Authority::new().unwrap());
    let proxy = secure(&behind, Script::new(), &authority, Clients::Anyone).await;
    let settings = HostSettings { verification: Some(Verification::Skipped), ..HostSettings::default() };
    pull(&client(&name(&proxy), settings), &reference(&proxy)).await.unwrap();
}

/// Whoever switches it off for a registry means that one, and not all to whom it leads: token servers get passwords.
#[tokio::test]
async fn s1_where_a_registry_leads_certificates_are_checked_even_if_its_own_is_not() {
    let (behind, authority, another) =
        (with_image().await, Authority::new().unwrap(), Authority::new().unwrap());
    let storage = secure(&behind, Script::new(), &another, Clients::Anyone).await;
    let leads = Script::new().rule(When::get(Kind::Blob), Fault::RedirectTo(storage.url()));
    let proxy = secure(&behind, leads, &authority, Clients::Anyone).await;
    let skipped = |settings| HostSettings { verification: Some(Verification::Skipped), ..settings };
    let settings = skipped(HostSettings::default());
    let error = pull(&client(&name(&proxy), settings), &reference(&proxy)).await.unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error:?}");
    assert_eq!(storage.requests().len(), 0);
    // An authority that was named for the registry counts there too.
    pull(&client(&name(&proxy), skipped(trusting(&another))), &reference(&proxy)).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_wants_a_certificate_is_shown_one() {
    let (behind, authority) = (with_image().await, Authority::new().unwrap());
    let proxy = secure(&behind, Script::new(), &authority, Clients::Certified).await;
    let settings = HostSettings { identity: Some(identity(&authority)), ..trusting(&authority) };
    pull(&client(&name(&proxy), settings), &reference(&proxy)).await.unwrap();
    let without = pull(&client(&name(&proxy), trusting(&authority)), &reference(&proxy)).await.unwrap_err();
    assert!(matches!(without, Error::Unavailable { .. } | Error::Denied { .. }), "{without:?}");
}

#[tokio::test]
async fn s1_a_certificate_is_shown_to_the_registrys_own_port_and_to_no_other() {
    let (behind, authority) = (with_image().await, Authority::new().unwrap());
    let storage = secure(&behind, Script::new(), &authority, Clients::Certified).await;
    let leads = Script::new().rule(When::get(Kind::Blob), Fault::RedirectTo(storage.url()));
    let proxy = secure(&behind, leads.clone(), &authority, Clients::Certified).await;
    let settings = HostSettings { identity: Some(identity(&authority)), ..trusting(&authority) };
    // The same host on another port wants the certificate, and does not get it.
    pull(&client(&name(&proxy), settings.clone()), &reference(&proxy)).await.unwrap_err();
    assert_eq!(storage.requests().len(), 0);
    // Where none is wanted, the redirect is followed.
    let open = secure(&behind, Script::new(), &authority, Clients::Anyone).await;
    proxy.set_script(Script::new().rule(When::get(Kind::Blob), Fault::RedirectTo(open.url())));
    pull(&client(&name(&proxy), settings), &reference(&proxy)).await.unwrap();
    assert_eq!(open.requests().len(), 3);
}

#[tokio::test]
async fn s1_headers_of_a_registry_go_nowhere_else() {
    let behind = with_image().await;
    let storage = FaultyProxy::start(behind.address(), Script::new()).await.unwrap();
    let leads = Script::new().rule(When::get(Kind::Blob), Fault::RedirectTo(storage.url()));
    let proxy = FaultyProxy::start(behind.address(), leads).await.unwrap();
    let headers = [(http::header::AUTHORIZATION, "Basic eDp5".parse().unwrap())].into_iter().collect();
    let settings = HostSettings { headers, ..HostSettings::default() };
    pull(&client(&name(&proxy), settings), &reference(&proxy)).await.unwrap();
    assert!(
        proxy
            .requests()
            .iter()
            .filter(|seen| seen.kind != Kind::Base)
            .all(|seen| seen.authorization.is_some())
    );
    assert_eq!(storage.requests().len(), 3);
    assert!(storage.requests().iter().all(|seen| seen.authorization.is_none()));
}

#[tokio::test]
async fn s2_a_redirect_from_https_to_plain_http_is_refused() {
    let (behind, authority) = (with_image().await, Authority::new().unwrap());
    let plain = FaultyProxy::start(behind.address(), Script::new()).await.unwrap();
    let leads = Script::new().rule(When::get(Kind::Blob), Fault::RedirectTo(plain.url()));
    let proxy = secure(&behind, leads, &authority, Clients::Anyone).await;
    let error = pull(&client(&name(&proxy), trusting(&authority)), &reference(&proxy)).await.unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error:?}");
    assert_eq!(plain.requests().len(), 0);
}

/// Every way in which a registry says where to go next, not the redirect alone.
#[tokio::test]
async fn s2_no_answer_leads_from_https_to_plain_http() {
    let (behind, authority) = (with_image().await, Authority::new().unwrap());
    let plain = FaultyProxy::start(behind.address(), Script::new()).await.unwrap();
    let proxy = secure(&behind, Script::new(), &authority, Clients::Anyone).await;
    let remote = client(&name(&proxy), trusting(&authority)).remote(&name(&proxy)).unwrap();
    let repository = reference(&proxy).repository;

    let challenge = Canned::challenge(&format!("Bearer realm=\"{}/token\",service=\"s\"", plain.url()));
    proxy.set_script(Script::new().answer(When::any(), challenge));
    let realm = remote.resolve(&reference(&proxy)).await.map(drop);

    let value = format!("<{}/v2/team/app/tags/list>; rel=\"next\"", plain.url());
    proxy.set_script(Script::new().rule(When::get(Kind::Tags), Fault::Field { name: "link", value }));
    let link = remote.tags(&repository).await.map(drop);

    let location = Fault::WrongLocation(format!("{}/upload", plain.url()));
    proxy.set_script(Script::new().rule(When::on(Method::POST, Kind::Upload), location));
    let image = image();
    let memory = Arc::new(Memory::default());
    let store = StoreSource { blobs: memory.clone(), catalog: memory };
    let origin = Origin { source: &store, repository: &repository };
    let layer = &image.blobs[0].descriptor;
    let upload = remote.upload(&repository, layer, origin, &Progress::default()).await;

    for (what, outcome) in [("realm", realm), ("Link", link), ("Location", upload)] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Untrusted { .. }), "{what}: {error:?}");
    }
    assert_eq!(plain.requests().len(), 0);
}

#[tokio::test]
async fn s3_a_redirect_to_the_clouds_metadata_is_refused() {
    let behind = with_image().await;
    let leads =
        Script::new().rule(When::get(Kind::Blob), Fault::RedirectTo("http://169.254.169.254".to_owned()));
    let proxy = FaultyProxy::start(behind.address(), leads).await.unwrap();
    let error = pull(&builder().build().unwrap(), &reference(&proxy)).await.unwrap_err();
    let said = "it leads to `169.254.169.254`, an address of this machine or network";
    assert!(matches!(&error, Error::Untrusted { reason, .. } if reason == said), "{error:?}");
}

#[tokio::test]
async fn s23_a_registry_on_this_machine_with_a_wrong_certificate_is_not_asked_in_plain() {
    let (behind, authority) = (with_image().await, Authority::new().unwrap());
    let proxy = secure(&behind, Script::new(), &authority, Clients::Anyone).await;
    let error = builder().build().unwrap().source(&name(&proxy)).unwrap().resolve(&reference(&proxy)).await;
    assert!(matches!(error.unwrap_err(), Error::Untrusted { .. }));
}
