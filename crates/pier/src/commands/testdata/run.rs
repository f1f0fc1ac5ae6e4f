//! `pier testdata run`: a registry over the folder.
//!
//! The folder is only read: what is pushed is kept in memory, so every run begins with what is in the folder, and any
//! number of runs share it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use pier_content::Memory;
use pier_layout::DistributionFolder;
use pier_registry::{Registry, SessionKey, Settings};
use serde::Serialize;

use super::guard::{Authority, Guard, Login, Transport};
use crate::{
    cli::TestdataRun,
    config::{Config, ServeSection},
    failure::{Failure, Status},
    output::{self, Output},
    serve,
    signals::Signals,
};

/// How long requests may take to finish after a signal to stop: nobody waits for a test's leftovers.
const DRAIN: Duration = Duration::from_secs(5);

/// Where the registry is and how to come in, for programs.
#[derive(Debug, Serialize)]
struct Running<'a> {
    /// What goes in front of a repository's name.
    registry: String,
    url: String,
    username: Option<&'a str>,
    password: Option<&'a str>,
    /// What clients have to trust, as a file and as its content.
    ca_file: Option<String>,
    ca_pem: Option<&'a str>,
}

pub(super) async fn run(
    options: &TestdataRun,
    folder: &Path,
    config: &Config,
    output: &Output,
) -> Result<Status, Failure> {
    let folder = DistributionFolder::open(folder).await?;
    let memory = Arc::new(Memory::over(Arc::new(folder.clone())));
    folder.names_into(&*memory).await?;
    let transport = if options.tls { Transport::Tls } else { Transport::Plain };
    let guard = Guard::new(options.auth.as_ref(), transport)?;
    let listener = serve::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, options.port))).await?;
    // Sessions end with the process, and nobody but this process makes any.
    let settings = Settings::new(SessionKey::new([0; 32]));
    let registry = Registry::new(memory.clone(), memory, settings);
    // Before the line: whoever has read it may send a signal, and expects an end in good order.
    let signals = if output.is_json() { Signals::listen_to_input_too()? } else { Signals::listen()? };
    announce(listener.address(), options.auth.as_ref(), guard.authority.as_ref(), output)?;
    let section = ServeSection { drain_timeout: DRAIN, ..config.serve.clone() };
    let monitored =
        serve::Monitored { monitor: serve::Monitor::without_store(registry.clone()), listener: None };
    serve::run(listener, signals, registry, guard.entrance.clone(), monitored, &section).await
}

/// Says where it is and how to come in.
fn announce(
    address: SocketAddr,
    login: Option<&Login>,
    authority: Option<&Authority>,
    output: &Output,
) -> Result<(), Failure> {
    if output.is_json() {
        let scheme = if authority.is_some() { "https" } else { "http" };
        let running = Running {
            registry: address.to_string(),
            url: format!("{scheme}://{address}"),
            username: login.map(|login| login.user.as_str()),
            password: login.map(|login| login.password.as_str()),
            ca_file: authority.map(|authority| authority.file.display().to_string()),
            ca_pem: authority.map(|authority| authority.pem.as_str()),
        };
        return output::line(&serde_json::to_string(&running).map_err(anyhow::Error::new)?);
    }
    output::line(&format!("Registry running at localhost:{}", address.port()))?;
    if let Some(Login { user, password }) = login {
        output::talk(&format!("user: {user}, password: {password}"));
    }
    if let Some(authority) = authority {
        output::talk(&format!("certificate authority: {}", authority.file.display()));
    }
    Ok(())
}
