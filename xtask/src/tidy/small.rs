//! What stays out of the small build.
//!
//! A launcher in Rust links `pier-client` to verify an image before it starts it. It brings no database along, and nothing that needs one:
//! SQLite is the store's. Dependencies of dependencies count, which no arrow between our own crates shows.

use std::path::Path;

use super::Offence;

/// What is to stay small.
pub(super) const PACKAGE: &str = "pier-client";

/// What it must not be built from.
const KEPT_OUT: [&str; 4] = ["libsqlite3-sys", "rusqlite", "pier-store", "pier-registry"];

/// Looks through what `cargo tree` says.
pub(super) fn check(tree: &str) -> Vec<Offence> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    let mut found: Vec<&str> = names.filter(|name| KEPT_OUT.contains(name)).collect();
    found.sort_unstable();
    found.dedup();
    let path = Path::new("crates/client/Cargo.toml");
    found.into_iter().map(|name| Offence::file(path, format!("`{PACKAGE}` is built from `{name}`"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_below_the_client_is_found() {
        let tree = "pier-client v0.1.0 (/work/crates/client)\nbytes v1.12.1\n";
        assert_eq!(check(tree), []);
        let more = format!("{tree}rusqlite v0.37.0\nlibsqlite3-sys v0.35.0\nrusqlite v0.37.0 (*)\n");
        let said: Vec<String> = check(&more).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "crates/client/Cargo.toml: `pier-client` is built from `libsqlite3-sys`",
                "crates/client/Cargo.toml: `pier-client` is built from `rusqlite`",
            ]
        );
    }
}
