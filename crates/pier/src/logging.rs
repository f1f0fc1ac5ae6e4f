//! Structured logs, on standard error.

use std::io::{self, IsTerminal as _};

use anyhow::anyhow;
use tracing_subscriber::{EnvFilter, fmt};

use crate::{
    cli::LogFormat,
    config::LogSection,
    failure::{Failure, Status},
};

/// Sends what the libraries log to standard error.
pub(crate) fn start(config: &LogSection) -> Result<(), Failure> {
    let filter: EnvFilter = config.level.parse().map_err(|error| {
        Failure::new(Status::Usage, anyhow!("`{}` is not a log level or filter: {error}", config.level))
            .with_hint("use error, warn, info, debug or trace")
    })?;
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour);
    match config.format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
