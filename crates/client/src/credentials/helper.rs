//! Docker's credential helpers: programs `docker-credential-NAME` that keep credentials elsewhere.
//!
//! A helper is run by its path and never by a shell; what it is asked goes to its input and never among its arguments, which everybody on
//! the machine may read. It is a stranger's program: what it prints is bounded, and so is its time, after which it is ended with
//! everything that it started.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    str::FromStr,
    time::Duration,
};

use pier_content::{Error, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    Credential, Secret,
    document::{Flaw, Object},
};

/// The user name by which helpers mark an identity token.
pub(super) const TOKEN_USERNAME: &str = "<token>";

/// How long a helper may take. It may ask a cloud, or a person for a finger.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that a helper may print.
const OUTPUT: u64 = 64 << 10;

/// What helpers say when they know nothing about a registry (and fail, as the protocol wants).
const NOT_FOUND: &str = "credentials not found";

/// Characters of a helper's complaint that are passed on.
const COMPLAINT: usize = 200;

/// What comes behind `docker-credential-`: letters, digits, `.`, `_` and `-`, so that it can name no other folder and no option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HelperName(String);

impl FromStr for HelperName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > 128 || !text.bytes().all(fine) {
            return Err(
                "is not the name of a credential helper: those have letters, digits, `.`, `_` and `-`",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for HelperName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker-credential-{}", self.0)
    }
}

/// The helpers of this machine.
#[derive(Clone, Debug)]
pub(super) struct Helpers {
    search_path: Option<OsString>,
}

impl Helpers {
    /// The helpers in these folders.
    pub(super) fn new(search_path: Option<OsString>) -> Self {
        Self { search_path }
    }

    /// What a helper knows about a server; nothing when it says that it knows nothing.
    pub(super) async fn get(&self, helper: &HelperName, server: &str) -> Result<Option<Credential>> {
        let output = self.run(helper, "get", server.to_owned().into_bytes()).await?;
        if !output.status.success() {
            return if output.says_not_found() { Ok(None) } else { Err(output.failure(helper, None)) };
        }
        let text =
            String::from_utf8(output.printed).map_err(|_| failure(helper, "it prints what is not UTF-8"))?;
        credential(&text)
            .map_err(|Flaw(reason)| failure(helper, &format!("what it prints cannot be used: {reason}")))
    }

    /// Gives a credential into a helper's keeping.
    pub(super) async fn store(
        &self,
        helper: &HelperName,
        server: &str,
        credential: &Credential,
    ) -> Result<()> {
        let username = match credential {
            Credential::Basic { username, .. } => username,
            Credential::IdentityToken { .. } => TOKEN_USERNAME,
            Credential::RegistryToken(_) => {
                return Err(failure(helper, "helpers cannot keep a registry's token"));
            }
        };
        let mut input = Object::default();
        input.set_text("ServerURL", server);
        input.set_text("Username", username);
        input.set_text("Secret", credential.secret().expose());
        let output = self.run(helper, "store", input.to_json().into_bytes()).await?;
        if output.status.success() { Ok(()) } else { Err(output.failure(helper, Some(credential.secret()))) }
    }

    /// Makes a helper forget a server; it is fine when it knew nothing.
    pub(super) async fn erase(&self, helper: &HelperName, server: &str) -> Result<()> {
        let output = self.run(helper, "erase", server.to_owned().into_bytes()).await?;
        if output.status.success() || output.says_not_found() {
            Ok(())
        } else {
            Err(output.failure(helper, None))
        }
    }

    async fn run(&self, helper: &HelperName, action: &'static str, input: Vec<u8>) -> Result<Output> {
        let program = self.locate(helper).await?;
        let mut child = Command::new(program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what it starts can be ended with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failure(helper, &format!("it cannot be run: {error}")))?;
        let group = Group::of(&child);
        let output = match timeout(PATIENCE, talk(&mut child, &input)).await {
            Ok(output) => {
                output.map_err(|error| failure(helper, &format!("it cannot be talked to: {error}")))?
            }
            Err(_) => {
                let reason =
                    format!("it did not answer `{action}` in {} s and was ended", PATIENCE.as_secs());
                return Err(failure(helper, &reason));
            }
        };
        let Some(output) = output else {
            return Err(failure(helper, &format!("it prints more than {OUTPUT} bytes and was ended")));
        };
        group.ended();
        Ok(output)
    }

