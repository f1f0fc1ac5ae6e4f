//! `pier testdata run`: a registry over the folder.
//!
//! The folder is only read: what is pushed is kept in memory, so every run begins with what is in the folder, and any
//! number of runs share it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use pier_content::Memory;
use pier_layout::DistributionFolder;
use pier_registry::{Registry, SessionKey, Settings};
use serde::Serialize;

use crate::{
    cli::TestdataRun,
    config::Config,
    failure::{Failure, Status},
    output::{self, Output},
    serve::{self, Access, Entrance},
    signals::Signals,
};

/// Where the registry is, for programs.
#[derive(Debug, Serialize)]
struct Running {
    /// What goes in front of a repository's name.
    registry: String,
    url: String,
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
    let listener = serve::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, options.port))).await?;
    let address = listener.address();
    // Sessions end with the process, and nobody but this process makes any.
    let settings = Settings::new(SessionKey::new([0; 32]));
    let registry = Registry::new(memory.clone(), memory, settings);
    // Before the line: whoever has read it may send a signal, and expects an end in good order.
    let signals = if output.is_json() { Signals::listen_to_input_too()? } else { Signals::listen()? };
    if output.is_json() {
        let running = Running { registry: address.to_string(), url: format!("http://{address}") };
        output::line(&serde_json::to_string(&running).map_err(anyhow::Error::new)?)?;
    } else {
        output::line(&format!("Registry running at localhost:{}", address.port()))?;
    }
    let entrance = Entrance { tls: None, access: Access::open() };
    serve::run(listener, signals, registry, entrance, &config.serve).await
}
