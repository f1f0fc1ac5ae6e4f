//! `pier login` and `pier logout`

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use pier_testkit::mock::{self, Credentials};
use rustix::{
    fs::OFlags,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    pier::{Said, command, run},
    remote::wait,
    site::image,
};

/// A registry that wants to know who asks, and a person's home.
struct Known {
    registry: mock::Registry,
    home: TempDir,
}

impl Known {
    fn start(manners: mock::Manners) -> Self {
        Self { registry: wait(mock::Registry::start(manners)).unwrap(), home: tempfile::tempdir().unwrap() }
    }

    fn host(&self) -> String {
        self.registry.address().to_string()
    }

    /// A name and a password that the registry takes.
    fn password(&self) -> (String, String) {
        let password = self.registry.credentials().into_iter().find_map(|credentials| match credentials {
            Credentials::Password { username, password } => Some((username, password)),
            Credentials::IdentityToken { .. } => None,
        });
        password.unwrap()
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("docker/config.json")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        for variable in ["REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG"] {
            command.env_remove(variable);
        }
        let folder = |name: &str| self.home.path().join(name);
        command
            .env("HOME", self.home.path())
            .env("DOCKER_CONFIG", folder("docker"))
            .env("XDG_RUNTIME_DIR", folder("run"))
            .env("XDG_CONFIG_HOME", folder("config"))
            .env("PIER_DATA", folder("data"))
            .env("PIER_LOG", "off");
        command
    }

