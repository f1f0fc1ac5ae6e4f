//! Removing what nothing names any more, while everything else goes on.
//!
//! Every transaction that may orphan a digest puts it into the review queue. The collector takes those that are
//! due, in four steps, so that a crash between any two leaves a store that the next run finishes:
//!
//! 1. *Condemn*, one transaction: links that neither a lease nor a manifest keeps are removed; a blob without links,
//!    lease and pins loses its row. From here on nobody finds it.
//! 2. *Bury*, one transaction: the file is renamed into `trash/`, if there still is no row and nobody has touched the
//!    queue's entry. A commit that found the file in place meanwhile has written a row, or finds it gone under
//!    the same lock and links its own.
//! 3. The folder is synced: the file is durably gone. Then the trash is unlinked, which may take long.
//! 4. *Forget*, one transaction: the entry leaves the queue, unless a commit of the digest is announced.
//!
//! On its way it forgets repositories that show nothing, and the history of tags that are long gone.
//!
//! Rows go before files: were it the other way round, a crash between the rename and the end of the
//! transaction would leave a row without a file.

use std::{fs, io::ErrorKind, num::NonZeroUsize, ops::AddAssign, path::PathBuf, sync::Arc};

use pier_content::{Error, Keeper, Result, Subject};
use pier_oci::Digest;
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::SemaphorePermit;

use crate::{
    Store,
    catalog::{
        blob_rows,
        columns::{self, encode},
        database::During as _,
        leftovers::{self, Forgetting},
    },
    clock::Moment,
    data_dir::ALGORITHMS,
    part,
    store::{Context, blocking},
    sys::{self, At as _, Entry},
};

/// Digests in one round, and as many repositories and removals of tags. Bounds how long the write lock is held.
const ROUND: usize = 128;

/// Whether leases count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leases {
    /// What was just written is kept until its lease ends, or a manifest names it.
    Respect,
    /// As if all leases had ended: a push that is under way loses what no manifest names yet.
    Ignore,
}

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Collected {
    /// Blobs removed.
    pub blobs: u64,
    /// Bytes that they took.
    pub bytes: u64,
    /// Links of repositories removed.
    pub links: u64,
    /// Unfinished blobs and uploads that had expired.
    pub parts: u64,
}

impl AddAssign for Collected {
    fn add_assign(&mut self, other: Self) {
        self.blobs += other.blobs;
        self.bytes += other.bytes;
        self.links += other.links;
        self.parts += other.parts;
    }
}

/// What a turn of the collector did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What it removed.
    pub collected: Collected,
    /// Whether more was due than fits a turn.
    pub rest: Rest,
}

/// What a turn has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing is due.
    Nothing,
    /// More is due already: another turn is worth it.
    More,
}

impl Store {
    /// Removes everything that nothing names any more, and unfinished work that has expired.
    ///
    /// Safe beside every other call and in several processes at once. What a manifest names, what is leased or
    /// pinned, and what was acknowledged within its lease, stays.
    pub async fn collect(&self, leases: Leases) -> Result<Collected> {
        let mut collected = Collected { parts: self.expire_parts().await?, ..Collected::default() };
        collected += self.rounds(leases, usize::MAX).await?.collected;
        Ok(collected)
    }

    /// A bounded part of [`collect`](Self::collect), for a server that has other work as well: as many `rounds` of
    /// 128 digests each as given, leases respected, parts left alone. Costs one query when nothing is due.
    ///
    /// What was due first is looked at first, so turns that follow one another come to an end of the queue.
    pub async fn collect_turn(&self, rounds: NonZeroUsize) -> Result<Turn> {
        let now = self.context.clock.now();
        let is_due = move |connection: &Connection| {
            Ok(is_due(connection, now)? || leftovers::is_due(connection, now)?)
        };
        let is_due = self.context.catalog.read(is_due).await?;
        if !is_due {
            return Ok(Turn { collected: Collected::default(), rest: Rest::Nothing });
        }
        self.rounds(Leases::Respect, rounds.get()).await
    }

    /// Removes unfinished blobs and uploads that nobody has touched for as long as the options say. Gives their
    /// number. Looks at each of those that are there.
    pub async fn expire_parts(&self) -> Result<u64> {
        let context = Arc::clone(&self.context);
        let now = context.clock.now();
        blocking(move || {
            let options = &context.options;
            let parts = part::settle(&context.dir.parts(), now.before(options.part_expiry).to_system())?;
            let uploads =
                part::settle(&context.dir.uploads(), now.before(options.upload_expiry).to_system())?;
            Ok((parts + uploads) as u64)
        })
        .await
    }