    /// The program's path. Found here and not by the system, so that the library needs no environment and no folder counts that is
    /// relative to wherever the user happens to be.
    async fn locate(&self, helper: &HelperName) -> Result<PathBuf> {
        let (program, search_path) = (helper.to_string(), self.search_path.clone().unwrap_or_default());
        let found = spawn_blocking(move || {
            std::env::split_paths(&search_path)
                .filter(|folder| folder.is_absolute())
                .map(|folder| folder.join(&program))
                .find(|path| is_program(path))
        });
        match found.await {
            Ok(Some(path)) => Ok(path),
            Ok(None) => Err(failure(helper, "there is no such program in the folders of `PATH`")),
            Err(error) => Err(failure(helper, &format!("it cannot be looked for: {error}"))),
        }
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The processes of a helper. Ends them when dropped, unless the helper has ended by itself.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// From here on the number may be somebody else's.
    fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// What a helper did.
struct Output {
    status: ExitStatus,
    printed: Vec<u8>,
    complained: Vec<u8>,
}

/// Hands over the input and reads to the end; nothing when it prints too much.
async fn talk(child: &mut Child, input: &[u8]) -> std::io::Result<Option<Output>> {
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(pipe) = &mut stdin {
            // A helper that does not read its input is judged by what it answers.
            let _ = pipe.write_all(input).await;
        }
        drop(stdin);
        Ok(())
    };
    let read = async {
        let mut printed = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(OUTPUT + 1).read_to_end(&mut printed).await?;
        }
        // This ends the conversation at once, else the helper would wait for a reader.
        if printed.len() as u64 > OUTPUT { Err(Break::TooMuch) } else { Ok(printed) }
    };
    let ((), printed, complained) = match tokio::try_join!(write, read, drain(stderr)) {
        Ok(talked) => talked,
        Err(Break::TooMuch) => return Ok(None),
        Err(Break::Io(error)) => return Err(error),
    };
    let status = child.wait().await?;
    Ok(Some(Output { status, printed, complained }))
}

/// Why a conversation ended early.
enum Break {
    TooMuch,
    Io(std::io::Error),
}

impl From<std::io::Error> for Break {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// The beginning of what a helper complains; reads on to its end, so that it is not stopped by a full pipe.
async fn drain(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Break> {
    let Some(mut pipe) = pipe else { return Ok(Vec::new()) };
    let mut beginning = Vec::new();
    (&mut pipe).take(OUTPUT).read_to_end(&mut beginning).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(beginning)
}

impl Output {
    fn says_not_found(&self) -> bool {
        [&self.printed, &self.complained]
            .iter()
            .any(|text| String::from_utf8_lossy(text).to_ascii_lowercase().contains(NOT_FOUND))
    }

    /// What went wrong, in the helper's words as far as they are fit to be shown: never a document, which could hold the secret, nor the
    /// secret that it was given.
    fn failure(&self, helper: &HelperName, secret: Option<&Secret>) -> Error {
        let words = [&self.printed, &self.complained].into_iter().find_map(|text| {
            let text = String::from_utf8_lossy(text);
            let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
            let telling = secret.is_some_and(|secret| line.contains(secret.expose()));
            (!line.contains('{') && !telling).then(|| shown(line))
        });
        let reason = match words {
            Some(words) => format!("it fails with {}: {words}", self.status),
            None => format!("it fails with {}", self.status),
        };
        failure(helper, &reason)
    }
}

fn shown(line: &str) -> String {
    let printable = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let mut shown: String = printable.take(COMPLAINT).collect();
    if line.chars().nth(COMPLAINT).is_some() {
        shown.push('…');
    }
    shown
}

fn failure(helper: &HelperName, reason: &str) -> Error {
    Error::Credentials { place: place(helper), reason: reason.to_owned() }
}

/// A helper's name for people.
pub(super) fn place(helper: &HelperName) -> String {
    format!("credential helper `{helper}`")
}

/// The credential that a helper printed. A name and a secret that are both empty are how some say that there is none.
fn credential(text: &str) -> Result<Option<Credential>, Flaw> {
    let object = Object::parse(text)?;
    if object.is_empty() {
        return Err(Flaw("it is nothing".to_owned()));
    }
    let username = object.text("Username")?.unwrap_or_default();
    let secret = object.text("Secret")?.map(Secret::new);
    Ok(match secret {
        None if username.is_empty() => None,
        None => return Err(Flaw("`Secret` is missing".to_owned())),
        Some(token) if username == TOKEN_USERNAME => Some(Credential::IdentityToken { username, token }),
        Some(password) => Some(Credential::Basic { username, password }),
    })
}

#[cfg(test)]
mod tests;
