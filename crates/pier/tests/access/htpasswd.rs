//! `pier htpasswd`: lines that a server reads.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use crate::server::{PIER, Site};

#[track_caller]
fn htpasswd(arguments: &[&str], password: &str) -> Output {
    let mut child = Command::new(PIER)
        .arg("htpasswd")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that reads nothing may be gone already.
    drop(child.stdin.take().unwrap().write_all(password.as_bytes()));
    child.wait_with_output().unwrap()
}

#[track_caller]
fn line(arguments: &[&str], password: &str) -> String {
    let output = htpasswd(arguments, password);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn whoever_has_a_line_can_log_in() {
    let long = "p".repeat(100);
    let lines = [
        line(&["alice"], "hunter2\n"),
        line(&["bob", "--scheme", "argon2id"], "tr0ub4dor"),
        line(&["carol", "--scheme", "argon2id"], &long),
    ];
    assert!(
        lines[0].starts_with("alice:$2y$10$") && lines[1].starts_with("bob:$argon2id$v=19$"),
        "{lines:?}"
    );
    let site = Site::new();
    site.write("htpasswd", &lines.concat());
    let server = site.serve("--htpasswd @htpasswd");
    for (name, password) in [("alice", "hunter2"), ("bob", "tr0ub4dor"), ("carol", &*long)] {
        assert_eq!(server.status_as(name, password, "GET /v2/"), 200, "{name}");
        assert_eq!(server.status_as(name, &format!("{password}x"), "GET /v2/"), 401, "{name}");
    }
    assert_eq!(server.status_as("carol", &long[1..], "GET /v2/"), 401);
}

/// What is said of a name that no user may have.
const NAME: &str = "error: a user's name is not empty, has no colon and no control characters in it, and does not begin with `#`\n";

#[test]
fn what_nobody_could_log_in_with_is_refused() {
    let long = "p".repeat(73);
    for (arguments, password, said) in [
        (&["alice"][..], "\n", "error: the password is empty\n"),
        (&["a:b"], "x", NAME),
        (&[""], "x", NAME),
        (&["#a"], "x", NAME),
        (&["a\nb"], "x", NAME),
        (
            &["alice"],
            &*long,
            "error: bcrypt looks at 72 bytes of a password, and this one has more\n\
             hint: say `--scheme argon2id`, which looks at all of them\n",
        ),
    ] {
        let output = htpasswd(arguments, password);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{arguments:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), said);
    }
}
