//! Which settings hold for which registry.

use std::{fs, num::NonZeroUsize, path::Path, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{host::Scheme, proxies::Proxies, transport::Verification};

fn registry(name: &str) -> Registry {
    name.parse().unwrap()
}

fn at_once(requests: usize) -> HostSettings {
    HostSettings { requests_at_once: NonZeroUsize::new(requests), ..HostSettings::default() }
}

fn mirror(url: &str) -> Mirror {
    Mirror { url: url.parse().unwrap(), trust: Trust::Content, settings: HostSettings::default() }
}

/// A `certs.d` with these files.
fn folder(files: &[(&str, &str)]) -> (TempDir, Hosts) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let hosts = Hosts { folder: Some(HostsFolder::open(folder.path()).unwrap()), ..Hosts::default() };
    (folder, hosts)
}

/// The names of a registry's mirrors, and what they are believed.
fn mirrors(hosts: &Hosts, name: &str) -> Vec<(String, Trust)> {
    let ways = hosts.ways(&registry(name)).unwrap();
    ways.mirrors.into_iter().map(|(url, trust, _)| (url.to_string(), trust)).collect()
}

/// A self-signed certificate and its key, in PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn the_more_telling_setting_holds() {
    let named = [("*", 2), ("*.corp.example", 3), ("a.corp.example", 4), ("*.example", 5)];
    let hosts = Hosts {
        defaults: at_once(1),
        named: named.map(|(pattern, requests)| (pattern.parse().unwrap(), at_once(requests))).into(),
        ..Hosts::default()
    };
    let found = |name: &str| hosts.ways(&registry(name)).unwrap().origin.host.requests_at_once.get();
    assert_eq!(["a.corp.example", "b.corp.example", "b.example", "ghcr.io"].map(found), [4, 3, 5, 2]);
    let flagged = Hosts { overrides: at_once(9), ..hosts };
    assert_eq!(flagged.ways(&registry("a.corp.example")).unwrap().origin.host.requests_at_once.get(), 9);
    let nothing = Hosts::default().ways(&registry("ghcr.io")).unwrap();
    assert_eq!((nothing.origin.host.requests_at_once.get(), nothing.origin.host.scheme), (6, Scheme::Https));
}

#[test]
fn of_the_same_pattern_the_later_one_holds() {
    let named = [2, 3].map(|requests| ("ghcr.io".parse().unwrap(), at_once(requests))).into();
    let hosts = Hosts { named, ..Hosts::default() };
    assert_eq!(hosts.ways(&registry("ghcr.io")).unwrap().origin.host.requests_at_once.get(), 3);
}

#[test]
fn s1_a_mirror_has_the_settings_of_its_own_host() {
    let (cert, key) = certificate();
    let identity = crate::ClientIdentity::from_pem((cert + &key).as_bytes()).unwrap();
    let of_registry = HostSettings {
        identity: Some(identity.clone()),
        headers: [(http::header::COOKIE, "secret".parse().unwrap())].into_iter().collect(),
        mirrors: Some(vec![mirror("mirror.example")]),
        ..at_once(2)
    };
    let hosts = Hosts {
        defaults: HostSettings {
            proxies: Some(Proxies::always("http://p:1").unwrap()),
            ..HostSettings::default()
        },
        named: vec![
            ("ghcr.io".parse().unwrap(), of_registry),
            ("mirror.example".parse().unwrap(), at_once(3)),
        ],
        overrides: HostSettings {
            identity: Some(identity),
            scheme: Some(Scheme::PlainHttp),
            verification: Some(Verification::Skipped),
            ..HostSettings::default()
        },
        ..Hosts::default()
    };
    let ways = hosts.ways(&registry("ghcr.io")).unwrap();
    assert!(ways.origin.host.tls.identity.is_some());
    assert_eq!(ways.origin.host.tls.verification, Verification::Skipped);
    let [(_, _, mirror)] = &ways.mirrors[..] else { panic!("{ways:?}") };
    assert!(mirror.tls.identity.is_none() && mirror.headers.is_empty());
    assert_eq!(mirror.tls.verification, Verification::Required);
    assert_eq!(mirror.requests_at_once.get(), 3);
    assert!(mirror.proxies.on_the_way(&"https://mirror.example".parse().unwrap()).is_some());
}

