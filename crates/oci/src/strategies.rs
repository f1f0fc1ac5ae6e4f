//! Random names and digests for the property tests.

use proptest::prelude::*;

use crate::{Algorithm, Digest, Reference, Registry, Repository, RepositoryName, Tag};

pub(crate) fn digest() -> impl Strategy<Value = Digest> {
    (prop_oneof![Just(Algorithm::Sha256), Just(Algorithm::Sha512)], any::<[u8; 64]>())
        .prop_map(|(algorithm, raw)| Digest::from_bytes(algorithm, &raw[..algorithm.digest_len()]).unwrap())
}

/// The text of a registry in any of the forms that are understood, canonical or not.
pub(crate) fn registry_text() -> impl Strategy<Value = String> {
    let label = || "[a-zA-Z0-9]{1,4}(-{1,2}[a-z0-9]{1,2})?";
    let host = prop_oneof![
        3 => (label(), label()).prop_map(|(one, two)| format!("{one}.{two}")),
        1 => any::<[u8; 4]>().prop_map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
        1 => any::<[u16; 8]>().prop_map(|groups| format!("[{}]", std::net::Ipv6Addr::from(groups))),
        1 => any::<[u16; 8]>().prop_map(|groups| {
            let groups: Vec<_> = groups.iter().map(|group| format!("{group:04X}")).collect();
            format!("[{}]", groups.join(":"))
        }),
        1 => Just("localhost".to_owned()),
        1 => Just("docker.io".to_owned()),
        1 => Just("ip6.0-0-0-0-0-0-0-1".to_owned()),
        1 => Just("[::1]".to_owned()),
    ];
    let port = prop_oneof![
        Just(String::new()),
        (1..=u16::MAX).prop_map(|port| format!(":{port}")),
        (1..=99_u16).prop_map(|port| format!(":{port:05}")),
    ];
    (host, port).prop_map(|(host, port)| host + &port)
}

pub(crate) fn registry() -> impl Strategy<Value = Registry> {
    registry_text().prop_map(|text| text.parse().unwrap())
}

pub(crate) fn repository_name() -> impl Strategy<Value = RepositoryName> {
    "[a-z0-9]{1,3}((\\.|_|__|-{1,3})[a-z0-9]{1,2}){0,2}(/[a-z0-9]{1,3}(_[a-z0-9]){0,1}){0,2}"
        .prop_map(|text| text.parse().unwrap())
}

pub(crate) fn tag() -> impl Strategy<Value = Tag> {
    "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}".prop_map(|text| text.parse().unwrap())
}

/// References as parsing makes them: with a tag, a digest or both, and a namespace on Docker Hub.
pub(crate) fn reference() -> impl Strategy<Value = Reference> {
    let selector = prop_oneof![
        tag().prop_map(|tag| (Some(tag), None)),
        digest().prop_map(|digest| (None, Some(digest))),
        (tag(), digest()).prop_map(|(tag, digest)| (Some(tag), Some(digest))),
    ];
    (registry(), repository_name(), selector).prop_map(|(registry, name, (tag, digest))| {
        let name = if registry.is_docker_hub() { format!("library/{name}").parse().unwrap() } else { name };
        Reference { repository: Repository { registry, name }, tag, digest }
    })
}
