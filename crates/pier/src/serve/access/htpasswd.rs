//! The file of users: a line for each, `name:hash`, as Apache's htpasswd has it.

use std::{collections::HashMap, fmt, path::Path};

use anyhow::anyhow;

use super::password::{NotTaken, Password};
use crate::failure::{Failure, Status};

/// Who is known. There is somebody.
pub(super) struct Htpasswd {
    entries: HashMap<String, Password>,
    /// What [`Htpasswd::decoy`] gives.
    first: Password,
}

impl Htpasswd {
    /// Reads a file. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// A line that cannot be read refuses the file: whom it was meant for would be locked out, and nobody would know why. The error
    /// says its number and nothing of its content.
    pub(super) fn parse(file: &Path, content: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(content).map_err(|_| malformed(file, None, "it is not UTF-8"))?;
        let mut entries = HashMap::new();
        let mut first = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refused = |why: &str| malformed(file, Some(index + 1), why);
            let (name, hash) = line.split_once(':').ok_or_else(|| refused("there is no colon"))?;
            if name.is_empty() {
                return Err(refused("the user has no name"));
            }
            let password = Password::parse(hash).map_err(|why| match why {
                NotTaken::Kind(kind) => refused(&format!(
                    "the password is kept as {kind}, and only bcrypt and argon2id are taken"
                )),
                NotTaken::Damaged => refused("the hash of the password is damaged"),
                NotTaken::TooCostly => refused("the hash of the password is too costly to verify"),
            })?;
            first.get_or_insert_with(|| password.clone());
            if entries.insert(name.to_owned(), password).is_some() {
                return Err(refused("the user has a line already"));
            }
        }
        let first = first.ok_or_else(|| malformed(file, None, "there is nobody in it"))?;
        Ok(Self { entries, first })
    }

    /// The hash of a user's password.
    pub(super) fn entry(&self, name: &str) -> Option<&Password> {
        self.entries.get(name)
    }

    /// A hash to verify passwords against that come with a name which nobody has: so they take as long as with a name that somebody
    /// has, and nobody finds out which names there are.
    pub(super) fn decoy(&self) -> &Password {
        &self.first
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Whether a user may have this name: it has to fit into a line, and clients cannot send a colon (RFC 7617).
///
/// # Errors
/// The rule, for people.
pub(crate) fn check_user_name(name: &str) -> Result<(), &'static str> {
    let fits = !name.is_empty()
        && !name.starts_with('#')
        && !name.contains(|character: char| character == ':' || character.is_control());
    if fits {
        return Ok(());
    }
    Err(
        "a user's name is not empty, has no colon and no control characters in it, and does not begin with `#`",
    )
}

fn malformed(file: &Path, line: Option<usize>, why: &str) -> Failure {
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    let error = anyhow!("`{}`{line}: {why}", file.display());
    Failure::new(Status::Usage, error).with_hint("`pier htpasswd USER` prints a line for a user")
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Htpasswd").field("users", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuJQz3Z5nQ8o0nBqkqfBVMmKQ7cJXnCCu";

    #[test]
    fn users_are_read() {
        let text = format!("# who\n\nalice:{HASH}\r\nbob builder:{HASH}  \n");
        let users = Htpasswd::parse("f".as_ref(), text.as_bytes()).unwrap();
        assert_eq!(users.len(), 2);
        for name in ["alice", "bob builder"] {
            assert_eq!(users.entry(name).unwrap().as_str(), HASH);
        }
        assert!(users.entry("Alice").is_none() && users.entry("").is_none());
        assert_eq!(format!("{users:?}"), "Htpasswd { users: 2, .. }");
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_not_shown() {
        for (text, expected) in [
            (format!("alice:{HASH}\nhunter2\n"), "`f`, line 2: there is no colon"),
            (format!(":{HASH}"), "`f`, line 1: the user has no name"),
            (
                "\nalice:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00".to_owned(),
                "`f`, line 2: the password is kept as Apache's MD5, and only bcrypt and argon2id are taken",
            ),
            ("alice:$2y$05$hunter2".to_owned(), "`f`, line 1: the hash of the password is damaged"),
            (format!("alice:{HASH}\nalice:{HASH}"), "`f`, line 2: the user has a line already"),
            ("# nobody\n".to_owned(), "`f`: there is nobody in it"),
            (String::new(), "`f`: there is nobody in it"),
        ] {
            let failure = Htpasswd::parse("f".as_ref(), text.as_bytes()).unwrap_err();
            assert_eq!(failure.message(), expected, "{text}");
            assert_eq!(failure.status, Status::Usage);
        }
        let failure = Htpasswd::parse("f".as_ref(), b"\xff:x").unwrap_err();
        assert_eq!(failure.message(), "`f`: it is not UTF-8");
    }
}
