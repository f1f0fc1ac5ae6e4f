//! What every crate's `Cargo.toml` says.

use std::path::Path;

use super::Offence;

/// A crate inherits the workspace's lints; without the line it would silently have none.
pub(super) fn check(path: &Path, text: &str) -> Vec<Offence> {
    let manifest: toml::Table = match toml::from_str(text) {
        Ok(manifest) => manifest,
        Err(error) => return vec![Offence::file(path, format!("cannot be read: {error}"))],
    };
    // The workspace's own manifest, and those of other workspaces, are where lints come from.
    let inherits =
        manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool)
            == Some(true);
    if inherits || manifest.contains_key("workspace") {
        return Vec::new();
    }
    vec![Offence::file(path, "does not inherit the workspace's lints: add `[lints]` with `workspace = true`")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_text(text: &str, expected: &[&str]) {
        let found: Vec<_> =
            check(Path::new("Cargo.toml"), text).into_iter().map(|offence| offence.what).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn wants_the_workspaces_lints() {
        let missing = "does not inherit the workspace's lints: add `[lints]` with `workspace = true`";
        check_text("[package]\nname = \"a\"\n[lints]\nworkspace = true\n", &[]);
        check_text("[workspace]\nmembers = []\n", &[]);
        check_text("[package]\nname = \"a\"\n", &[missing]);
        check_text("[package]\nname = \"a\"\n[lints]\nworkspace = false\n", &[missing]);
        check_text("[package]\nname = \"a\"\n[lints.clippy]\nall = \"warn\"\n", &[missing]);
    }
}
