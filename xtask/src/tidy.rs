//! The rules that no compiler checks.
//!
//! Each rule is a function from text to offences, so that it is tested with made-up text; only this file reads the workspace. All
//! offences are printed before the run fails, one line each, as `path:line: what is wrong`.

mod arrows;
mod links;
mod manifest;
mod small;
mod source;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::cargo::{cargo, root};

/// One thing that has to be mended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offence {
    /// Relative to the workspace.
    path: PathBuf,
    /// Counted from 1; 0 when the whole file is meant.
    line: usize,
    what: String,
}

impl Offence {
    fn file(path: &Path, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: 0, what: what.into() }
    }

    fn line(path: &Path, index: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: index + 1, what: what.into() }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what } = self;
        match line {
            0 => write!(f, "{}: {what}", path.display()),
            line => write!(f, "{}:{line}: {what}", path.display()),
        }
    }
}

pub(crate) fn run() -> anyhow::Result<()> {
    let root = root();
    let packages = arrows::packages(&metadata()?)?;
    let mut offences = arrows::check(&packages);
    offences.extend(small::check(&tree(small::PACKAGE)?));
    for path in files(&root)? {
        let Some(kind) = Kind::of(&path) else {
            continue;
        };
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else {
            // Listed by git and deleted since, or a link that leads nowhere: nothing to read.
            continue;
        };
        offences.extend(match kind {
            Kind::Rust => source::check(&path, &text),
            Kind::Markdown => links::check(&path, &text, |target| root.join(target).exists()),
            Kind::Manifest => manifest::check(&path, &text),
        });
    }
    for offence in &offences {
        eprintln!("{offence}");
    }
    ensure!(offences.is_empty(), "{} offence(s) against the rules of the house", offences.len());
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Rust,
    Markdown,
    Manifest,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        if path.file_name().is_some_and(|name| name == "Cargo.toml") {
            return Some(Self::Manifest);
        }
        match path.extension()?.to_str()? {
            "rs" => Some(Self::Rust),
            "md" => Some(Self::Markdown),
            _ => None,
        }
    }
}

/// What `cargo metadata` says about the workspace's own packages. Fast: nothing is resolved.
fn metadata() -> anyhow::Result<String> {
    let output = cargo()
        .args(["metadata", "--format-version=1", "--no-deps"])
        .output()
        .context("cannot run `cargo metadata`")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("`cargo metadata` printed bytes that are not text")
}

/// What a package is built from, one name and version a line.
fn tree(package: &str) -> anyhow::Result<String> {
    let output = cargo()
        .args([
            "tree",
            "--locked",
            "--edges=normal,build",
            "--prefix=none",
            "--format={p}",
            "--package",
            package,
        ])
        .output()
        .context("cannot run `cargo tree`")?;
    ensure!(output.status.success(), "`cargo tree` failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("`cargo tree` printed bytes that are not text")
}

/// Every file that belongs to the project, new ones included, relative to its root.
fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("cannot run `git ls-files`")?;
    ensure!(output.status.success(), "`git ls-files` failed: {}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).context("a file's name is not text")?;
    Ok(listed.split_terminator('\0').map(PathBuf::from).collect())
}
