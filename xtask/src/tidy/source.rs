//! What stands in a Rust file, and what it is called.

use std::path::Path;

use super::Offence;

/// Names that say where a thing was put because nobody found its noun.
const NAMELESS: [&str; 4] = ["utils", "helpers", "common", "manager"];

/// Attributes that hide something, as they stand at the start of a line, and what to do instead.
const ATTRIBUTES: [(&str, &str); 5] = [
    ("#[ignore", "a test that does not run proves nothing: make it run, or remove it"),
    ("#[should_panic", "assert the exact error instead"),
    ("#[allow(", "say `#[expect(…, reason = \"…\")]`, which goes away with its cause"),
    ("#![allow(", "say `#![expect(…, reason = \"…\")]`, which goes away with its cause"),
    ("#![feature(", "the installed stable toolchain has to build this"),
];

/// Every offence in one file; `path` is relative to the workspace.
pub(super) fn check(path: &Path, text: &str) -> Vec<Offence> {
    let mut offences = Vec::new();
    offences.extend(name(path).map(|what| Offence::file(path, what)));
    if !text.starts_with("//! ") {
        offences
            .push(Offence::file(path, "starts without a `//!` header that says what it is and why this way"));
    }
    let for_tests = may_use_testkit(path);
    for (index, line) in text.lines().enumerate() {
        let code = line.trim_start();
        for (attribute, instead) in ATTRIBUTES {
            if code.starts_with(attribute) {
                offences.push(Offence::line(path, index, format!("`{attribute}`: {instead}")));
            }
        }
        if is_open_ended(line) {
            offences.push(Offence::line(
                path,
                index,
                "a note of work to do without the condition that removes it: write `TODO(when …)`",
            ));
        }
        if !for_tests && !code.starts_with("//") && code.contains("pier_testkit") {
            offences.push(Offence::line(path, index, "testkit is used in `tests/`, never in `src`"));
        }
    }
    offences
}

fn name(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    if stem == "mod" {
        return Some("name the file after its module and put it beside the module's folder".to_owned());
    }
    NAMELESS.contains(&stem).then(|| format!("`{stem}` says nothing: find the noun for what is in it"))
}

/// Testkit itself, tools, and all that cargo does not build into a library or a program.
fn may_use_testkit(path: &Path) -> bool {
    let mut components = path.iter().filter_map(|component| component.to_str());
    let top = components.next();
    let krate = components.next();
    let place = components.next();
    top != Some("crates") || krate == Some("testkit") || place != Some("src")
}

/// A marker in a comment that is not followed by its condition.
fn is_open_ended(line: &str) -> bool {
    let Some((_, comment)) = line.split_once("//") else {
        return false;
    };
    ["TODO", "FIXME", "XXX"].into_iter().any(|marker| {
        comment.split_once(marker).is_some_and(|(before, after)| {
            let is_word = !before.ends_with(char::is_alphanumeric)
                && !before.ends_with(['`', '"'])
                && !after.starts_with(char::is_alphanumeric);
            is_word && !after.starts_with("(when ")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_text(path: &str, text: &str, expected: &[&str]) {
        let found: Vec<_> = check(Path::new(path), text).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn wants_a_header() {
        check_text("crates/oci/src/a.rs", "//! What.\nfn f() {}\n", &[]);
        let missing =
            "crates/oci/src/a.rs: starts without a `//!` header that says what it is and why this way";
        check_text("crates/oci/src/a.rs", "fn f() {}\n", &[missing]);
        check_text("crates/oci/src/a.rs", "\n//! What.\n", &[missing]);
        check_text("crates/oci/src/a.rs", "", &[missing]);
    }

    #[test]
    fn wants_names_that_say_something() {
        check_text(
            "crates/oci/src/wire/mod.rs",
            "//! A.",
            &[
                "crates/oci/src/wire/mod.rs: name the file after its module and put it beside the module's folder",
            ],
        );
        check_text(
            "crates/oci/src/utils.rs",
            "//! A.",
            &["crates/oci/src/utils.rs: `utils` says nothing: find the noun for what is in it"],
        );
    }

    #[test]
    fn refuses_attributes_that_hide() {
        check_text(
            "a.rs",
            "//! A.\n    #[ignore]\n",
            &["a.rs:2: `#[ignore`: a test that does not run proves nothing: make it run, or remove it"],
        );
        check_text(
            "a.rs",
            "//! A.\n#[should_panic(expected = \"x\")]\n",
            &["a.rs:2: `#[should_panic`: assert the exact error instead"],
        );
        check_text(
            "a.rs",
            "//! A.\n#[allow(dead_code)]\n",
            &["a.rs:2: `#[allow(`: say `#[expect(…, reason = \"…\")]`, which goes away with its cause"],
        );
        check_text("a.rs", "//! A.\n#[expect(dead_code, reason = \"b\")]\n", &[]);
        check_text("a.rs", "//! A.\n#[test]\nlet words = \"#[ignore]\";\n", &[]);
    }

    #[test]
    fn refuses_notes_without_a_condition() {
        // Put together here, so that this file itself is tidy.
        let note = |rest: &str| format!("//! A.\nf(); /{}", rest.replace("NOTE", "TODO"));
        let offence =
            "a.rs:2: a note of work to do without the condition that removes it: write `TODO(when …)`";
        check_text("a.rs", &note("/ NOTE: later\n"), &[offence]);
        check_text("a.rs", &note("/ NOTE\n").replace("TODO", "FIXME"), &[offence]);
        check_text("a.rs", &note("/ NOTE(when rustix 2 is out): drop this.\n"), &[]);
        check_text("a.rs", &note("* NOTE */\n"), &[]);
        check_text("a.rs", &note("/ A MASNOTEON.\n"), &[]);
    }

    #[test]
    fn keeps_testkit_out_of_src() {
        let text = "//! A.\nuse pier_testkit::engine;\n";
        check_text(
            "crates/store/src/a.rs",
            text,
            &["crates/store/src/a.rs:2: testkit is used in `tests/`, never in `src`"],
        );
        for path in [
            "crates/store/tests/a.rs",
            "crates/testkit/src/a.rs",
            "crates/testkit/tests/a.rs",
            "xtask/src/bench.rs",
            "crates/oci/benches/a.rs",
        ] {
            check_text(path, text, &[]);
        }
        check_text("crates/store/src/a.rs", "//! A.\n/// Not `pier_testkit`.\n", &[]);
    }
}
