//! Help, and what is said about a command line that makes no sense.

use crate::pier::{Said, command, run};

const COMMANDS: [&str; 23] = [
    "serve",
    "pull",
    "push",
    "copy",
    "resolve",
    "inspect",
    "verify",
    "approve",
    "manifest",
    "tags",
    "catalog",
    "referrers",
    "delete",
    "history",
    "images",
    "rm",
    "prune",
    "fsck",
    "login",
    "logout",
    "testdata",
    "htpasswd",
    "completions",
];

fn pier(arguments: &[&str]) -> Said {
    run(&mut command(arguments))
}

#[test]
fn the_program_and_every_command_explain_themselves_on_stdout() {
    let said = pier(&["--help"]).data(0);
    assert!(said.starts_with("Container images where they have to be, by digest\n\nUsage: pier "), "{said}");
    for command in COMMANDS {
        let line = said.lines().find(|line| line.trim_start().starts_with(command)).unwrap();
        let about = line.trim_start().strip_prefix(command).unwrap().trim_start();
        let own = pier(&[command, "--help"]).data(0);
        assert!(own.starts_with(&format!("{about}\n\nUsage: pier {command} ")), "{own}");
        assert_eq!(pier(&["help", command]).data(0), own);
        for option in ["--data <DIR>", "--config <FILE>", "--json", "--log <LEVEL>", "--log-format <FORMAT>"]
        {
            assert!(own.contains(option), "`pier {command} --help` lacks {option}");
        }
    }
}

#[test]
fn every_command_tells_the_version() {
    let version = format!("{}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(pier(&["--version"]).data(0), format!("pier {version}"));
    for command in COMMANDS {
        assert_eq!(pier(&[command, "--version"]).data(0), format!("pier-{command} {version}"));
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused_and_explained() {
    for (arguments, expected) in [
        (
            &["prun"][..],
            "error: unrecognized subcommand 'prun'\n\n  tip: a similar subcommand exists: 'prune'\n",
        ),
        (
            &["images", "--digest"],
            "error: unexpected argument '--digest' found\n\n  tip: a similar argument exists: '--digests'\n",
        ),
        (&["rm"], "error: the following required arguments were not provided:\n  <REF>...\n"),
        (
            &["serve", "--listen", "localhost:5000"],
            "error: invalid value 'localhost:5000' for '--listen <ADDR>': `localhost:5000` is not an IP address with a \
             port such as `127.0.0.1:5000` or `[::1]:5000`\n",
        ),
        (
            &["serve", "--drain-timeout", "soon"],
            "error: invalid value 'soon' for '--drain-timeout <DURATION>': ",
        ),
        (&["images", "--log-format", "xml"], "error: invalid value 'xml' for '--log-format <FORMAT>'\n"),
    ] {
        let said = pier(arguments);
        assert_eq!((said.status, said.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(said.stderr.starts_with(expected), "{arguments:?}: {}", said.stderr);
    }
}

#[test]
fn without_a_command_the_help_is_talk() {
    let said = pier(&[]);
    assert_eq!((said.status, said.stdout), (2, String::new()));
    assert_eq!(said.stderr, pier(&["-h"]).data(0));
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let said = pier(&["images", "--log", "loud=very"]);
    assert_eq!((said.status, said.stdout.as_str()), (2, ""));
    assert!(said.stderr.starts_with("error: `loud=very` is not a log level or filter: "), "{}", said.stderr);
    assert!(said.stderr.ends_with("\nhint: use error, warn, info, debug or trace\n"), "{}", said.stderr);
}

#[test]
fn the_help_of_commands_that_talk_to_registries() {
    for command in [
        "pull",
        "push",
        "copy",
        "resolve",
        "inspect",
        "verify",
        "approve",
        "manifest",
        "tags",
        "catalog",
        "referrers",
        "history",
        "delete",
        "login",
        "logout",
    ] {
        insta::assert_snapshot!(format!("help_{command}"), pier(&[command, "--help"]).data(0));
    }
}
