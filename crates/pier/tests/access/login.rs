//! Logins: who is let in, and what is said to the others.

use std::fs;

use crate::server::{ALICE, LIMIT, Reply, Site, basic};

const USERS: &str = "--htpasswd @htpasswd";

#[test]
fn nobody_gets_in_without_a_login() {
    let site = Site::new();
    let server = site.serve(USERS);
    for request in [
        "GET /v2/",
        "HEAD /v2/",
        "GET /v2/_catalog",
        "GET /v2/app/manifests/1",
        "GET /v2/app/tags/list",
        "PUT /v2/app/manifests/1",
        "POST /v2/app/blobs/uploads/",
        "DELETE /v2/app/manifests/1",
        "GET /v2/no/such/end-point",
        "GET /elsewhere",
    ] {
        let reply = server.ask(request, &[], b"");
        assert_eq!(reply.status, 401, "{request}");
        assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"pier\""), "{request}");
        if !request.starts_with("HEAD") {
            assert_eq!(reply.code(), "UNAUTHORIZED", "{request}");
        }
    }
    assert_eq!(server.status_as("alice", "hunter2", "GET /v2/"), 200);
    assert_eq!(server.status_as("alice", "hunter2", "POST /v2/app/blobs/uploads/"), 202);
    for (name, password) in
        [("alice", "hunter3"), ("alice", ""), ("bob", "hunter2"), ("Alice", "hunter2"), ("", "")]
    {
        assert_eq!(server.status_as(name, password, "GET /v2/"), 401, "{name}");
    }
    for malformed in ["Basic", "Basic !", "Bearer abc", "Digest x"] {
        assert_eq!(server.ask("GET /v2/", &[("Authorization", malformed)], b"").status, 401, "{malformed}");
    }
}

#[test]
fn everybody_pulls_where_that_is_allowed_and_nobody_writes() {
    let site = Site::new();
    let server = site.serve("--htpasswd @htpasswd --anonymous-pull");
    for (request, status) in [
        ("GET /v2/app/manifests/1", 404),
        ("GET /v2/app/tags/list", 404),
        ("HEAD /v2/app/manifests/1", 404),
        ("GET /v2/", 401),
        ("GET /v2/_catalog", 401),
        ("PUT /v2/app/manifests/1", 401),
        ("POST /v2/app/blobs/uploads/", 401),
        ("DELETE /v2/app/manifests/1", 401),
    ] {
        assert_eq!(server.ask(request, &[], b"").status, status, "{request}");
        // What clients say that have no credentials and were asked for some.
        assert_eq!(server.status_as("", "", request), status, "{request}");
        assert_eq!(server.status_as("alice", "wrong", request), 401, "{request}");
    }
    assert_eq!(server.status_as("alice", "hunter2", "GET /v2/_catalog"), 200);
}

#[test]
fn the_file_is_read_again_when_it_changes() {
    let site = Site::new();
    let server = site.serve(USERS);
    let bob = ALICE.replace("alice", "bob");
    assert_eq!(server.status_as("bob", "hunter2", "GET /v2/"), 401);
    // Nobody says anything: the server looks by itself.
    site.write("htpasswd", &format!("{bob}\n"));
    server.process.wait_for_stderr("read again", LIMIT).unwrap();
    assert_eq!(server.status_as("bob", "hunter2", "GET /v2/"), 200);
    assert_eq!(server.status_as("alice", "hunter2", "GET /v2/"), 401);

    site.write("htpasswd", &format!("{bob}\nalice:hunter2\n"));
    server.process.hang_up().unwrap();
    server
        .process
        .wait_for_stderr("line 2: the password is kept as DES, or not hashed at all", LIMIT)
        .unwrap();
    assert_eq!(server.status_as("bob", "hunter2", "GET /v2/"), 200);
    assert_eq!(server.status_as("alice", "hunter2", "GET /v2/"), 401);
    fs::remove_file(site.path("htpasswd")).unwrap();
    server.process.hang_up().unwrap();
    server.process.wait_for_stderr("cannot be read any more", LIMIT).unwrap();
    assert_eq!(server.status_as("bob", "hunter2", "GET /v2/"), 200);
}

#[test]
fn a_file_that_cannot_be_used_is_refused() {
    let site = Site::new();
    site.write("weak", "alice:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\n");
    assert_eq!(
        site.refused("--htpasswd @weak"),
        "error: `weak`, line 1: the password is kept as Apache's MD5, and only bcrypt and argon2id are taken\n\
         hint: `pier htpasswd USER` prints a line for a user\n"
    );
    assert_eq!(
        site.refused("--htpasswd @missing"),
        "error: cannot read the htpasswd file `missing`: No such file or directory (os error 2)\n\
         hint: check the path; relative ones start where `pier` was started\n"
    );
}

