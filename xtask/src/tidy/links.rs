//! Links in documents that lead to files of ours.

use std::path::{Component, Path, PathBuf};

use super::Offence;

/// Every link to a file that `exists` denies. Links to elsewhere and within the page are not followed.
pub(super) fn check(path: &Path, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<Offence> {
    let mut offences = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for target in targets(line).filter(|target| is_local(target)) {
            let file = target.split(['#', '?']).next().unwrap_or(target);
            if !resolve(path, file).is_some_and(|file| exists(&file)) {
                offences.push(Offence::line(path, index, format!("the link `{target}` leads nowhere")));
            }
        }
    }
    offences
}

/// What stands in `](…)`, and after a `[name]:` at the start of a line; a title behind it is left out.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let reference = line.strip_prefix('[').and_then(|rest| rest.split_once("]:")).map(|(_, target)| target);
    inline.chain(reference).filter_map(|target| target.split_whitespace().next())
}

fn is_local(target: &str) -> bool {
    !target.starts_with('#') && !target.contains("://") && !target.starts_with("mailto:")
}

/// The file relative to the workspace; none when the link climbs out of it.
fn resolve(document: &Path, target: &str) -> Option<PathBuf> {
    let mut resolved = document.parent().unwrap_or(Path::new("")).to_owned();
    for component in Path::new(target).components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::CurDir => {}
            Component::ParentDir if resolved.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_text(text: &str, expected: &[&str]) {
        let exists = |path: &Path| ["README.md", "docs", "docs/pull.md"].map(Path::new).contains(&path);
        let found: Vec<_> =
            check(Path::new("docs/a.md"), text, exists).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn follows_links_to_files() {
        check_text("See [a](pull.md), [b](../README.md#top \"Title\") and [c](../docs).", &[]);
        check_text("\n[a](gone.md) and [b](pull.md)", &["docs/a.md:2: the link `gone.md` leads nowhere"]);
        check_text("[a]: gone.md#x", &["docs/a.md:1: the link `gone.md#x` leads nowhere"]);
        check_text("[a](../../README.md)", &["docs/a.md:1: the link `../../README.md` leads nowhere"]);
        check_text("[a](/README.md)", &["docs/a.md:1: the link `/README.md` leads nowhere"]);
    }

    #[test]
    fn leaves_the_rest_alone() {
        check_text("[a](https://example.com/x.md) [b](#there) [c](mailto:a@example.com)", &[]);
        check_text("```\n[a](gone.md)\n```\n", &[]);
    }
}
