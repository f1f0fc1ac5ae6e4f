//! Proxies on the way to registries whose names nobody but the proxy can look up.

use std::ffi::OsString;

use pier_client::{Client, HostSettings, Hosts, Proxies, Scheme, Verification};
use pier_content::Error;
use pier_oci::Reference;
use pier_testkit::{
    faults::{Fault, FaultyProxy, Kind, Script, When},
    skip::{Skips, skip},
    tls::{Authority, Clients},
};

use crate::{
    forward::ForwardProxy,
    support::{IMAGE, builder, image, pull, registry},
};

/// A name that is nobody's (RFC 6761).
fn reference() -> Reference {
    format!("registry.test/{IMAGE}").parse().unwrap()
}

/// A client in an environment with these variables.
fn client(variables: &[(&str, String)], settings: HostSettings) -> Client {
    let lookup = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    };
    let proxies = Some(Proxies::from_env(lookup).unwrap());
    let hosts = Hosts { defaults: HostSettings { proxies, ..settings }, ..Hosts::default() };
    builder().hosts(hosts).build().unwrap()
}

fn plain() -> HostSettings {
    HostSettings { scheme: Some(Scheme::PlainHttp), ..HostSettings::default() }
}

#[tokio::test]
async fn plain_http_goes_through_http_proxy() {
    let registry = registry().await;
    registry.push(&image(), IMAGE).await.unwrap();
    let proxy = ForwardProxy::to(registry.address()).await;
    let client = client(&[("HTTP_PROXY", proxy.url())], plain());
    pull(&client, &reference()).await.unwrap();
    let asked = proxy.asked();
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked == "GET registry.test"), "{asked:?}");
}

#[tokio::test]
async fn https_goes_through_a_tunnel_of_https_proxy() {
    let registry = registry().await;
    registry.push(&image(), IMAGE).await.unwrap();
    let authority = Authority::new().unwrap();
    let secure =
        FaultyProxy::start_tls(registry.address(), Script::new(), &authority, Clients::Anyone).await.unwrap();
    let proxy = ForwardProxy::to(secure.address()).await;
    // Its certificate is for other names.
    let settings = HostSettings { verification: Some(Verification::Skipped), ..HostSettings::default() };
    let client = client(&[("https_proxy", proxy.url())], settings);
    pull(&client, &reference()).await.unwrap();
    assert!(proxy.asked().iter().all(|asked| asked == "CONNECT registry.test:443"), "{:?}", proxy.asked());
}

#[tokio::test]
async fn who_is_listed_in_no_proxy_is_asked_directly() {
    let registry = registry().await;
    let proxy = ForwardProxy::to(registry.address()).await;
    let variables = [("HTTP_PROXY", proxy.url()), ("NO_PROXY", "10.0.0.0/8,.test".to_owned())];
    let client = client(&variables, plain());
    let error =
        client.source(&reference().repository.registry).unwrap().resolve(&reference()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(proxy.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn this_machine_is_asked_directly_whatever_the_environment_says() {
    let registry = registry().await;
    registry.push(&image(), IMAGE).await.unwrap();
    let proxy = ForwardProxy::to(registry.address()).await;
    let client = client(&[("ALL_PROXY", proxy.url())], HostSettings::default());
    pull(&client, &registry.image_ref(IMAGE).parse().unwrap()).await.unwrap();
    assert_eq!(proxy.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_proxy_that_was_set_for_a_registry_goes_before_the_environment() {
    let registry = registry().await;
    registry.push(&image(), IMAGE).await.unwrap();
    let (of_all, own) =
        (ForwardProxy::to(registry.address()).await, ForwardProxy::to(registry.address()).await);
    let proxies = Proxies::from_env(|name| (name == "HTTP_PROXY").then(|| of_all.url().into())).unwrap();
    let set = Proxies::always(&own.url().replace("http://", "http://me:hunter2@")).unwrap();
    let hosts = Hosts {
        defaults: HostSettings { proxies: Some(proxies), ..plain() },
        named: vec![(
            "*.test".parse().unwrap(),
            HostSettings { proxies: Some(set), ..HostSettings::default() },
        )],
        ..Hosts::default()
    };
    let client = builder().hosts(hosts).build().unwrap();
    pull(&client, &reference()).await.unwrap();
    assert_eq!(of_all.asked(), Vec::<String>::new());
    // Its password goes to the proxy.
    assert!(
        own.heads()
            .iter()
            .all(|head| head.to_lowercase().contains("\r\nproxy-authorization: basic bwu6ahvudgvymg==")),
        "{:?}",
        own.heads()
    );
}

#[tokio::test]
async fn s3_a_public_registry_leads_nobody_to_this_machine() {
    let registry = registry().await;
    registry.push(&image(), IMAGE).await.unwrap();
    let inner = FaultyProxy::start(registry.address(), Script::new()).await.unwrap();
    let leads = Script::new().rule(When::get(Kind::Blob), Fault::RedirectTo(inner.url()));
    let public = FaultyProxy::start(registry.address(), leads).await.unwrap();
    let proxy = ForwardProxy::to(public.address()).await;
    let client = client(&[("HTTP_PROXY", proxy.url())], plain());
    let error = pull(&client, &reference()).await.unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error:?}");
    assert_eq!(inner.requests().len(), 0);
}

#[tokio::test]
async fn s3_a_registry_leads_nobody_to_the_proxy_itself() {
    let registry = registry().await;
    registry.push(&image(), IMAGE).await.unwrap();
    let public = FaultyProxy::start(registry.address(), Script::new()).await.unwrap();
    let proxy = ForwardProxy::to(public.address()).await;
    let port = proxy.url().rsplit_once(':').unwrap().1.to_owned();
    let leads = format!("http://localhost:{port}");
    public.set_script(Script::new().rule(When::get(Kind::Blob), Fault::RedirectTo(leads)));
    let client = client(&[("HTTP_PROXY", format!("http://localhost:{port}"))], plain());
    let error = pull(&client, &reference()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Untrusted { reason, .. } if reason == "it leads to the proxy itself"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_registry_at_an_ipv6_address_is_reached() {
    let registry = registry().await;
    registry.push(&image(), IMAGE).await.unwrap();
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else {
        skip(Skips::from_environment(), "there is no `::1` on this machine");
        return;
    };
    let address = listener.local_addr().unwrap();
    let behind = registry.address();
    let task = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let reference: Reference = format!("{address}/{IMAGE}").parse().unwrap();
    assert_eq!(reference.repository.registry.as_str(), address.to_string());
    let copied = pull(&builder().build().unwrap(), &reference).await.unwrap();
    assert_eq!(copied.root.digest, image().root.digest);
    task.abort();
}