    async fn rounds(&self, leases: Leases, limit: usize) -> Result<Turn> {
        let _turn = self.context.turn_to_collect().await?;
        let context = Arc::clone(&self.context);
        blocking(move || empty_trash(&context)).await?;
        let mut collected = Collected::default();
        // What becomes due meanwhile is for another run, so that this one ends.
        let now = self.context.clock.now();
        let (mut after, mut forgetting) = (Some(Position::default()), Forgetting::HasMore);
        for _ in 0..limit {
            if let Some(position) = after {
                let round = self.context.condemn(now, leases, position).await?;
                collected.links += round.links;
                collected += self.context.bury(&round.condemned, now).await?;
                after = round.last;
                if round.links > 0 {
                    // It may have been all that a repository showed.
                    forgetting = Forgetting::HasMore;
                }
            }
            if forgetting == Forgetting::HasMore {
                forgetting = self.context.forget_leftovers(now).await?;
            }
            if after.is_none() && forgetting == Forgetting::Done {
                return Ok(Turn { collected, rest: Rest::Nothing });
            }
        }
        Ok(Turn { collected, rest: Rest::More })
    }
}

/// Where in the review queue a round ended: its order is that of the times, then of the digests.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    due: i64,
    digest: Option<Digest>,
}

/// An entry of the review queue, as it was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Review {
    digest: Digest,
    /// Until when a commit may be about to give it a file.
    announced_until: i64,
}

/// The outcome of one round of the first step.
#[derive(Debug, Default)]
struct Round {
    /// Those whose files may go.
    condemned: Vec<Review>,
    links: u64,
    /// Where the next round goes on; `None` when this was the last.
    last: Option<Position>,
}

impl Context {
    /// One at a time in a process: a file may move only after the transaction that took its row is durable, and not
    /// in the same group of commands.
    pub(crate) async fn turn_to_collect(&self) -> Result<SemaphorePermit<'_>> {
        self.collecting.acquire().await.map_err(|error| Error::Database {
            operation: "wait for a collection to end",
            source: error.into(),
        })
    }

    /// Removes one blob now, if nothing keeps it.
    pub(crate) async fn delete_blob(self: &Arc<Self>, digest: Digest) -> Result<()> {
        let _turn = self.turn_to_collect().await?;
        let now = self.clock.now();
        let condemned = self
            .catalog
            .write("delete a blob", move |connection| {
                if blob_rows::size(connection, &digest)?.is_none() {
                    return Err(Error::blob_not_found(digest));
                }
                if let Some(by) = keeper(connection, &digest, now)? {
                    return Err(Error::InUse { subject: Subject::Blob(digest), by });
                }
                blob_rows::remove(connection, &digest)?;
                blob_rows::queue_review(connection, &digest, now)?;
                entry(connection, &digest)
            })
            .await?;
        self.bury(&condemned.into_iter().collect::<Vec<_>>(), now).await.map(drop)
    }

    async fn forget_leftovers(&self, now: Moment) -> Result<Forgetting> {
        self.catalog
            .write("forget what is long gone", move |connection| leftovers::forget(connection, now, ROUND))
            .await
    }

    /// The first step, for the next digests in the queue behind `after`.
    async fn condemn(&self, now: Moment, leases: Leases, after: Position) -> Result<Round> {
        self.catalog
            .write("review what may be orphaned", move |connection| {
                let due = match leases {
                    Leases::Respect => now.0,
                    Leases::Ignore => i64::MAX,
                };
                let entries = due_entries(connection, due, after)?;
                let mut round = Round::default();
                if entries.len() == ROUND {
                    round.last = entries.last().map(|(position, _)| *position);
                }
                for (_, entry) in entries {
                    review(connection, entry, now, leases, &mut round)?;
                }
                Ok(round)
            })
            .await
    }

    /// The other steps.
    pub(crate) async fn bury(self: &Arc<Self>, condemned: &[Review], now: Moment) -> Result<Collected> {
        if condemned.is_empty() {
            return Ok(Collected::default());
        }
        let context = Arc::clone(self);
        let graves = condemned.to_vec();
        let buried = self
            .catalog
            .write("take files out of the store", move |connection| {
                let mut buried = Vec::new();
                for grave in graves {
                    if is_forsaken(connection, &grave)? {
                        let trashed = context.move_to_trash(&grave.digest)?;
                        buried.push((grave, trashed));
                    }
                }
                Ok(buried)
            })
            .await?;
        let context = Arc::clone(self);
        let (buried, collected) = blocking(move || {
            for algorithm in ALGORITHMS {
                sys::sync_folder(&context.dir.blobs(algorithm))?;
            }
            let mut collected = Collected::default();
            for (_, trashed) in &buried {
                if let Some((path, bytes)) = trashed {
                    collected.blobs += 1;
                    collected.bytes += bytes;
                    sys::remove(path, Entry::File)?;
                }
            }
            Ok((buried, collected))
        })
        .await?;
        self.catalog
            .write("forget what is gone", move |connection| {
                for (grave, _) in buried {
                    if is_forsaken(connection, &grave)? {
                        settle_entry(connection, &grave, None, now)?;
                    }
                }
                Ok(())
            })
            .await?;
        Ok(collected)
    }

    /// Renames a blob's file into the trash. `None` when there is no file.
    fn move_to_trash(&self, digest: &Digest) -> Result<Option<(PathBuf, u64)>> {
        let from = self.dir.blob(digest);
        let to = self.dir.trash().join(format!("{}-{}", digest.algorithm().as_str(), digest.hex()));
        let bytes = match fs::symlink_metadata(&from) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("stat", from, error)),
        };
        // A rename onto another name of the same file does nothing, and says that it was done.
        sys::remove(&to, Entry::File)?;
        fs::rename(&from, &to).at("move to the trash", &from)?;
        Ok(Some((to, bytes)))
    }
}

