//! What a person is told of everything that a network or a registry can do wrong: the right status, one line, and nothing wrong stored.

use http::StatusCode;
use pier_testkit::faults::{Canned, Fault, Kind, RetryAfter, Script, When};

use crate::pier::{Store, text, write};
use crate::remote::{Remote, image};

/// Few attempts, and short waits for what does not come.
const IMPATIENT: &str = "[client]\nattempts = 2\nanswer-timeout = \"400ms\"\nstall-timeout = \"400ms\"\n";

#[test]
fn every_fault_of_a_pull_that_stays_has_its_status_and_one_line() {
    let blob = || When::get(Kind::Blob);
    let manifest = || When::get(Kind::Manifest);
    let server_error = StatusCode::INTERNAL_SERVER_ERROR;
    for (status, script) in [
        (3, Script::new().rule(blob(), Fault::Truncate { after: 0 })),
        (4, Script::new().rule(blob(), Fault::Flip { at: 9 })),
        (4, Script::new().rule(blob(), Fault::TooLong { extra: 7 })),
        (4, Script::new().rule(blob(), Fault::WrongLength { by: 7 })),
        (4, Script::new().rule(blob(), Fault::WrongLength { by: -7 })),
        (3, Script::new().rule(blob(), Fault::Stall { after: 0 })),
        (3, Script::new().rule(manifest(), Fault::StallHead)),
        (3, Script::new().rule(blob(), Fault::CutBefore)),
        (3, Script::new().rule(manifest(), Fault::CutAfter)),
        (5, Script::new().rule(blob(), Fault::RedirectLoop)),
        (5, Script::new().answer(blob(), Canned::redirect("http://169.254.169.254/latest"))),
        (5, Script::new().answer(blob(), Canned::redirect("ftp://example.org/"))),
        (3, Script::new().answer(manifest(), Canned::error(server_error, "UNKNOWN"))),
        (3, Script::new().answer(blob(), Canned::html(StatusCode::BAD_GATEWAY))),
        (2, Script::new().answer(manifest(), Canned::html(StatusCode::OK))),
        (4, Script::new().answer(blob(), Canned::html(StatusCode::OK))),
        (1, Script::new().answer(manifest(), Canned::error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"))),
        (1, Script::new().answer(blob(), Canned::error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"))),
        (5, Script::new().answer(manifest(), Canned::error(StatusCode::FORBIDDEN, "DENIED"))),
        (5, Script::new().answer(manifest(), Canned::challenge("Basic realm=\"r\""))),
        (3, Script::new().answer(manifest(), Canned::too_many_requests(RetryAfter::Seconds(0)))),
    ] {
        let (store, remote) = (Store::empty(), Remote::scripted(script.clone()));
        let config = write(&store, "pier.toml", IMPATIENT);
        let name = remote.push(&image(1), "app:1");
        let said = store.pier(&["pull", "--progress", "none", "--config", text(&config), &name]);
        assert_eq!((said.status, said.stdout.as_str()), (status, ""), "{script:?}: {said:?}");
        let talk = |line: &&str| !line.contains(": waiting ");
        let lines: Vec<_> = said.stderr.lines().filter(talk).collect();
        assert!(lines[0].starts_with("error: "), "{script:?}: {said:?}");
        assert!(lines[1..].iter().all(|line| line.starts_with("hint: ")), "{script:?}: {said:?}");
        assert!(lines.len() <= 2, "{script:?}: {said:?}");
        assert!(!said.stderr.contains('<'), "{script:?}: {said:?}");
        assert_eq!(store.pier(&["fsck"]).status, 0, "{script:?}");

        remote.proxy.set_script(Script::new());
        let said = store.pier(&["pull", "--progress", "none", &name]);
        assert_eq!(said.status, 0, "{script:?}: {said:?}");
    }
}
