//! `docs/reference/config.md`, from `examples/pier.toml`, which is written by hand and held to the code here: it has
//! every key that the code knows and no other, and every value in it is the default.

use std::{fmt::Write as _, fs};

use clap::{Arg, Command, CommandFactory as _};

use super::{check_page, in_workspace, title};
use crate::{cli::Cli, config::File};

const EXAMPLE: &str = "examples/pier.toml";

/// One key of the example.
struct Key {
    /// `None` for those at the top.
    section: Option<String>,
    /// The comment above the section.
    about: String,
    name: String,
    value: String,
    presence: Presence,
    /// The comment above it.
    meaning: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// The value is what holds without the key.
    Default,
    /// Behind a `#`: there is no default, and the value is an example.
    Example,
}

#[test]
fn the_page_about_the_configuration_is_true() {
    let keys = keys(&example());
    check_page("docs/reference/config.md", &page(&keys));
}

#[test]
fn the_example_is_what_holds_without_it() {
    let example = File::parse(&example()).unwrap();
    assert_eq!(format!("{example:#?}"), format!("{:#?}", File::default()));
}

#[test]
fn the_example_has_every_key_that_there_is() {
    let keys = keys(&example());
    let sections = ["serve", "store", "log", "client", r#"registries."registry.corp.example:5000""#];
    for section in [None].into_iter().chain(sections.map(Some)) {
        let mut named: Vec<&str> = keys
            .iter()
            .filter(|key| key.section.as_deref() == section)
            .map(|key| key.name.as_str())
            .chain(sections.into_iter().filter(|_| section.is_none()).map(first_part))
            .collect();
        named.sort_unstable();
        assert_eq!(named, known(section), "in {section:?}");
    }
}

#[test]
fn what_the_example_has_behind_a_number_sign_is_right_too() {
    for key in keys(&example()).iter().filter(|key| key.presence == Presence::Example) {
        let section = key.section.as_ref().map(|section| format!("[{section}]\n")).unwrap_or_default();
        File::parse(&format!("{section}{} = {}\n", key.name, key.value)).unwrap();
    }
}

fn example() -> String {
    fs::read_to_string(in_workspace(EXAMPLE)).unwrap()
}

/// Every name that the code takes, as it says itself when it is given another.
fn known(section: Option<&str>) -> Vec<String> {
    let header = section.map(|section| format!("[{section}]\n")).unwrap_or_default();
    let said = File::parse(&format!("{header}no-such-key = 1\n")).unwrap_err().to_string();
    let (_, names) = said.split_once("expected ").unwrap();
    let mut names: Vec<String> = names.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    names.sort_unstable();
    names
}

/// The section that has all sections of a name with dots.
fn first_part(section: &str) -> &str {
    section.split('.').next().unwrap_or(section)
}

fn keys(example: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut section = None;
    let mut about = String::new();
    let mut meaning = String::new();
    for line in example.lines() {
        let (line, presence) = match line.strip_prefix("#") {
            Some(rest) if rest.contains(" = ") && !rest.starts_with(' ') => (rest, Presence::Example),
            // A section that has no keys without being named.
            Some(rest) if rest.starts_with('[') => (rest, Presence::Example),
            _ => (line, Presence::Default),
        };
        if let Some(comment) = line.strip_prefix('#') {
            meaning.push_str(if meaning.is_empty() { "" } else { " " });
            meaning.push_str(comment.trim());
        } else if let Some(name) = line.strip_prefix('[') {
            section = Some(name.trim_end_matches(']').to_owned());
            about = std::mem::take(&mut meaning);
        } else if let Some((name, value)) = line.split_once(" = ") {
            let meaning = std::mem::take(&mut meaning);
            let (section, name, value) = (section.clone(), name.to_owned(), value.to_owned());
            keys.push(Key { section, about: about.clone(), name, value, presence, meaning });
        } else {
            // An empty line ends a comment that is about no key.
            meaning.clear();
        }
    }
    keys
}

fn page(keys: &[Key]) -> String {
    let mut page = title("Configuration", "`examples/pier.toml`");
    page.push_str(
        "\nPier needs no configuration. `--config FILE` or `PIER_CONFIG` names a file in [TOML](https://toml.io); there is no\n\
         place where one is looked for. A flag goes before its environment variable, which goes before the file, which\n\
         goes before the default. A key that is not known is an error, so a typing error is not a silent default.\n\n\
         [`examples/pier.toml`](../../examples/pier.toml) has every key with its default. Durations are written `90s`, `5m`,\n\
         `24h`, `7days`. Relative paths start at the folder in which `pier` is run.\n",
    );
    let cli = Cli::command();
    let mut section = Some("");
    for key in keys {
        if key.section.as_deref() != section {
            section = key.section.as_deref();
            let heading = section.map_or("At the top".to_owned(), |section| format!("`[{section}]`"));
            let about = if key.about.is_empty() { String::new() } else { format!("{}\n\n", key.about) };
            let _ = write!(
                page,
                "\n## {heading}\n\n{about}| key | default | flag | environment | meaning |\n|---|---|---|---|---|\n"
            );
        }
        let default = match key.presence {
            Presence::Default => format!("`{}`", key.value),
            Presence::Example => format!("none; such as `{}`", key.value),
        };
        let flag = flag(&cli, key);
        let typed = flag.and_then(Arg::get_long).map(|long| format!("`--{long}`")).unwrap_or_default();
        let variable =
            flag.and_then(Arg::get_env).map(|name| format!("`{}`", name.display())).unwrap_or_default();
        let Key { name, meaning, .. } = key;
        let _ = writeln!(page, "| `{name}` | {default} | {typed} | {variable} | {meaning} |");
    }
    page
}

/// The flag that stands for a key: one of its name, with its section before it if that is not a command, or the
/// section's own.
fn flag<'a>(cli: &'a Command, key: &Key) -> Option<&'a Arg> {
    let section = key.section.as_deref().unwrap_or_default();
    let command = match first_part(section) {
        // All commands that talk to registries have these.
        "client" | "registries" => "pull",
        section => section,
    };
    let command = cli.find_subcommand(command).unwrap_or(cli);
    let prefixed = format!("{section}-{}", key.name);
    [key.name.as_str(), &prefixed, section]
        .into_iter()
        .find_map(|name| command.get_arguments().find(|argument| argument.get_long() == Some(name)))
}
