//! `pier htpasswd`
//!
//! Prints a line and writes no file: `>>` appends it. Whether a user has a line already, and which of the two is to stay, is for the
//! file's owner to say.

use std::io::{self, IsTerminal as _};

use anyhow::anyhow;

use crate::{
    cli::Htpasswd,
    failure::{Failure, Status},
    output, prompt,
    serve::{BCRYPT_BYTES, Password, Scheme, check_user_name},
};

pub(crate) fn run(options: &Htpasswd) -> Result<Status, Failure> {
    let usage = |error| Failure::new(Status::Usage, error);
    let user = &options.user;
    check_user_name(user).map_err(|rule| usage(anyhow!(rule)))?;
    let password = password()?;
    if password.is_empty() {
        return Err(usage(anyhow!("the password is empty")));
    }
    if options.scheme == Scheme::Bcrypt && password.len() > BCRYPT_BYTES {
        let error = anyhow!("bcrypt looks at {BCRYPT_BYTES} bytes of a password, and this one has more");
        return Err(usage(error).with_hint("say `--scheme argon2id`, which looks at all of them"));
    }
    let hash = Password::hash(&password, options.scheme)?;
    output::exactly(format!("{user}:{}\n", hash.as_str()).as_bytes())?;
    Ok(Status::Done)
}

/// Asks twice at a terminal, where nobody sees what was typed; else takes what is piped in.
fn password() -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return prompt::piped_password();
    }
    let password = prompt::ask("Password: ", prompt::Echo::Off)?;
    if prompt::ask("Again: ", prompt::Echo::Off)? != password {
        return Err(Failure::new(Status::Usage, anyhow!("the two passwords differ")));
    }
    Ok(password)
}
