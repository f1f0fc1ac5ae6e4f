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

use super::{
    database::{self, During as _},
    wal_index::WalIndex,
};

/// Commands waiting beyond those in the running transaction. More than any number of clients that a server
/// takes at once has reason to queue.
const QUEUE: usize = 1024;

/// Commands in one transaction. Bounds how long the first waits for the last.
const GROUP: usize = 256;

/// Runs inside the transaction, or is told why there is none; what it gives runs after the commit and tells the caller.
type Command = Box<dyn FnOnce(Result<&Connection, &Error>) -> Finish + Send>;
type Finish = Box<dyn FnOnce(Result<(), &Error>) + Send>;

/// What becomes of changes that a failed command has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// They are undone, and those that share its transaction do not notice. To be able to, SQLite copies every page before its first
    /// change, which is a fifth of what a small command costs.
    Alone,
    /// There are none: it checks before it changes anything. Only a broken disk or a mistake of ours makes it fail later, and then the
    /// whole transaction is given up.
    WithAll,
}

/// Hands commands to the writer thread. Dropping it waits for the thread to finish what is queued.
#[derive(Debug)]
pub(crate) struct Writer {
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// Opens the database and starts the thread.
    pub(super) fn start(path: PathBuf, index: WalIndex) -> Result<Self> {
        let connection = database::open_writer(&path)?;
        let (commands, queue) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("catalog-writer".to_owned())
            .spawn(move || {
                run(&connection, queue);
                drop(connection);
                drop(index);
            })
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
        undo: Undo,
        command: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let command: Command = Box::new(move |connection| {
            let outcome = match connection {
                Ok(connection) if undo == Undo::Alone => in_savepoint(connection, command),
                Ok(connection) => with_all(connection, command),
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
            // SQLite, or a command that could not be undone alone, gave up on the whole transaction: SQLite does so when
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
    match caught(connection, command) {
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

/// Runs a command that fails before it has changed anything, or takes the whole transaction with it.
fn with_all<T>(connection: &Connection, command: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let before = connection.total_changes();
    let outcome = caught(connection, command);
    if let Err(error) = &outcome
        && connection.total_changes() != before
        && !connection.is_autocommit()
    {
        tracing::error!(%error, "a command of the catalog failed half-way");
        connection.execute_batch("ROLLBACK").during("roll back")?;
    }
    outcome
}

/// A command that panics must not end all writing for ever; what it did is undone like that of one that fails.
fn caught<T>(connection: &Connection, command: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(|| command(connection)))
        .unwrap_or_else(|_| Err(database::damaged("run a command", "it panicked")))
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

#[cfg(test)]
mod tests {
    use super::*;

    type Test = (Undo, fn(&Connection) -> Result<()>);

    /// Which of a group of commands succeed, and the names that are stored after it.
    fn outcomes(commands: Vec<Test>) -> (Vec<bool>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.sqlite");
        let connection = database::open_writer(&path).unwrap();
        let (answers, answered) = std::sync::mpsc::channel();
        let group = commands.into_iter().enumerate().map(|(place, (undo, command))| -> Command {
            let answers = answers.clone();
            Box::new(move |connection| {
                let outcome = match (connection, undo) {
                    (Ok(connection), Undo::Alone) => in_savepoint(connection, command),
                    (Ok(connection), Undo::WithAll) => with_all(connection, command),
                    (Err(error), _) => Err(again("test", error)),
                };
                Box::new(move |committed| {
                    answers.send((place, outcome.is_ok() && committed.is_ok())).unwrap();
                })
            })
        });
        commit(&connection, group.collect());
        drop(answers);
        let mut outcomes: Vec<_> = answered.into_iter().collect();
        outcomes.sort_unstable();
        let mut names = connection.prepare("SELECT name FROM repository ORDER BY name").unwrap();
        let names = names.query_map([], |row| row.get(0)).unwrap().map(|name| name.unwrap()).collect();
        (outcomes.into_iter().map(|(_, is_ok)| is_ok).collect(), names)
    }

    fn store(connection: &Connection, name: &str) -> Result<()> {
        connection
            .execute("INSERT INTO repository (name, created_at) VALUES (?1, 0)", [name])
            .during("write")
            .map(drop)
    }

    fn no<T>() -> Result<T> {
        Err(database::damaged("check", "no"))
    }

    #[test]
    fn a_command_that_fails_leaves_nothing_and_disturbs_nobody() {
        let (outcomes, names) = outcomes(vec![
            (Undo::WithAll, |connection| store(connection, "a")),
            (Undo::WithAll, |_| no()),
            (Undo::WithAll, |_| panic!("a mistake")),
            (Undo::Alone, |connection| store(connection, "b").and_then(|()| no())),
            (Undo::Alone, |connection| store(connection, "c")),
        ]);
        assert_eq!(outcomes, [true, false, false, false, true]);
        assert_eq!(names, ["a", "c"]);
    }

    #[test]
    fn half_a_command_is_never_committed() {
        let (outcomes, names) = outcomes(vec![
            (Undo::Alone, |connection| store(connection, "a")),
            (Undo::WithAll, |connection| store(connection, "b").and_then(|()| no())),
            (Undo::WithAll, |connection| store(connection, "c")),
        ]);
        assert_eq!(outcomes, [false, false, false]);
        assert!(names.is_empty(), "{names:?}");
    }
}