/// Unlinks what a crash or a failure has left in the trash. Nothing in it has had a name when it came there.
pub(crate) fn empty_trash(context: &Context) -> Result<()> {
    let trash = context.dir.trash();
    for entry in fs::read_dir(&trash).at("read folder", &trash)? {
        sys::remove(&entry.at("read folder", &trash)?.path(), Entry::File)?;
    }
    Ok(())
}

/// Whether nobody wants a condemned digest again: who does has written a row, or has changed the entry before linking.
fn is_forsaken(connection: &Connection, grave: &Review) -> Result<bool> {
    let is_untouched =
        entry(connection, &grave.digest)?.is_some_and(|now| now.announced_until == grave.announced_until);
    Ok(is_untouched && blob_rows::size(connection, &grave.digest)?.is_none())
}

/// Decides about one digest.
fn review(
    connection: &Connection,
    entry: Review,
    now: Moment,
    leases: Leases,
    round: &mut Round,
) -> Result<()> {
    let Review { digest, .. } = entry;
    let key = encode(&digest);
    let mut again: Option<i64> = None;
    let mut kept = false;
    for (repository, leased_until) in links(connection, &digest)? {
        if leases == Leases::Respect && leased_until > now.0 {
            kept = true;
            again = Some(again.map_or(leased_until, |other| other.min(leased_until)));
        } else if blob_rows::namer(connection, repository, &digest)?.is_some() {
            kept = true;
        } else {
            connection
                .prepare_cached("DELETE FROM link WHERE digest = ?1 AND repository_id = ?2")
                .and_then(|mut statement| statement.execute(params![key, repository]))
                .during("remove a link")?;
            leftovers::look_at_repository(connection, repository)?;
            round.links += 1;
        }
    }
    let row = connection
        .prepare_cached(
            "SELECT leased_until, EXISTS (SELECT 1 FROM pin WHERE pin.digest = ?1) FROM blob WHERE digest = ?1",
        )
        .and_then(|mut statement| {
            let mut rows = statement.query([&key])?;
            rows.next()?.map(|row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?))).transpose()
        })
        .during("look up a blob")?;
    match row {
        // A commit may be about to write the row.
        None if leases == Leases::Respect && entry.announced_until > now.0 => {
            settle_entry(connection, &entry, None, now)?;
        }
        // A file that never got its row, or whose removal was cut short.
        None => round.condemned.push(entry),
        Some(_) if kept => settle_entry(connection, &entry, again, now)?,
        Some((_, true)) => settle_entry(connection, &entry, None, now)?,
        Some((leased_until, false)) if leases == Leases::Respect && leased_until > now.0 => {
            settle_entry(connection, &entry, Some(leased_until), now)?;
        }
        Some(_) => {
            blob_rows::remove(connection, &digest)?;
            round.condemned.push(entry);
        }
    }
    Ok(())
}

