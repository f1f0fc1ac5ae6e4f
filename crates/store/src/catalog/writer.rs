//! The one thread that writes, and its group commit.
//!
//! Commands queue up while a commit waits for the disk; the next transaction takes them all. So one sync serves
//! everybody who came meanwhile, and the number of durable writes a second grows with the number of writers.
//! A connection for each caller would instead have them take turns at the lock with one sync each.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    thread,
};

use pier_content::{Error, Result};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::database::{self, During as _};

/// Commands waiting beyond those in the running transaction. More than any number of clients that a server
/// takes at once has reason to queue.
const QUEUE: usize = 1024;

/// Commands in one transaction. Bounds how long the first waits for the last.
const GROUP: usize = 256;

/// Runs inside the transaction, or is told why there is none; what it gives runs after the commit and tells the caller.
type Command = Box<dyn FnOnce(Result<&Connection, &Error>) -> Finish + Send>;
type Finish = Box<dyn FnOnce(Result<(), &Error>) + Send>;

/// Hands commands to the writer thread. Dropping it waits for the thread to finish what is queued.
#[derive(Debug)]
pub(crate) struct Writer {
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// Opens the database and starts the thread.
    pub(crate) fn start(path: PathBuf) -> Result<Self> {
        let connection = database::open_writer(&path)?;
        let (commands, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("catalog-writer".to_owned())
            .spawn(move || run(&connection, queue))
            .map_err(|error| Error::io("start the catalog's writer for", path, error))?;
        Ok(Self { commands: Some(commands), thread: Some(thread) })
    }

    /// Runs `command` in a transaction, and returns when that is durable.
    ///
    /// A command that fails leaves nothing behind and does not disturb those it shares a transaction with. It
    /// runs even when the caller stops waiting.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        command: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let command: Command = Box::new(move |connection| {
            let outcome = match connection {
                Ok(connection) => in_savepoint(connection, command),
                Err(error) => Err(again(operation, error)),
            };
            Box::new(move |committed| {
                let outcome = match (outcome, committed) {
                    (Ok(value), Ok(())) => Ok(value),
                    (Err(error), _) => Err(error),
                    (Ok(_), Err(error)) => Err(again(operation, error)),
                };
                // The caller may have gone; what it asked for is done all the same.
                drop(answer.send(outcome));
            })
        });
        let stopped = || database::damaged(operation, "the catalog's writer has stopped");
        let commands = self.commands.as_ref().ok_or_else(stopped)?;
        commands.send(command).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.commands.take());
        // The last holder may be a command, and then this is the thread itself, which ends by itself.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic of the thread has been reported by itself.
            drop(thread.join());
        }
    }
}

fn run(connection: &Connection, mut queue: mpsc::Receiver<Command>) {
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        commit(connection, group);
    }
}

fn commit(connection: &Connection, group: Vec<Command>) {
    let run = |sql| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    let mut outcome = run("BEGIN IMMEDIATE").during("begin").map(drop);
    let mut finishes = Vec::with_capacity(group.len());
    for command in group {
        finishes.push(command(outcome.as_ref().map(|()| connection)));
        if outcome.is_ok() && connection.is_autocommit() {
            // SQLite, or a savepoint that could not be undone, gave up on the whole transaction: SQLite does so when
            // the disk is full. Nobody in the group has been told yet that anything succeeded.
            outcome = Err(Error::StorageFull { operation: "write to", path: "catalog.sqlite".into() });
        }
    }
    let outcome = outcome.and_then(|()| run("COMMIT").during("commit").map(drop));
    if outcome.is_err() && !connection.is_autocommit() {
        // The commit failed and left the transaction open.
        if let Err(error) = connection.execute_batch("ROLLBACK") {
            tracing::error!(%error, "the catalog cannot roll back");
        }
    }
    for finish in finishes {
        finish(outcome.as_ref().map(drop));
    }
}

fn in_savepoint<T>(connection: &Connection, command: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let run = |sql| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    run("SAVEPOINT command").during("begin")?;
    // A command that panics must not end all writing for ever; what it did is undone like that of one that fails.
    let outcome = catch_unwind(AssertUnwindSafe(|| command(connection)))
        .unwrap_or_else(|_| Err(database::damaged("run a command", "it panicked")));
    match outcome {
        Ok(value) => {
            if let Err(error) = run("RELEASE command") {
                // It cannot be told what of the command would be committed: the whole group goes.
                connection.execute_batch("ROLLBACK").during("roll back")?;
                return Err(error).during("finish");
            }
            Ok(value)
        }
        Err(error) => {
            // When SQLite has given up on the whole transaction there is no savepoint to go back to.
            if !connection.is_autocommit()
                && let Err(stuck) = run("ROLLBACK TO command").and_then(|_| run("RELEASE command"))
            {
                // Half a command must not be committed with the others: the whole group goes.
                tracing::error!(error = %stuck, "the catalog cannot undo a command");
                connection.execute_batch("ROLLBACK").during("roll back")?;
            }
            Err(error)
        }
    }
}

/// The error of a commit, for each of those who were part of it.
fn again(operation: &'static str, error: &Error) -> Error {
    match error {
        Error::StorageFull { path, .. } => Error::StorageFull { operation, path: path.clone() },
        Error::Unavailable { origin, .. } => Error::Unavailable {
            origin: origin.clone(),
            operation,
            retry_after: None,
            source: Some(error.to_string().into()),
        },
        other => database::damaged(operation, other.to_string()),
    }
}
