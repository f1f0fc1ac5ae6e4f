//! What a person is told of everything that a network or a registry can do wrong: the right status, one line, and nothing wrong stored.

use http::{Method, StatusCode};
use pier_oci::Digest;
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

#[test]
fn every_fault_of_a_push_that_stays_has_its_status_and_one_line() {
    let upload = |method| When::on(method, Kind::Upload);
    let manifest = || When::on(Method::PUT, Kind::Manifest);
    let denied = || Canned::error(StatusCode::FORBIDDEN, "DENIED");
    let error = || Canned::error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN");
    let busy = || Canned::too_many_requests(RetryAfter::Seconds(0));
    let store = Store::empty();
    let from = Remote::start();
    let name = from.push(&image(1), "app:1");
    assert_eq!(store.pier(&["pull", "--progress", "none", &name]).status, 0);
    let config = write(&store, "pier.toml", IMPATIENT);
    for (status, script) in [
        (5, Script::new().answer(upload(Method::POST), denied())),
        (5, Script::new().answer(upload(Method::POST), Canned::challenge("Basic realm=\"r\""))),
        (3, Script::new().answer(upload(Method::POST), error())),
        (3, Script::new().answer(upload(Method::POST), busy())),
        (3, Script::new().rule(upload(Method::POST), Fault::CutBefore)),
        (3, Script::new().rule(upload(Method::POST), Fault::StallHead)),
        (5, Script::new().rule(upload(Method::POST), Fault::WrongLocation("http://169.254.169.254/".into()))),
        (5, Script::new().answer(upload(Method::PUT), denied())),
        (3, Script::new().answer(upload(Method::PUT), Canned::html(StatusCode::BAD_GATEWAY))),
        (3, Script::new().rule(upload(Method::PUT), Fault::CutBefore)),
        (5, Script::new().answer(manifest(), denied())),
        (3, Script::new().answer(manifest(), error())),
        (3, Script::new().rule(manifest(), Fault::CutBefore)),
        (2, Script::new().answer(manifest(), Canned::error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID"))),
        (4, Script::new().rule(manifest(), Fault::LyingDigest(Digest::sha256(b"lie")))),
    ] {
        let to = Remote::scripted(script.clone());
        let there = to.name("app:1");
        let push = ["push", "--progress", "none", "--config", text(&config), &name, &there];
        let said = store.pier(&push);
        assert_eq!((said.status, said.stdout.as_str()), (status, ""), "{script:?}: {said:?}");
        let talk = |line: &&str| !line.contains(": waiting ");
        let lines: Vec<_> = said.stderr.lines().filter(talk).collect();
        assert!(lines[0].starts_with("error: "), "{script:?}: {said:?}");
        assert!(lines[1..].iter().all(|line| line.starts_with("hint: ")), "{script:?}: {said:?}");
        assert!(lines.len() <= 2 && !said.stderr.contains('<'), "{script:?}: {said:?}");

        to.proxy.set_script(Script::new());
        let said = store.pier(&push);
        assert_eq!(said.status, 0, "{script:?}: {said:?}");
    }
}

/// Nobody waits for hours, and nobody asks earlier than was wanted.
#[test]
fn a_registry_that_wants_to_be_left_alone_for_long_is_and_its_time_is_told() {
    let busy = Canned::too_many_requests(RetryAfter::Seconds(7200));
    let remote = Remote::scripted(Script::new().answer(When::get(Kind::Manifest), busy));
    let name = remote.push(&image(1), "app:1");
    let said = Store::empty().pier(&["pull", "--progress", "none", &name]);
    assert_eq!((said.status, said.stdout.as_str()), (3, ""), "{said:?}");
    assert!(said.stderr.ends_with(" or try again in 7200 s\n"), "{said:?}");
    let asked = remote.proxy.requests().iter().filter(|seen| seen.kind == Kind::Manifest).count();
    assert_eq!(asked, 1);
}
