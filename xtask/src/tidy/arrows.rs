//! Who may depend on whom.
//!
//! Rust keeps crates from importing one another in circles; that siblings stay apart and that `oci` stays pure has to be said here.
//! Direct dependencies suffice: a forbidden path always contains a forbidden arrow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

use super::Offence;

const SIBLINGS: [&str; 8] = [
    "pier-store",
    "pier-layout",
    "pier-client",
    "pier-unpack",
    "pier-registry",
    "pier-swarm",
    "pier-engine",
    "pier-fleet",
];

/// A package of the workspace, as `cargo metadata` describes it.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

/// Where a crate stands on the map of ARCHITECTURE.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Oci,
    Content,
    /// What moves bytes and knows nothing of content.
    Plumbing,
    Sibling,
    Pier,
    Testkit,
    Tool,
}

impl Place {
    fn of(name: &str) -> Option<Self> {
        match name {
            "pier-oci" => Some(Self::Oci),
            "pier-content" => Some(Self::Content),
            "pier-sendfile" => Some(Self::Plumbing),
            "pier" => Some(Self::Pier),
            "pier-testkit" => Some(Self::Testkit),
            "xtask" => Some(Self::Tool),
            name if SIBLINGS.contains(&name) => Some(Self::Sibling),
            _ => None,
        }
    }

    /// Why an arrow from here to there is forbidden; none when it is allowed.
    fn forbids(self, to: Self) -> Option<&'static str> {
        match (self, to) {
            (_, Self::Tool) => Some("nothing depends on xtask"),
            (_, Self::Pier) => Some("`pier` wires everything and is wired into nothing"),
            (Self::Testkit | Self::Tool, _) => None,
            (_, Self::Testkit) => Some("testkit is for tests: make it a dev-dependency"),
            (Self::Pier, _)
            | (Self::Content, Self::Oci)
            | (Self::Sibling, Self::Oci | Self::Content | Self::Plumbing) => None,
            (Self::Oci, _) => Some("`oci` is the vocabulary and depends on none of ours"),
            (Self::Content, _) => Some("`content` is the contract and depends on `oci` only"),
            (Self::Plumbing, _) => Some("`sendfile` moves bytes and depends on none of ours"),
            (Self::Sibling, _) => {
                Some("siblings never import one another; what two of them need belongs in `content`")
            }
        }
    }
}

/// Reads the output of `cargo metadata`; paths become relative to the workspace.
pub(super) fn packages(metadata: &str) -> anyhow::Result<Vec<Package>> {
    let mut metadata: Metadata =
        serde_json::from_str(metadata).context("cannot read what `cargo metadata` printed")?;
    for package in &mut metadata.packages {
        if let Ok(relative) = package.manifest_path.strip_prefix(&metadata.workspace_root) {
            package.manifest_path = relative.to_owned();
        }
    }
    Ok(metadata.packages)
}

/// Every forbidden arrow between packages of the workspace, and every package that is not on the map.
pub(super) fn check(packages: &[Package]) -> Vec<Offence> {
    let ours: BTreeMap<&str, Option<Place>> =
        packages.iter().map(|package| (package.name.as_str(), Place::of(&package.name))).collect();
    let mut offences = Vec::new();
    for package in packages {
        let Some(from) = Place::of(&package.name) else {
            offences.push(Offence::file(
                &package.manifest_path,
                format!("`{}` is not on the map: give it a place in xtask/src/tidy/arrows.rs", package.name),
            ));
            continue;
        };
        for dependency in &package.dependencies {
            // A crate's tests may ask for the crate itself with a feature more.
            if dependency.name == package.name {
                continue;
            }
            // A dependency that is not on the map is reported as a package; one that is not ours is no arrow of the map.
            let Some(Some(to)) = ours.get(dependency.name.as_str()) else {
                continue;
            };
            let for_tests = dependency.kind.as_deref() == Some("dev") && *to == Place::Testkit;
            if let Some(why) = from.forbids(*to).filter(|_| !for_tests) {
                offences.push(forbidden(&package.manifest_path, &package.name, dependency, why));
            }
        }
    }
    offences
}

