//! SIGINT and SIGTERM.

use std::future::Future;

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{self, SignalKind, signal};

use crate::failure::{Failure, Status};

/// The signals that ask the process to stop.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

/// Which of them came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGTERM, as service managers send it.
    Terminate,
}

impl Signals {
    /// From now on these signals no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

/// Does `work`, and drops it at the first signal: what it holds is let go in good order, unlike at a sudden end.
///
/// # Errors
/// When a signal came: with the status that the shell gives a command that it ended, and `kept` as the hint.
pub(crate) async fn unless_stopped<T>(
    work: impl Future<Output = Result<T, Failure>>,
    kept: &str,
) -> Result<T, Failure> {
    let mut signals = Signals::listen()?;
    let signal = tokio::select! {
        outcome = work => return outcome,
        signal = signals.next() => signal,
    };
    let error = match signal {
        Signal::Interrupt => anyhow!("interrupted"),
        Signal::Terminate => anyhow!("terminated"),
    };
    Err(Failure::new(Status::Stopped(signal), error).with_hint(kept))
}
