//! `pier login`
//!
//! What is kept was accepted by the registry before; where it lets in everybody without asking, that is said. A password comes from standard
//! input or from the terminal, where it is not shown; never from the command line, which everybody on the machine can read.

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
};

use anyhow::anyhow;
use pier_client::{
    Client, Greeting,
    credentials::{Anonymous, Credential, CredentialStore, Given, Protection, Secret},
};
use pier_oci::Registry;
use serde::Serialize;

use crate::{
    cli::Login,
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
    prompt, registries,
};

/// Where credentials went.
#[derive(Debug, Serialize)]
struct Entry {
    registry: String,
    username: Option<String>,
    place: String,
    protection: &'static str,
    /// Whether the registry asked for them and took them.
    checked: bool,
}

pub(crate) async fn run(options: &Login, config: &Config, output: &Output) -> Result<Status, Failure> {
    if options.password.is_some() {
        let error = anyhow!("a password on the command line is seen by everybody on this machine");
        return Err(
            Failure::new(Status::Usage, error).with_hint("use --password-stdin, or type it when asked")
        );
    }
    let registry: Registry = options.registry.parse()?;
    let credential = credential(options)?;
    let greeting = check(&registry, &credential, options, config).await?;
    let stored = CredentialStore::new(registries::locations(config, &options.registries)?)
        .store(&registry, &credential)
        .await?;
    let protection = match stored.protection {
        Protection::Plain => "plain",
        Protection::Helper => "helper",
    };
    let username = credential.username().map(str::to_owned);
    let checked = greeting == Greeting::Known;
    let entry = Entry { registry: registry.to_string(), username, place: stored.place, protection, checked };
    output.data(&entry, text)?;
    if !checked {
        // As other tools have it, since it may ask for them where something is to be written.
        output::note(&format!(
            "warning: `{registry}` did not ask for a login, so nothing was checked; the credentials are kept as they are"
        ));
    }
    if let Some(other) = stored.shadowed_by {
        output::note(&format!(
            "warning: {other} has another credential for `{registry}`, which goes before this one"
        ));
    }
    Ok(Status::Done)
}

fn credential(options: &Login) -> Result<Credential, Failure> {
    let username = match &options.username {
        Some(username) => username.clone(),
        None if options.identity_token => String::new(),
        None if options.password_stdin || !io::stdin().is_terminal() => {
            let error = anyhow!("there is no user name");
            return Err(Failure::new(Status::Usage, error).with_hint("say it with --username"));
        }
        None => prompt::ask("Username: ", prompt::Echo::On)?,
    };
    let secret = if options.password_stdin {
        prompt::piped_password()?
    } else if io::stdin().is_terminal() {
        prompt::ask(if options.identity_token { "Token: " } else { "Password: " }, prompt::Echo::Off)?
    } else {
        let error = anyhow!("there is no terminal to ask for the password");
        return Err(Failure::new(Status::Usage, error).with_hint("pipe it in, with --password-stdin"));
    };
    if secret.is_empty() {
        return Err(Failure::new(Status::Usage, anyhow!("the password is empty")));
    }
    let secret = Secret::new(secret);
    Ok(if options.identity_token {
        Credential::IdentityToken { username, token: secret }
    } else {
        Credential::Basic { username, password: secret }
    })
}

/// Shows the credential, and no other, to the registry.
async fn check(
    registry: &Registry,
    credential: &Credential,
    options: &Login,
    config: &Config,
) -> Result<Greeting, Failure> {
    let (registry, credential) = (registry.clone(), credential.clone());
    let given = Given { registry: registry.clone(), credential, others: Arc::new(Anonymous) };
    let client: Client = registries::client_as(config, &options.registries, Arc::new(given))?;
    let remote = client.remote(&registry)?;
    let greeted = super::insist(&client, &remote, async || remote.greet().await).await;
    greeted.map_err(|error| match error {
        // The advice to log in would send them round in a circle.
        error @ pier_content::Error::Denied { .. } => {
            Failure::from(error).with_hint("check the name and the password; nothing was stored")
        }
        error => error.into(),
    })
}

fn text(entry: &Entry) -> String {
    let Entry { registry, username, place, checked, .. } = entry;
    let as_whom = username.as_ref().map(|name| format!(" as `{name}`")).unwrap_or_default();
    if !checked {
        return format!("credentials for `{registry}`{as_whom} kept in {place}");
    }
    format!("logged in to `{registry}`{as_whom}, kept in {place}")
}
