//! Rows of blobs and links: what is committed, who shows it, and until when it is leased.

use pier_content::{Claim, Error, Keeper, Result, Subject};
use pier_oci::{Digest, RepositoryName};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    columns::{self, encode, from_size},
    database::{During as _, damaged, not_found},
    leftovers,
};
use crate::clock::Moment;

/// A blob as a repository shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Bytes.
    pub(crate) size: u64,
    /// Until when it is shown though no manifest names it.
    pub(crate) leased_until: Moment,
}

/// The size of a committed blob.
pub(crate) fn size(connection: &Connection, digest: &Digest) -> Result<Option<u64>> {
    connection
        .prepare_cached("SELECT size FROM blob WHERE digest = ?1")
        .and_then(|mut statement| {
            statement.query_row([encode(digest)], |row| columns::size(row, 0)).optional()
        })
        .during("look up a blob")
}

/// Writes the row of a blob whose file is durable, its link and its lease.
pub(crate) fn commit(
    connection: &Connection,
    digest: &Digest,
    size: u64,
    link: Option<&RepositoryName>,
    now: Moment,
    lease: Moment,
) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO blob (digest, size, leased_until, created_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (digest) DO UPDATE SET leased_until = max(leased_until, excluded.leased_until)",
        )
        .and_then(|mut statement| statement.execute(params![encode(digest), from_size(size), lease.0, now.0]))
        .during("write a blob")?;
    if let Some(repository) = link {
        let repository = repository_id_or_new(connection, repository, now)?;
        write_link(connection, repository, digest, lease)?;
    }
    queue_review(connection, digest, lease)
}

/// Shows a committed blob in a repository until its lease ends or for as long as a manifest names it.
pub(crate) fn link(
    connection: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
    claim: &Claim,
    now: Moment,
    lease: Moment,
) -> Result<u64> {
    let (size, asked) = match claim {
        Claim::From(from) => (linked(connection, from, digest)?.map(|link| link.size), from),
        Claim::FromAny => (shown(connection, digest)?, repository),
        Claim::Proven => (size(connection, digest)?, repository),
    };
    let size = size.ok_or_else(|| not_found(Subject::RepositoryBlob(asked.clone(), *digest)))?;
    let repository = repository_id_or_new(connection, repository, now)?;
    write_link(connection, repository, digest, lease)?;
    queue_review(connection, digest, lease)?;
    Ok(size)
}

/// The size of a blob that any repository shows.
fn shown(connection: &Connection, digest: &Digest) -> Result<Option<u64>> {
    connection
        .prepare_cached(
            "SELECT size FROM blob WHERE digest = ?1 AND EXISTS (SELECT 1 FROM link WHERE link.digest = ?1)",
        )
        .and_then(|mut statement| {
            statement.query_row([encode(digest)], |row| columns::size(row, 0)).optional()
        })
        .during("look for a link")
}

/// A blob as a repository shows it.
pub(crate) fn linked(
    connection: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<Option<Link>> {
    connection
        .prepare_cached(
            "SELECT blob.size, link.leased_until FROM repository
             JOIN link ON link.repository_id = repository.id AND link.digest = ?2
             JOIN blob ON blob.digest = link.digest
             WHERE repository.name = ?1",
        )
        .and_then(|mut statement| {
            statement
                .query_row(params![repository.as_str(), encode(digest)], |row| {
                    Ok(Link { size: columns::size(row, 0)?, leased_until: Moment(row.get(1)?) })
                })
                .optional()
        })
        .during("look up a link")
}

/// Stops showing a blob in a repository.
pub(crate) fn unlink(
    connection: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
    now: Moment,
) -> Result<()> {
    let subject = || Subject::RepositoryBlob(repository.clone(), *digest);
    let id = repository_id(connection, repository)?.ok_or_else(|| not_found(subject()))?;
    // Looked at first: a sparse manifest may name a blob that the repository does not show.
    if linked(connection, repository, digest)?.is_none() {
        return Err(not_found(subject()));
    }
    if let Some(manifest) = namer(connection, id, digest)? {
        return Err(Error::InUse { subject: subject(), by: Keeper::Manifest(manifest) });
    }
    connection
        .prepare_cached("DELETE FROM link WHERE digest = ?1 AND repository_id = ?2")
        .and_then(|mut statement| statement.execute(params![encode(digest), id]))
        .during("remove a link")?;
    leftovers::look_at_repository(connection, id)?;
    // Nobody shows it any more by choice, so the lease of its making must not keep it.
    connection
        .prepare_cached(
            "UPDATE blob SET leased_until = ?2 WHERE digest = ?1
             AND NOT EXISTS (SELECT 1 FROM link WHERE link.digest = ?1)",
        )
        .and_then(|mut statement| statement.execute(params![encode(digest), now.0]))
        .during("end a lease")?;
    queue_review(connection, digest, now)
}

/// Up to `limit` blobs behind `after`, in the order of their digests.
pub(crate) fn page(
    connection: &Connection,
    after: Option<&Digest>,
    limit: usize,
) -> Result<Vec<(Digest, u64)>> {
    let after = after.map(encode).unwrap_or_default();
    let mut statement = connection
        .prepare_cached("SELECT digest, size FROM blob WHERE digest > ?1 ORDER BY digest LIMIT ?2")
        .during("list blobs")?;
    let rows = statement
        .query_map(params![after, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok((columns::digest(row, 0)?, columns::size(row, 1)?))
        })
        .during("list blobs")?;
    rows.collect::<rusqlite::Result<_>>().during("list blobs")
}

/// Has the collector look at a digest at `due`, or sooner when it was to do so sooner.
pub(crate) fn queue_review(connection: &Connection, digest: &Digest, due: Moment) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO review (digest, due_at) VALUES (?1, ?2)
             ON CONFLICT (digest) DO UPDATE SET due_at = min(due_at, excluded.due_at)",
        )
        .and_then(|mut statement| statement.execute(params![encode(digest), due.0]))
        .during("queue a review")
        .map(drop)
}

