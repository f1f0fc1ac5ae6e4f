//! Rows that nothing needs any more: the history of tags that are long gone, and repositories that show nothing.
//!
//! Without this, a repository for each build and a tag for each commit would grow the catalog for ever, though each of
//! them is deleted again.

use std::time::Duration;

use pier_content::Result;
use rusqlite::{Connection, params};

use super::database::During as _;
use crate::clock::Moment;

/// How long the removal of a tag is remembered, and with it where the tag pointed before.
const REMEMBERED: Duration = Duration::from_hours(90 * 24);

/// Whether there is more to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgetting {
    Done,
    /// More than was to be done at once.
    HasMore,
}

/// Has the collector see whether a repository that has lost something shows anything still.
pub(crate) fn look_at_repository(connection: &Connection, repository: i64) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO repository_review (repository_id) VALUES (?1) ON CONFLICT (repository_id) DO NOTHING",
        )
        .and_then(|mut statement| statement.execute([repository]))
        .during("have a repository looked at")
        .map(drop)
}

/// Whether there is anything to forget.
pub(crate) fn is_due(connection: &Connection, now: Moment) -> Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM repository_review)
                 OR EXISTS (SELECT 1 FROM tag_history WHERE digest IS NULL AND moved_at <= ?1)",
        )
        .and_then(|mut statement| statement.query_row([now.before(REMEMBERED).0], |row| row.get(0)))
        .during("look for what may be forgotten")
}

/// Forgets at most so many removals of tags, each with the tag's moves before it, and so many repositories.
pub(crate) fn forget(connection: &Connection, now: Moment, limit: usize) -> Result<Forgetting> {
    let removals = forget_removals(connection, now, limit)?;
    let repositories = forget_repositories(connection, limit)?;
    let is_over = removals < limit && repositories < limit;
    Ok(if is_over { Forgetting::Done } else { Forgetting::HasMore })
}

/// The number of removals that were looked at.
fn forget_removals(connection: &Connection, now: Moment, limit: usize) -> Result<usize> {
    let removals = connection
        .prepare_cached(
            "SELECT id, repository_id, name FROM tag_history
             WHERE digest IS NULL AND moved_at <= ?1 ORDER BY moved_at LIMIT ?2",
        )
        .and_then(|mut statement| {
            let rows = statement.query_map(params![now.before(REMEMBERED).0, count(limit)], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })
        .during("look for removals of tags")?;
    for (id, repository, tag) in &removals {
        connection
            .prepare_cached("DELETE FROM tag_history WHERE repository_id = ?1 AND name = ?2 AND id <= ?3")
            .and_then(|mut statement| statement.execute(params![repository, tag, id]))
            .during("forget where a tag pointed")?;
        look_at_repository(connection, *repository)?;
    }
    Ok(removals.len())
}

/// The number of repositories that were looked at.
fn forget_repositories(connection: &Connection, limit: usize) -> Result<usize> {
    let repositories = connection
        .prepare_cached("SELECT repository_id FROM repository_review LIMIT ?1")
        .and_then(|mut statement| {
            let rows = statement.query_map([count(limit)], |row| row.get::<_, i64>(0))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })
        .during("look for repositories that show nothing")?;
    for repository in &repositories {
        // A tag needs a manifest that its repository holds, so that need not be asked for.
        connection
            .prepare_cached(
                "DELETE FROM repository WHERE id = ?1
                 AND NOT EXISTS (SELECT 1 FROM holding WHERE holding.repository_id = ?1)
                 AND NOT EXISTS (SELECT 1 FROM link WHERE link.repository_id = ?1)
                 AND NOT EXISTS (SELECT 1 FROM tag_history WHERE tag_history.repository_id = ?1)",
            )
            .and_then(|mut statement| statement.execute([repository]))
            .during("forget a repository")?;
        connection
            .prepare_cached("DELETE FROM repository_review WHERE repository_id = ?1")
            .and_then(|mut statement| statement.execute([repository]))
            .during("settle what is known of a repository")?;
    }
    Ok(repositories.len())
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