/// Looks again at a time, or never unless something happens. While a commit is announced the entry stays: a crash of
/// that commit would leave a file that nobody knows.
fn settle_entry(connection: &Connection, entry: &Review, again: Option<i64>, now: Moment) -> Result<()> {
    let announced = (entry.announced_until > now.0).then_some(entry.announced_until);
    let key = encode(&entry.digest);
    match again.or(announced) {
        Some(due) => connection
            .prepare_cached("UPDATE review SET due_at = ?2 WHERE digest = ?1")
            .and_then(|mut statement| statement.execute(params![key, due])),
        None => connection
            .prepare_cached("DELETE FROM review WHERE digest = ?1")
            .and_then(|mut statement| statement.execute([key])),
    }
    .during("settle a review")
    .map(drop)
}

fn is_due(connection: &Connection, now: Moment) -> Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM review WHERE due_at <= ?1")
        .and_then(|mut statement| statement.exists([now.0]))
        .during("look into the review queue")
}

/// A round of entries that are due, oldest first: by the index on times, so that what is not due costs nothing.
fn due_entries(connection: &Connection, due: i64, after: Position) -> Result<Vec<(Position, Review)>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT due_at, digest, announced_until FROM review
             WHERE due_at <= ?1 AND (due_at, digest) > (?2, ?3) ORDER BY due_at, digest LIMIT ?4",
        )
        .during("read the review queue")?;
    let digest = after.digest.as_ref().map(encode).unwrap_or_default();
    let limit = i64::try_from(ROUND).unwrap_or(i64::MAX);
    let rows = statement
        .query_map(params![due, after.due, digest, limit], |row| {
            let digest = columns::digest(row, 1)?;
            let position = Position { due: row.get(0)?, digest: Some(digest) };
            Ok((position, Review { digest, announced_until: row.get(2)? }))
        })
        .during("read the review queue")?;
    rows.collect::<rusqlite::Result<_>>().during("read the review queue")
}

pub(crate) fn entry(connection: &Connection, digest: &Digest) -> Result<Option<Review>> {
    connection
        .prepare_cached("SELECT announced_until FROM review WHERE digest = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([encode(digest)], |row| {
                    Ok(Review { digest: *digest, announced_until: row.get(0)? })
                })
                .optional()
        })
        .during("look into the review queue")
}

fn links(connection: &Connection, digest: &Digest) -> Result<Vec<(i64, i64)>> {
    let mut statement = connection
        .prepare_cached("SELECT repository_id, leased_until FROM link WHERE digest = ?1")
        .during("list links")?;
    let rows =
        statement.query_map([encode(digest)], |row| Ok((row.get(0)?, row.get(1)?))).during("list links")?;
    rows.collect::<rusqlite::Result<_>>().during("list links")
}

/// What keeps a blob from being deleted at once.
fn keeper(connection: &Connection, digest: &Digest, now: Moment) -> Result<Option<Keeper>> {
    let shown = connection
        .prepare_cached(
            "SELECT repository.name FROM link JOIN repository ON repository.id = link.repository_id
             WHERE link.digest = ?1 LIMIT 1",
        )
        .and_then(|mut statement| {
            statement.query_row([encode(digest)], |row| columns::repository(row, 0)).optional()
        })
        .during("look for links")?;
    if let Some(repository) = shown {
        return Ok(Some(Keeper::Repository(repository)));
    }
    let leased = connection
        .prepare_cached("SELECT 1 FROM blob WHERE digest = ?1 AND leased_until > ?2")
        .and_then(|mut statement| statement.exists(params![encode(digest), now.0]))
        .during("look for a lease")?;
    if leased {
        return Ok(Some(Keeper::Lease));
    }
    let pinned = connection
        .prepare_cached("SELECT 1 FROM pin WHERE digest = ?1")
        .and_then(|mut statement| statement.exists([encode(digest)]))
        .during("look for pins")?;
    Ok(pinned.then_some(Keeper::Pin))
}