#[test]
fn headers_are_not_shown() {
    let headers = [(http::header::COOKIE, "hunter2".parse().unwrap())].into_iter().collect();
    let hosts = Hosts { defaults: HostSettings { headers, ..HostSettings::default() }, ..Hosts::default() };
    let shown = format!("{hosts:?} {:?}", hosts.ways(&registry("ghcr.io")).unwrap());
    assert!(shown.contains("cookie") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn mirrors_of_containerd_come_in_their_order_and_with_their_trust() {
    let (_folder, hosts) = folder(&[(
        "docker.io/hosts.toml",
        r#"
        server = "https://registry-1.docker.io"
        [host."https://z.example"]
          capabilities = ["pull", "resolve", "push"]
        [host."https://a.example/us"]
          capabilities = ["pull"]
          dial_timeout = "3s"
        [host."https://m.example"]
        [host."https://pushed.example"]
          capabilities = ["push"]
        "#,
    )]);
    let expected = [
        ("https://z.example".to_owned(), Trust::Names),
        ("https://a.example/us/v2".to_owned(), Trust::Content),
        ("https://m.example".to_owned(), Trust::Names),
    ];
    assert_eq!(mirrors(&hosts, "docker.io"), expected);
    assert_eq!(mirrors(&hosts, "ghcr.io"), []);
    let ways = hosts.ways(&registry("docker.io")).unwrap();
    assert_eq!(ways.origin.url, None);
    assert_eq!(ways.mirrors[1].2.connect_timeout, Some(Duration::from_secs(3)));
}

#[test]
fn a_folder_is_found_under_each_of_its_names() {
    let text = |name: &str| format!("[host.'https://{name}.example']");
    let files = [
        ("r.example_5000_/hosts.toml", text("low")),
        ("r.example:5000/hosts.toml", text("never")),
        ("r.example:6000/hosts.toml", text("colon")),
        ("[::1]_5000_/hosts.toml", text("six")),
        ("_default/hosts.toml", text("default")),
    ];
    let (_folder, hosts) = folder(&files.each_ref().map(|(path, text)| (*path, text.as_str())));
    for (name, found) in [
        ("r.example:5000", "low"),
        ("r.example:6000", "colon"),
        ("[::1]:5000", "six"),
        ("r.example", "default"),
        ("docker.io", "default"),
    ] {
        assert_eq!(mirrors(&hosts, name), [(format!("https://{found}.example"), Trust::Names)], "{name}");
    }
    // What holds for every registry is not what is set for a mirror of all of them.
    assert_eq!(mirrors(&hosts, "default.example"), []);
}

#[test]
fn an_entry_for_the_registry_itself_says_how_it_is_reached() {
    let (_folder, hosts) = folder(&[
        ("plain.example:5000/hosts.toml", "[host.'http://plain.example:5000']\nskip_verify = true"),
        ("short.example/hosts.toml", "server = 'http://short.example'"),
        ("moved.example/hosts.toml", "server = 'https://new.example'"),
    ]);
    let plain = hosts.ways(&registry("plain.example:5000")).unwrap();
    assert_eq!((plain.origin.url, plain.mirrors.len()), (None, 0));
    assert_eq!(plain.origin.host.scheme, Scheme::PlainHttp);
    assert_eq!(plain.origin.host.tls.verification, Verification::Skipped);
    let short = hosts.ways(&registry("short.example")).unwrap();
    assert_eq!((short.origin.url, short.origin.host.scheme), (None, Scheme::PlainHttp));
    let moved = hosts.ways(&registry("moved.example")).unwrap();
    assert_eq!(moved.origin.url.unwrap().to_string(), "https://new.example");
}

#[test]
fn certificates_in_dockers_form_are_read() {
    let ((ca, _), (cert, key)) = (certificate(), certificate());
    let (_folder, hosts) = folder(&[
        ("r.example:5000/ca.crt", &ca),
        ("r.example:5000/other.crt", &ca),
        ("r.example:5000/client.cert", &cert),
        ("r.example:5000/client.key", &key),
        ("r.example:5000/README", "not a certificate"),
    ]);
    let ways = hosts.ways(&registry("r.example:5000")).unwrap();
    assert_eq!(ways.origin.host.tls.authorities.len(), 2);
    assert!(ways.origin.host.tls.identity.is_some());
}

#[test]
fn files_of_containerd_are_beside_the_file_that_names_them() {
    let (ca, _) = certificate();
    let (folder, hosts) = folder(&[("r.example/hosts.toml", "ca = 'ca.pem'"), ("r.example/ca.pem", &ca)]);
    assert_eq!(hosts.ways(&registry("r.example")).unwrap().origin.host.tls.authorities.len(), 1);
    let outside = folder.path().join("outside.pem");
    fs::write(&outside, ca).unwrap();
    fs::write(folder.path().join("r.example/hosts.toml"), format!("ca = ['{}']", outside.display())).unwrap();
    assert_eq!(hosts.ways(&registry("r.example")).unwrap().origin.host.tls.authorities.len(), 1);
}

#[test]
fn s23_what_is_wrong_in_a_folder_is_an_error_with_the_files_name() {
    let (cert, key) = certificate();
    let check = |files: &[(&str, &str)], file: &str, said: &str| {
        let (folder, hosts) = folder(files);
        let error = hosts.ways(&registry("r.example")).unwrap_err().to_string();
        assert_eq!(error, format!("`{}`: {said}", folder.path().join(file).display()));
    };
    let toml = "r.example/hosts.toml";
    check(&[(toml, "[host")], toml, "line 1: unclosed table, expected `]`");
    check(&[(toml, "skip_verify = 1")], toml, "`skip_verify` is neither `true` nor `false`");
    check(
        &[(toml, "ca = 'no.pem'")],
        "r.example/no.pem",
        "it cannot be read: No such file or directory (os error 2)",
    );
    check(
        &[(toml, "ca = 'no.pem'"), ("r.example/no.pem", "x")],
        "r.example/no.pem",
        "it holds no certificate in PEM",
    );
    check(&[("r.example/ca.crt", "x")], "r.example/ca.crt", "it holds no certificate in PEM");
    check(
        &[("r.example/client.key", &key)],
        "r.example/client.key",
        "there is no certificate `*.cert` beside this key",
    );
    check(
        &[("r.example/a.cert", &cert), ("r.example/b.cert", &cert)],
        "r.example",
        "it has 2 client certificates, and only one can be shown",
    );
    let none = HostsFolder::open(Path::new("/no/such/folder")).unwrap_err().to_string();
    assert_eq!(none, "`/no/such/folder`: it cannot be read: No such file or directory (os error 2)");
}

#[test]
fn a_folder_of_another_registry_is_in_nobodys_way() {
    let (_folder, hosts) = folder(&[("broken.example/hosts.toml", "[host"), ("r.example/hosts.toml", "")]);
    hosts.ways(&registry("r.example")).unwrap();
    hosts.ways(&registry("ghcr.io")).unwrap();
    hosts.ways(&registry("broken.example")).unwrap_err();
}
