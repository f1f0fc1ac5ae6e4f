//! What a person types: at the terminal, where a password is not shown, or piped in. Never on the command line, which everybody on the
//! machine can read.

mod terminal;

use std::io::{self, Read as _};

use anyhow::{Context as _, anyhow};

pub(crate) use self::terminal::{Echo, ask};
use crate::failure::{Failure, Status};

/// Bytes of a password or a token. Cloud registries have tokens of several KiB.
const SECRET_BYTES: u64 = 64 << 10;

/// All of standard input without the end of its line, which `echo` writes and nobody means.
pub(crate) fn piped_password() -> Result<String, Failure> {
    let usage = |error| Failure::new(Status::Usage, error);
    let mut text = String::new();
    io::stdin()
        .take(SECRET_BYTES + 1)
        .read_to_string(&mut text)
        .context("cannot read the password from standard input")
        .map_err(usage)?;
    if text.len() as u64 > SECRET_BYTES {
        return Err(usage(anyhow!("the password has more than {SECRET_BYTES} bytes")));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