/// Says that a commit is about to give a digest a file, and will be over by `until`.
pub(crate) fn announce(connection: &Connection, digest: &Digest, until: Moment) -> Result<()> {
    // Always a new time, so that a collector that has seen the old one knows of this commit.
    connection
        .prepare_cached(
            "INSERT INTO review (digest, due_at, announced_until) VALUES (?1, ?2, ?2)
             ON CONFLICT (digest) DO UPDATE SET announced_until = max(announced_until + 1, excluded.announced_until)",
        )
        .and_then(|mut statement| statement.execute(params![encode(digest), until.0]))
        .during("announce a blob")
        .map(drop)
}

/// A manifest of the repository that names the digest as a child.
pub(crate) fn namer(connection: &Connection, repository: i64, digest: &Digest) -> Result<Option<Digest>> {
    connection
        .prepare_cached(
            "SELECT manifest.digest FROM child
             JOIN holding ON holding.manifest_id = child.manifest_id AND holding.repository_id = ?1
             JOIN manifest ON manifest.id = child.manifest_id
             WHERE child.digest = ?2 LIMIT 1",
        )
        .and_then(|mut statement| {
            statement.query_row(params![repository, encode(digest)], |row| columns::digest(row, 0)).optional()
        })
        .during("look for a manifest that names a digest")
}

pub(crate) fn repository_id(connection: &Connection, name: &RepositoryName) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM repository WHERE name = ?1")
        .and_then(|mut statement| statement.query_row([name.as_str()], |row| row.get(0)).optional())
        .during("look up a repository")
}

pub(crate) fn repository_id_or_new(
    connection: &Connection,
    name: &RepositoryName,
    now: Moment,
) -> Result<i64> {
    match repository_id(connection, name)? {
        Some(id) => Ok(id),
        None => new_repository(connection, name, now),
    }
}

pub(crate) fn new_repository(connection: &Connection, name: &RepositoryName, now: Moment) -> Result<i64> {
    connection
        .prepare_cached("INSERT INTO repository (name, created_at) VALUES (?1, ?2)")
        .and_then(|mut statement| statement.insert(params![name.as_str(), now.0]))
        .during("write a repository")
}

/// Removes a blob's row, so that it is no longer there for anybody. Its file goes later.
pub(crate) fn remove(connection: &Connection, digest: &Digest) -> Result<()> {
    let removed = connection
        .prepare_cached("DELETE FROM blob WHERE digest = ?1")
        .and_then(|mut statement| statement.execute([encode(digest)]))
        .during("remove a blob")?;
    if removed == 1 { Ok(()) } else { Err(damaged("remove a blob", format!("`{digest}` has no row"))) }
}

/// Removes a blob's row and every link to it, whoever names it: its content is not what it was.
pub(crate) fn forget(connection: &Connection, digest: &Digest) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO repository_review SELECT repository_id FROM link WHERE digest = ?1
             ON CONFLICT (repository_id) DO NOTHING",
        )
        .and_then(|mut statement| statement.execute([encode(digest)]))
        .during("have repositories looked at")?;
    connection
        .prepare_cached("DELETE FROM link WHERE digest = ?1")
        .and_then(|mut statement| statement.execute([encode(digest)]))
        .during("forget links")?;
    remove(connection, digest)
}

fn write_link(connection: &Connection, repository: i64, digest: &Digest, lease: Moment) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO link (digest, repository_id, leased_until) VALUES (?1, ?2, ?3)
             ON CONFLICT (digest, repository_id)
             DO UPDATE SET leased_until = max(leased_until, excluded.leased_until)",
        )
        .and_then(|mut statement| statement.execute(params![encode(digest), repository, lease.0]))
        .during("write a link")
        .map(drop)
}
