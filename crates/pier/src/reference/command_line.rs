//! `docs/reference/cli.md`, from the parser of the command line.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use super::{check_page, title};
use crate::cli::Cli;

#[test]
fn the_page_about_the_command_line_is_true() {
    check_page("docs/reference/cli.md", &page());
}

fn page() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut page = title("Command line", "`crates/pier/src/cli.rs`");
    page.push_str(
        "\nData goes to standard output and everything else to standard error. How a command ends is told by its\n\
         [exit status](exit-status.md). A flag goes before its environment variable, which goes before\n\
         [`pier.toml`](config.md), which goes before the default.\n\n",
    );
    for (name, command) in commands(&cli) {
        let _ = writeln!(page, "- [`pier {name}`](#pier-{}): {}", name.replace(' ', "-"), about(command));
    }
    page.push_str("\n## Options of every command\n\n");
    page.push_str(&table(cli.get_arguments()));
    for (name, command) in commands(&cli) {
        let _ = write!(page, "\n## pier {name}\n\n{}.\n\n", about(command));
        let usage = command.clone().render_usage().to_string();
        let _ = write!(page, "```text\n{}\n```\n", usage.trim_start_matches("Usage: "));
        let is_own = |argument: &&Arg| cli.get_arguments().all(|other| other.get_id() != argument.get_id());
        let own: Vec<&Arg> = command.get_arguments().filter(is_own).collect();
        if own.iter().any(|argument| is_shown(argument)) {
            page.push('\n');
            page.push_str(&table(own.into_iter()));
        }
    }
    page
}

/// Those that people type, with their whole names, without clap's own `help`. Of a command that only has others only
/// those are listed.
fn commands(cli: &Command) -> Vec<(String, &Command)> {
    let is_typed = |command: &&Command| command.get_name() != "help" && !command.is_hide_set();
    let mut found = Vec::new();
    for command in cli.get_subcommands().filter(is_typed) {
        let name = command.get_name();
        let below: Vec<_> = command.get_subcommands().filter(is_typed).collect();
        if below.is_empty() {
            found.push((name.to_owned(), command));
        }
        found.extend(below.into_iter().map(|below| (format!("{name} {}", below.get_name()), below)));
    }
    found
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn is_shown(argument: &Arg) -> bool {
    !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let mut table = "| option | environment | meaning |\n|---|---|---|\n".to_owned();
    for argument in arguments.filter(|argument| is_shown(argument)) {
        let variable =
            argument.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
        let _ = writeln!(table, "| `{}` | {variable} | {} |", as_typed(argument), meaning(argument));
    }
    table
}

/// `--listen <ADDR>`, `--json`, `<REF>...`.
fn as_typed(argument: &Arg) -> String {
    // A cell of a table ends at a bar, and between backticks nothing can be escaped but this.
    argument.to_string().replace('|', "\\|")
}

fn meaning(argument: &Arg) -> String {
    let mut meaning = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
    let values: Vec<String> =
        argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    // A switch takes `true` and `false`, and nobody types them.
    if argument.get_action().takes_values() && !values.is_empty() {
        let _ = write!(meaning, ": {}", values.join(" or "));
    }
    meaning
}