fn forbidden(manifest: &Path, from: &str, dependency: &Dependency, why: &str) -> Offence {
    let kind = dependency.kind.as_ref().map_or(String::new(), |kind| format!(" ({kind}-dependency)"));
    Offence::file(manifest, format!("{from} -> {}{kind}: {why}", dependency.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace in which `from` depends on `to`, and the offences found in it.
    fn arrow(from: &str, to: &str, kind: Option<&str>) -> Vec<String> {
        let package = |name: &str, dependencies: serde_json::Value| serde_json::json!({"name": name, "manifest_path": format!("/w/crates/{name}/Cargo.toml"), "dependencies": dependencies});
        let metadata = serde_json::json!({
            "workspace_root": "/w",
            "packages": [package(from, serde_json::json!([{"name": to, "kind": kind}])), package(to, serde_json::json!([]))],
        });
        check(&packages(&metadata.to_string()).unwrap()).iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn allowed(from: &str, to: &str, kind: Option<&str>) {
        assert_eq!(arrow(from, to, kind), [""; 0], "{from} -> {to} {kind:?}");
    }

    #[track_caller]
    fn refused(from: &str, to: &str, kind: Option<&str>, expected: &str) {
        assert_eq!(arrow(from, to, kind), [expected], "{from} -> {to} {kind:?}");
    }

    #[test]
    fn lets_the_arrows_of_the_map_through() {
        allowed("pier-content", "pier-oci", None);
        for sibling in SIBLINGS {
            allowed(sibling, "pier-oci", None);
            allowed(sibling, "pier-content", None);
            allowed(sibling, "pier-sendfile", None);
            allowed("pier", sibling, None);
            allowed("pier-testkit", sibling, None);
        }
        allowed("pier", "pier-oci", None);
        allowed("xtask", "pier-testkit", None);
        allowed("pier-content", "pier-content", Some("dev"));
    }

    #[test]
    fn lets_testkit_through_for_tests_only() {
        for user in ["pier-oci", "pier-content", "pier-store", "pier"] {
            allowed(user, "pier-testkit", Some("dev"));
            refused(
                user,
                "pier-testkit",
                None,
                &format!(
                    "crates/{user}/Cargo.toml: {user} -> pier-testkit: testkit is for tests: make it a dev-dependency"
                ),
            );
        }
    }

    #[test]
    fn refuses_siblings_that_import_one_another() {
        let why = "siblings never import one another; what two of them need belongs in `content`";
        refused(
            "pier-store",
            "pier-registry",
            None,
            &format!("crates/pier-store/Cargo.toml: pier-store -> pier-registry: {why}"),
        );
        refused(
            "pier-fleet",
            "pier-store",
            Some("dev"),
            &format!("crates/pier-fleet/Cargo.toml: pier-fleet -> pier-store (dev-dependency): {why}"),
        );
        refused(
            "pier-swarm",
            "pier-client",
            Some("build"),
            &format!("crates/pier-swarm/Cargo.toml: pier-swarm -> pier-client (build-dependency): {why}"),
        );
    }

    #[test]
    fn refuses_arrows_that_point_up() {
        refused(
            "pier-oci",
            "pier-content",
            None,
            "crates/pier-oci/Cargo.toml: pier-oci -> pier-content: `oci` is the vocabulary and depends on none of ours",
        );
        refused(
            "pier-content",
            "pier-store",
            None,
            "crates/pier-content/Cargo.toml: pier-content -> pier-store: `content` is the contract and depends on `oci` only",
        );
        refused(
            "pier-testkit",
            "pier",
            None,
            "crates/pier-testkit/Cargo.toml: pier-testkit -> pier: `pier` wires everything and is wired into nothing",
        );
        refused("pier", "xtask", None, "crates/pier/Cargo.toml: pier -> xtask: nothing depends on xtask");
    }

    #[test]
    fn looks_only_at_packages_of_the_workspace() {
        let metadata = r#"{"workspace_root": "/w", "packages": [{"name": "pier-oci", "manifest_path": "/w/crates/oci/Cargo.toml",
            "dependencies": [{"name": "serde", "kind": null}]}]}"#;
        assert_eq!(check(&packages(metadata).unwrap()), []);
    }

    #[test]
    fn refuses_a_crate_that_is_not_on_the_map() {
        assert_eq!(
            arrow("pier-things", "pier-oci", None),
            [
                "crates/pier-things/Cargo.toml: `pier-things` is not on the map: give it a place in xtask/src/tidy/arrows.rs"
            ]
        );
    }
}