#[test]
fn a_password_is_verified_once_and_not_a_thousand_times() {
    let site = Site::new();
    // A quarter of a second each, and more in a debug build.
    site.write("htpasswd", "alice:$2b$12$r5MVC4Stz6yLMsNFyrTM9.Nwapj/0NPq8dRPpC9h5NHKZTwwV5vce\n");
    let server = site.serve(USERS);
    assert_eq!(server.status_as("alice", "hunter2", "GET /v2/"), 200);
    let before = server.process.cpu_seconds().unwrap();
    let alice = basic("alice", "hunter2");
    for _ in 0..400 {
        assert_eq!(server.ask("GET /v2/", &[("Authorization", &alice)], b"").status, 200);
    }
    let spent = server.process.cpu_seconds().unwrap() - before;
    assert!(spent < 5.0, "400 requests took {spent} s");
}

#[test]
fn whoever_guesses_is_made_to_wait_and_others_are_not() {
    let site = Site::new();
    let bob = ALICE.replace("alice", "bob");
    site.write("htpasswd", &format!("{ALICE}\n{bob}\n"));
    let server = site.serve(USERS);
    // Somebody who logged in before the guessing began goes on.
    assert_eq!(server.status_as("alice", "hunter2", "GET /v2/"), 200);
    let answers: Vec<u16> =
        (0..20).map(|guess| server.status_as("alice", &format!("guess {guess}"), "GET /v2/")).collect();
    assert_eq!(answers[..10], [401; 10]);
    assert!(answers.contains(&429), "{answers:?}");
    let reply = server.ask("GET /v2/", &[("Authorization", &basic("alice", "another"))], b"");
    assert_eq!((reply.status, reply.code().as_str()), (429, "TOOMANYREQUESTS"));
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(server.status_as("alice", "hunter2", "GET /v2/"), 200);
    assert_eq!(server.status_as("bob", "hunter2", "GET /v2/"), 200);
}

#[test]
fn behind_a_proxy_on_this_machine_whoever_guesses_locks_nobody_else_out() {
    let site = Site::new();
    let server = site.serve(USERS);
    let guess = |from: &str, password: &str| {
        let login = basic("alice", password);
        server.ask("GET /v2/", &[("Authorization", &login), ("X-Forwarded-For", from)], b"").status
    };
    // Only what the proxy has added counts, which is the last.
    let answers: Vec<u16> = (0..20)
        .map(|number| guess(&format!("198.51.100.{number}, 203.0.113.7"), &format!("guess {number}")))
        .collect();
    assert_eq!(answers[..10], [401; 10]);
    assert!(answers.contains(&429), "{answers:?}");
    assert_eq!(guess("203.0.113.7", "another"), 429);
    assert_eq!(guess("203.0.113.7, 203.0.113.8", "hunter2"), 200);
}

#[test]
fn whoever_is_refused_hears_so_and_the_log_has_the_same_name_for_it() {
    let site = Site::new();
    let (mut guarded, mut open) = (site.serve(USERS), site.serve(""));
    // More than a connection's buffers take while nobody reads.
    let layer = vec![7; 1_000_000];
    let (foreign, wrong) = ([("Origin", "http://evil.example")], basic("alice", "wrong"));
    let mut replies = vec![
        (401, guarded.ask("PUT /v2/app/manifests/1", &[], &layer)),
        (401, guarded.ask("GET /v2/", &[("Authorization", &wrong)], b"")),
        (403, guarded.ask("POST /v2/app/blobs/uploads/", &foreign, &layer)),
    ];
    for number in 0..20 {
        let reply = guarded.ask("GET /v2/", &[("Authorization", &basic("alice", &number.to_string()))], b"");
        if reply.status == 429 {
            replies.push((429, reply));
            break;
        }
    }
    assert_eq!(replies.len(), 4);
    let misdirected = open.ask("PUT http://evil.example/v2/app/manifests/1", &[], &layer);
    guarded.process.terminate(LIMIT).unwrap();
    open.process.terminate(LIMIT).unwrap();
    let has_line = |log: &str, status: u16, reply: &Reply| {
        assert_eq!(reply.status, status);
        let (id, status) =
            (format!("id=\"{}\"", reply.header("x-request-id").unwrap()), format!("status={status}"));
        assert!(log.lines().any(|line| line.contains(&id) && line.contains(&status)), "{id} {status}\n{log}");
    };
    for (status, reply) in &replies {
        has_line(&guarded.process.stderr(), *status, reply);
    }
    has_line(&open.process.stderr(), 421, &misdirected);
}

#[test]
fn to_be_asked_to_log_in_is_no_news() {
    let site = Site::new();
    let mut server = site.serve(USERS);
    assert_eq!(server.ask("GET /v2/", &[], b"").status, 401);
    server.process.terminate(LIMIT).unwrap();
    let log = server.process.stderr();
    assert!(!log.contains("refused"), "{log}");
}
