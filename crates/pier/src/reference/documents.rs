//! What the documents tell people to type: every `pier …` in them is a command line that the parser takes.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;

use super::in_workspace;
use crate::cli::Cli;

#[test]
fn every_command_in_the_documents_can_be_typed() {
    let mut checked = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for line in command_lines(&text) {
            if let Err(error) = Cli::try_parse_from(line.split_whitespace()) {
                panic!("`{line}` in `{}`: {error}", document.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} command lines were found");
}

#[test]
fn command_lines_are_found() {
    let text = "pier no\n```sh\npier a b   # why\npier c &\n```\n```console\n$ pier d\npier said\n```\n```text\npier e\n```\n";
    assert_eq!(command_lines(text), ["pier a b", "pier c", "pier d"]);
}

fn documents() -> Vec<PathBuf> {
    let mut documents = vec![in_workspace("README.md")];
    markdown(&in_workspace("docs"), &mut documents);
    documents
}

fn markdown(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            markdown(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// In scripts every line, in transcripts what stands behind the prompt; without comments and what the shell takes.
fn command_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut language = None;
    for line in text.lines() {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            language = if language.is_none() { Some(fence) } else { None };
            continue;
        }
        let typed = match language {
            Some("sh") => line.trim_start(),
            Some("console") => line.strip_prefix("$ ").unwrap_or_default(),
            _ => continue,
        };
        if typed.starts_with("pier ") {
            lines.push(typed.split([';', '|', '&', '#', '>']).next().unwrap_or(typed).trim_end());
        }
    }
    lines
}
