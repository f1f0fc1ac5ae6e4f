//! Names of users, passwords and headers reach no log, whatever its level.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::server::{ALICE, LIMIT, Site, basic};

#[test]
fn no_log_has_a_word_about_anybody() {
    let site = Site::new();
    site.write("htpasswd", &ALICE.replace("alice", "wonderland-user"));
    let mut server = site.serve_logging("trace", "--htpasswd @htpasswd");
    let mut said = vec!["wonderland-user".to_owned(), "hunter2".to_owned()];
    for (name, password) in
        [("wonderland-user", "hunter2"), ("wonderland-user", "wrong-secret"), ("stranger-danger", "hunter2")]
    {
        server.status_as(name, password, "GET /v2/");
        server.status_as(name, password, "PUT /v2/app/manifests/1");
        said.extend([name, password].map(str::to_owned));
        said.push(STANDARD.encode(format!("{name}:{password}")));
    }
    server.ask("GET /v2/", &[("Authorization", "Bearer token-of-somebody")], b"");
    said.push("token-of-somebody".to_owned());
    site.write("htpasswd", "wonderland-user:in-the-clear\n");
    said.push("in-the-clear".to_owned());
    server.process.hang_up().unwrap();
    server.process.wait_for_stderr("line 1", LIMIT).unwrap();
    server.process.terminate(LIMIT).unwrap();
    let log = server.process.stderr();
    assert!(log.contains("stopped") && log.contains("DEBUG"), "this is no log at that level: {log}");
    for secret in said {
        assert!(!log.contains(&secret), "`{secret}` is in the log");
    }
    assert!(!log.contains(basic("", "").trim_end_matches('=')), "a header is in the log");
}
