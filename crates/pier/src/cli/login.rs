//! What can be typed to log in and out, and to let others log in.

use clap::Args;

use super::registries::RegistryOptions;
use crate::serve::Scheme;

#[derive(Debug, Args)]
pub(crate) struct Login {
    /// A registry: a host, and a port if need be
    #[arg(value_name = "HOST")]
    pub(crate) registry: String,
    /// Who you are [default: what is typed at the terminal]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// What is read is an OAuth2 refresh token and no password
    #[arg(long)]
    pub(crate) identity_token: bool,
    /// Known only to be refused: everybody on the machine sees the command line.
    #[arg(short, long, hide = true, num_args = 0..=1, default_missing_value = "", value_parser = forgotten)]
    pub(crate) password: Option<()>,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// A registry: a host, and a port if need be
    #[arg(value_name = "HOST")]
    pub(crate) registry: String,
    #[command(flatten)]
    pub(crate) registries: RegistryOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Htpasswd {
    /// Who is to log in with the password, which is asked for at the terminal or read from standard input
    #[arg(value_name = "USER")]
    pub(crate) user: String,
    /// How to hash the password
    #[arg(long, value_name = "SCHEME", default_value = "bcrypt")]
    pub(crate) scheme: Scheme,
}

/// Keeps nothing of what was typed.
#[expect(clippy::unnecessary_wraps, reason = "the form of a parser")]
fn forgotten(_: &str) -> Result<(), String> {
    Ok(())
}
