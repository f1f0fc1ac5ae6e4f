//! SIGINT and SIGTERM.

use std::{
    future::Future,
    io::{self, Read as _},
    thread,
};

use anyhow::{Context as _, anyhow};
use tokio::{
    signal::unix::{self, SignalKind, signal},
    sync::watch,
};

use crate::failure::{Failure, Status};

/// The signals that ask the process to stop.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    /// Closed with standard input, when that is listened to.
    input: Option<watch::Receiver<()>>,
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
        Ok(Self { interrupt, terminate, input: None })
    }

    /// The end of standard input counts as SIGTERM, too: so a process ends with the one that started it, however that
    /// ends. What is in it is thrown away.
    pub(crate) fn listen_to_input_too() -> Result<Self, Failure> {
        let (open, input) = watch::channel(());
        // A thread of its own, which nobody waits for: a read of a terminal may never end.
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || {
                let mut buffer = [0; 4096];
                let mut stdin = io::stdin().lock();
                loop {
                    match stdin.read(&mut buffer) {
                        Ok(0) => break,
                        Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                        _ => {}
                    }
                }
                drop(open);
            })
            .context("cannot start a thread")?;
        Ok(Self { input: Some(input), ..Self::listen()? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
            () = ended(&mut self.input) => Signal::Terminate,
        }
    }
}

/// Waits for the end of standard input, which comes once.
async fn ended(input: &mut Option<watch::Receiver<()>>) {
    let Some(open) = input else { return std::future::pending().await };
    // Nothing is ever sent: it changes only in that it closes.
    let _ = open.changed().await;
    *input = None;
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
