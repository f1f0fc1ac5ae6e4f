//! `pier completions`

use std::process::Command;

use crate::pier::{command, run};

#[test]
fn scripts_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&mut command(&["completions", shell])).data(0);
        for word in ["resolve", "max-age", "completions"] {
            assert!(script.contains(word), "`{shell}` lacks `{word}`");
        }
    }
    assert_eq!(run(&mut command(&["completions", "tcsh"])).status, 2);
}

#[test]
fn bash_takes_the_script() {
    let script = run(&mut command(&["completions", "bash"])).data(0);
    let check = format!(
        "{script}\nCOMP_WORDS=(pier reso); COMP_CWORD=1; _pier pier reso pier; echo \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash").args(["--norc", "-c", &check]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "resolve\n");
}
