//! Helpers as programs: those that answer, hang, flood, fail and lie.

use std::ffi::OsString;

use futures_util::FutureExt as _;

use super::*;
use crate::credentials::files::tests::install;

/// A folder with one helper, a shell script.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(script: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        install(&folder.path("docker-credential-test"), &format!("#!/bin/sh\n{script}\n"));
        folder
    }

    fn helpers(&self) -> Helpers {
        Helpers::new(Some(self.0.path().into()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn get(&self) -> Result<Option<Credential>> {
        self.helpers().get(&helper(), "r.io").await
    }
}

fn helper() -> HelperName {
    "test".parse().unwrap()
}

#[track_caller]
fn reason<T: fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::Credentials { place, reason }) => {
            assert_eq!(place, "credential helper `docker-credential-test`");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_helper_is_asked_by_its_input() {
    let script = r#"
        [ "$#:$1" = "1:get" ] || exit 9
        echo "{\"ServerURL\":\"$(cat)\",\"Username\":\"alice\",\"Secret\":\"s:ecret\"}""#;
    let found = Folder::with(script).get().await.unwrap();
    let password = Secret::new("s:ecret");
    assert_eq!(found, Some(Credential::Basic { username: "alice".to_owned(), password }));
}

#[tokio::test]
async fn a_helper_may_know_a_token_or_nothing() {
    for (script, expected) in [
        (
            r#"echo '{"Username":"<token>","Secret":"refresh"}'"#,
            Some(Credential::IdentityToken { username: "<token>".to_owned(), token: Secret::new("refresh") }),
        ),
        (
            r#"echo '{"Username":"","Secret":"s"}'"#,
            Some(Credential::Basic { username: String::new(), password: Secret::new("s") }),
        ),
        (r#"echo '{"Username":"","Secret":""}'"#, None),
        ("echo 'credentials not found in native keychain'; exit 1", None),
        ("echo 'Error: Credentials not found' >&2; exit 1", None),
        // It need not even read what it is asked.
        ("exec <&-; echo '{}' | sed 's/{}/{\"Username\":\"\"}/'", None),
    ] {
        assert_eq!(Folder::with(script).get().await.unwrap(), expected, "{script}");
    }
}

#[tokio::test]
async fn s23_a_helper_that_fails_is_an_error_and_not_nobody() {
    for (script, expected) in [
        ("echo 'no session' >&2; exit 3", "it fails with exit status: 3: no session"),
        ("echo; echo 'gone'; echo 'more' >&2; exit 1", "it fails with exit status: 1: gone"),
        ("exit 1", "it fails with exit status: 1"),
        ("kill -9 $$", "it fails with signal: 9 (SIGKILL)"),
        ("true", "what it prints cannot be used: it is nothing"),
        ("echo '{}'", "what it prints cannot be used: it is nothing"),
        ("echo 'Username: alice'", "what it prints cannot be used: it is not a JSON object"),
        (r#"echo '{"Username":"alice"}'"#, "what it prints cannot be used: `Secret` is missing"),
        (r#"echo '{"Username":7,"Secret":"s"}'"#, "what it prints cannot be used: `Username` is not a text"),
        (r"printf '\377'", "it prints what is not UTF-8"),
    ] {
        assert_eq!(reason(Folder::with(script).get().await), expected, "{script}");
    }
}

#[tokio::test]
async fn s23_a_helper_that_is_missing_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = "there is no such program in the folders of `PATH`";
    std::fs::write(folder.path().join("docker-credential-test"), "not a program").unwrap();
    assert_eq!(reason(Helpers::new(Some(folder.path().into())).get(&helper(), "r.io").await), missing);
    assert_eq!(reason(Helpers::new(None).get(&helper(), "r.io").await), missing);
    // The folder in which one happens to be is no place to look for programs.
    assert_eq!(reason(Helpers::new(Some(OsString::from(".:"))).get(&helper(), "r.io").await), missing);
}

#[tokio::test]
async fn the_first_folder_that_has_a_helper_counts() {
    let (empty, first) = (tempfile::tempdir().unwrap(), Folder::with("echo '{\"Secret\":\"1\"}'"));
    let second = Folder::with("echo '{\"Secret\":\"2\"}'");
    let path = std::env::join_paths([empty.path(), first.0.path(), second.0.path()]).unwrap();
    let found = Helpers::new(Some(path)).get(&helper(), "r.io").await.unwrap().unwrap();
    assert_eq!(found.secret().expose(), "1");
}

/// Time stands still but for waits that nothing else ends, so the bound of half a minute passes at once.
#[tokio::test(start_paused = true)]
async fn s22_a_helper_that_hangs_is_ended_with_all_that_it_started() {
    let folder = Folder::with("cd \"${0%/*}\"; sleep 1000 & echo $$ $! > pids.new; mv pids.new pids; wait");
    let helpers = folder.helpers();
    let test = helper();
    let get = helpers.get(&test, "r.io");
    tokio::pin!(get);
    // While something is to be done, the clock stands still: the helper starts its child well within its time.
    let pids = loop {
        assert!((&mut get).now_or_never().is_none());
        if let Ok(pids) = std::fs::read_to_string(folder.path("pids")) {
            break pids;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(reason(get.await), "it did not answer `get` in 30 s and was ended");
    for pid in pids.split_whitespace() {
        assert_gone(pid);
    }
}

/// Waits for a process to be gone, or to be a zombie that only waits for its parent.
fn assert_gone(pid: &str) {
    let status = || std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    while status().is_some_and(|status| !status.contains(") Z ")) {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn s22_a_helper_that_nobody_waits_for_any_more_is_ended() {
    let folder = Folder::with("cd \"${0%/*}\"; echo $$ > pids.new; mv pids.new pids; exec sleep 1000");
    let helpers = folder.helpers();
    let task = tokio::spawn(async move { helpers.get(&helper(), "r.io").await });
    let pid = loop {
        if let Ok(pid) = std::fs::read_to_string(folder.path("pids")) {
            break pid;
        }
        tokio::task::yield_now().await;
    };
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_gone(pid.trim());
}

#[tokio::test]
async fn s8_a_helper_that_floods_is_ended() {
    for script in ["exec yes", "head -c 65537 /dev/zero"] {
        let result = Folder::with(script).get().await;
        assert_eq!(reason(result), "it prints more than 65536 bytes and was ended", "{script}");
    }
    // What it complains does not matter.
    let found = Folder::with("head -c 1000000 /dev/zero >&2; echo '{\"Secret\":\"s\"}'").get().await.unwrap();
    assert_eq!(found.unwrap().secret().expose(), "s");
}

#[tokio::test]
async fn s21_secrets_go_to_a_helpers_input_and_not_to_its_arguments_or_environment() {
    let script = "cd \"${0%/*}\"; cat > input; printf '%s ' \"$@\" > arguments; tr '\\0' '\\n' < /proc/self/environ > environment";
    let folder = Folder::with(script);
    let credential = Credential::Basic { username: "al\"ice".to_owned(), password: Secret::new("hunter2") };
    folder.helpers().store(&helper(), "r.io", &credential).await.unwrap();
    let input: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path("input")).unwrap()).unwrap();
    assert_eq!(input, serde_json::json!({ "ServerURL": "r.io", "Username": "al\"ice", "Secret": "hunter2" }));
    assert_eq!(std::fs::read_to_string(folder.path("arguments")).unwrap(), "store ");
    assert!(!std::fs::read_to_string(folder.path("environment")).unwrap().contains("hunter2"));

    let credential = Credential::IdentityToken { username: "x".to_owned(), token: Secret::new("refresh") };
    folder.helpers().store(&helper(), "r.io", &credential).await.unwrap();
    let input: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path("input")).unwrap()).unwrap();
    assert_eq!(input, serde_json::json!({ "ServerURL": "r.io", "Username": "<token>", "Secret": "refresh" }));
}

#[tokio::test]
async fn s21_what_a_helper_complains_is_passed_on_without_secrets() {
    let credential = Credential::Basic { username: "alice".to_owned(), password: Secret::new("hunter2") };
    for (script, expected) in [
        ("echo 'not implemented'; exit 1", "it fails with exit status: 1: not implemented"),
        ("echo 'cannot keep hunter2'; exit 1", "it fails with exit status: 1"),
        ("cat; exit 1", "it fails with exit status: 1"),
        (r"printf 'a\033[31m\tb'; exit 1", "it fails with exit status: 1: a [31m b"),
    ] {
        let result = Folder::with(script).helpers().store(&helper(), "r.io", &credential).await;
        assert_eq!(reason(result), expected, "{script}");
    }
    let printed = r#"echo '{"Username":"alice","Secret":"hunter2"}'; exit 1"#;
    assert_eq!(reason(Folder::with(printed).get().await), "it fails with exit status: 1");
    let printed = r#"echo '{"Username":"alice","Secret":"hunter2"'"#;
    let shown = reason(Folder::with(printed).get().await);
    assert!(
        shown.starts_with("what it prints cannot be used: it is not JSON") && !shown.contains("hunter2"),
        "{shown}"
    );
    let long = Folder::with("head -c 5000 /dev/zero | tr '\\0' x; exit 1").get().await;
    assert!(reason(long).len() < 300);
}

#[tokio::test]
async fn helpers_are_made_to_forget() {
    let folder = Folder::with("cd \"${0%/*}\"; echo \"$1 $(cat)\" > asked");
    folder.helpers().erase(&helper(), "r.io").await.unwrap();
    assert_eq!(std::fs::read_to_string(folder.path("asked")).unwrap(), "erase r.io\n");
    let unknown = Folder::with("echo 'credentials not found in native keychain'; exit 1");
    unknown.helpers().erase(&helper(), "r.io").await.unwrap();
    let broken = Folder::with("exit 1");
    assert_eq!(reason(broken.helpers().erase(&helper(), "r.io").await), "it fails with exit status: 1");
}