    /// Runs `pier ARGUMENTS` with this on standard input.
    #[track_caller]
    fn pier(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that reads nothing may be gone already.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let text = |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(&self.host(), "HOST").replace(self.home.path().to_str().unwrap(), "HOME")
        };
        Said {
            status: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    #[track_caller]
    fn login(&self, options: &[&str]) -> Said {
        let (username, password) = self.password();
        let host = self.host();
        let login = [&["login", &host, "-u", &username, "--password-stdin"], options].concat();
        self.pier(&login, &format!("{password}\n"))
    }
}

/// What both commands write as JSON.
pub(crate) fn entries() -> (Value, Value) {
    let known = Known::start(mock::ECR);
    let login = known.login(&["--json"]).data(0);
    let logout = known.pier(&["logout", &known.host(), "--json"], "").data(0);
    (serde_json::from_str(&login).unwrap(), serde_json::from_str(&logout).unwrap())
}

#[test]
fn what_was_accepted_is_kept_and_used_until_it_is_forgotten() {
    for manners in [mock::ECR, mock::DOCKER_HUB] {
        let known = Known::start(manners);
        let digest = wait(known.registry.push(&image("secret", "amd64"), "team/app:1")).unwrap();
        let (username, password) = known.password();
        let said = known.login(&[]);
        assert_eq!(
            said.data(0),
            format!("logged in to `HOST` as `{username}`, kept in `HOME/docker/config.json`\n")
        );
        assert!(!fs::read_to_string(known.config()).unwrap().contains(&password));
        let name = format!("{}/team/app:1", known.host());
        assert_eq!(known.pier(&["resolve", &name], "").data(0), format!("HOST/team/app@{digest}\n"));

        let host = known.host();
        let logout = ["logout", &host];
        assert_eq!(
            known.pier(&logout, "").data(0),
            "logged out of `HOST`, removed from `HOME/docker/config.json`\n"
        );
        known.pier(&logout, "").refused(1, "error: there are no credentials for `HOST`\n");
    }
}

#[test]
fn a_registry_that_asks_nobody_has_checked_nothing() {
    let known = Known::start(mock::PLAIN);
    let host = known.host();
    let said = known.pier(&["login", &host, "-u", "me", "--password-stdin"], "secret\n");
    assert_eq!(
        (said.status, said.stdout.as_str()),
        (0, "credentials for `HOST` as `me` kept in `HOME/docker/config.json`\n")
    );
    assert_eq!(
        said.stderr,
        "warning: `HOST` did not ask for a login, so nothing was checked; the credentials are kept as they are\n"
    );
    assert!(known.config().exists());
    assert_eq!(known.registry.violations(), []);
}

#[test]
fn every_registry_takes_a_login_that_is_right_and_no_other() {
    for manners in mock::ALL {
        let known = Known::start(manners);
        let host = known.host();
        for credentials in known.registry.credentials() {
            let (arguments, secret) = match &credentials {
                Credentials::Password { username, password } => (vec!["-u", username], password),
                Credentials::IdentityToken { token, .. } => (vec!["--identity-token"], token),
            };
            let login = [&["login", &host, "--password-stdin", "--json"], &arguments[..]].concat();
            let said: Value = serde_json::from_str(&known.pier(&login, secret).data(0)).unwrap();
            assert_eq!(said["checked"], true, "{}", manners.name);
            assert_eq!(known.pier(&login, "wrong").status, 5, "{}", manners.name);
        }
        assert_eq!(known.registry.violations(), [], "{}", manners.name);
    }
}

/// A mirror whose helper fails is not the registry's trouble, but its owner has to hear of it.
#[test]
fn s23_a_helper_that_fails_for_a_mirror_is_told() {
    let (mirror, registry) = (Known::start(mock::ECR), wait(mock::Registry::start(mock::PLAIN)).unwrap());
    let digest = wait(registry.push(&image("open", "amd64"), "team/app:1")).unwrap();
    fs::create_dir_all(mirror.config().parent().unwrap()).unwrap();
    let helpers = serde_json::json!({ "credHelpers": { mirror.host(): "is-not-there" } });
    fs::write(mirror.config(), helpers.to_string()).unwrap();
    let settings = format!("[registries.'{}']\nmirrors = ['http://{}']\n", registry.address(), mirror.host());
    let file = mirror.home.path().join("pier.toml");
    fs::write(&file, settings).unwrap();
    let name = registry.image_ref("team/app:1");
    let pull = ["pull", "--progress", "none", "--config", file.to_str().unwrap(), &name];
    let said = run(mirror.command(&pull).env("PIER_LOG", "warn"));
    assert!(said.status == 0 && said.stdout.contains(&digest.to_string()), "{said:?}");
    assert!(said.stderr.contains("the credentials for a mirror cannot be had"), "{said:?}");
    assert!(said.stderr.contains("is-not-there"), "{said:?}");
}

#[test]
fn what_was_refused_is_not_kept() {
    for manners in [mock::ECR, mock::DOCKER_HUB] {
        let known = Known::start(manners);
        let (username, _) = known.password();
        let host = known.host();
        let login = ["login", &host, "-u", &username, "--password-stdin"];
        let said = known.pier(&login, "a-wrong-one\n");
        assert_eq!((said.status, said.stdout.as_str()), (5, ""), "{said:?}");
        assert!(
            said.stderr.ends_with("hint: check the name and the password; nothing was stored\n"),
            "{said:?}"
        );
        assert!(!said.stderr.contains("a-wrong-one"), "{said:?}");
        assert!(!known.config().exists());
    }
}

#[test]
fn s21_a_password_on_the_command_line_is_refused_and_not_repeated() {
    let known = Known::start(mock::ECR);
    for password in
        [&["--password", "hunter2"][..], &["--password=hunter2"], &["-p", "hunter2"], &["-phunter2"]]
    {
        known.pier(&[&["login", &known.host(), "-u", "me"], password].concat(), "").refused(
            2,
            "error: a password on the command line is seen by everybody on this machine\n\
             hint: use --password-stdin, or type it when asked\n",
        );
    }
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let known = Known::start(mock::ECR);
    known
        .pier(&["login", &known.host(), "--password-stdin"], "x")
        .refused(2, "error: there is no user name\nhint: say it with --username\n");
    known.pier(&["login", &known.host(), "-u", "me"], "x").refused(
        2,
        "error: there is no terminal to ask for the password\nhint: pipe it in, with --password-stdin\n",
    );
    known
        .pier(&["login", &known.host(), "-u", "me", "--password-stdin"], "\n")
        .refused(2, "error: the password is empty\n");
    assert!(!known.config().exists());
}

/// Logs in at a terminal, where these keys are pressed when the password is asked for. Gives the exit status and what the terminal showed.
#[track_caller]
fn at_a_terminal(known: &Known, keys: &str) -> (i32, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let mut terminal = File::options();
    terminal.read(true).write(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
    let terminal = terminal.open(OsStr::from_bytes(name.to_bytes())).unwrap();
    let (username, _) = known.password();
    let mut command = known.command(&["login", &known.host(), "-u", &username]);
    let stream = || Stdio::from(terminal.try_clone().unwrap());
    let mut child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
    drop(command);
    let mut master = File::from(master);
    let mut shown = Vec::new();
    let mut byte = [0];
    while !shown.ends_with(b"Password: ") {
        master.read_exact(&mut byte).unwrap();
        shown.push(byte[0]);
    }
    master.write_all(keys.as_bytes()).unwrap();
    let status = child.wait().unwrap().code().unwrap();
    assert!(
        tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO),
        "the terminal shows nothing"
    );
    // With the last user of the terminal gone, its other side ends in an error behind what was shown.
    drop(terminal);
    while master.read_exact(&mut byte).is_ok() {
        shown.push(byte[0]);
    }
    (status, String::from_utf8(shown).unwrap())
}

#[test]
fn s21_a_password_that_is_typed_is_not_shown() {
    let known = Known::start(mock::ECR);
    let (_, password) = known.password();
    let (status, shown) = at_a_terminal(&known, &format!("x\x7f{password}\r"));
    assert_eq!(status, 0, "{shown}");
    assert!(shown.contains("logged in to"), "{shown}");
    assert!(!shown.contains(&password), "{shown}");
    assert!(known.config().exists());
}

#[test]
fn a_question_can_be_left_and_the_terminal_is_as_before() {
    let known = Known::start(mock::ECR);
    let (status, shown) = at_a_terminal(&known, "abc\x03");
    assert_eq!(status, 130, "{shown}");
    assert!(!shown.contains("abc"), "{shown}");
    assert!(!known.config().exists());
}
