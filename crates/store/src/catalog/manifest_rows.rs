//! Rows of manifests, holdings and tags.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use pier_content::{
    Completeness, Error, ImmutableTags, Page, PutManifest, ReferrersOf, ReferrersPage, Result, Stored,
    Subject, TagMove, TagRules, catalog::KEPT_MOVES,
};
use pier_oci::{
    ChildKind, Descriptor, Digest, Manifest, ManifestError, MediaType, RepositoryName, Selector, Tag,
};
use rusqlite::{Connection, OptionalExtension as _, params, types::ValueRef};

use super::{
    blob_rows,
    columns::{self, encode, from_size},
    database::{During as _, damaged, not_found},
    leftovers,
};
use crate::clock::Moment;

/// What no repository has as its id.
const NOWHERE: i64 = 0;

/// Stores a manifest in a repository and moves tags to it. Checks all before it changes anything.
pub(crate) fn put(connection: &Connection, put: &PutManifest, now: Moment) -> Result<Stored> {
    let repository = blob_rows::repository_id(connection, &put.repository)?;
    let manifest = manifest_id(connection, &put.manifest.digest())?;
    let place = repository.unwrap_or(NOWHERE);
    let absent = check_children(connection, place, put)?;
    for tag in put.tags.iter().filter(|tag| !put.rules.allow_anything(&put.repository, tag)) {
        let named = named(connection, place, tag)?;
        put.rules.check(&put.repository, tag, named, Some(put.manifest.digest()))?;
    }
    if let Some(manifest) = manifest {
        check_media_type(connection, place, manifest, put)?;
    }

    let repository = match repository {
        Some(id) => id,
        None => blob_rows::new_repository(connection, &put.repository, now)?,
    };
    let manifest = match manifest {
        Some(id) => id,
        None => new_manifest(connection, &put.manifest)?,
    };
    connection
        .prepare_cached(
            "INSERT INTO holding (repository_id, manifest_id, media_type, stored_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (repository_id, manifest_id) DO UPDATE SET media_type = excluded.media_type",
        )
        .and_then(|mut statement| {
            statement.execute(params![repository, manifest, put.manifest.media_type().as_str(), now.0])
        })
        .during("hold a manifest")?;
    for tag in &put.tags {
        move_tag(connection, repository, tag, manifest, put.manifest.digest(), now)?;
    }
    Ok(Stored { absent })
}

/// The manifest that a selector names in a repository.
pub(crate) fn resolve(
    connection: &Connection,
    repository: &RepositoryName,
    selector: &Selector,
) -> Result<Arc<Manifest>> {
    let found = match selector {
        Selector::Tag(tag) => connection
            .prepare_cached(
                "SELECT manifest.digest, holding.media_type, manifest.bytes FROM repository
                 JOIN tag ON tag.repository_id = repository.id AND tag.name = ?2
                 JOIN holding ON holding.repository_id = repository.id AND holding.manifest_id = tag.manifest_id
                 JOIN manifest ON manifest.id = tag.manifest_id
                 WHERE repository.name = ?1",
            )
            .and_then(|mut statement| {
                statement.query_row(params![repository.as_str(), tag.as_str()], stored).optional()
            }),
        Selector::Digest(digest) => connection
            .prepare_cached(
                "SELECT manifest.digest, holding.media_type, manifest.bytes FROM repository
                 JOIN manifest ON manifest.digest = ?2
                 JOIN holding ON holding.repository_id = repository.id AND holding.manifest_id = manifest.id
                 WHERE repository.name = ?1",
            )
            .and_then(|mut statement| {
                statement.query_row(params![repository.as_str(), encode(digest)], stored).optional()
            }),
    }
    .during("resolve")?;
    let (digest, media_type, bytes) =
        found.ok_or_else(|| not_found(Subject::Manifest(repository.clone(), selector.clone())))?;
    parse(digest, &media_type, bytes).map(Arc::new)
}

/// Removes a manifest from a repository, with the tags that name it.
pub(crate) fn delete(
    connection: &Connection,
    repository: &RepositoryName,
    digest: &Digest,
    immutable: &ImmutableTags,
    now: Moment,
) -> Result<()> {
    let (repository_id, manifest) = connection
        .prepare_cached(
            "SELECT repository.id, manifest.id FROM repository
             JOIN manifest ON manifest.digest = ?2
             JOIN holding ON holding.repository_id = repository.id AND holding.manifest_id = manifest.id
             WHERE repository.name = ?1",
        )
        .and_then(|mut statement| {
            statement
                .query_row(params![repository.as_str(), encode(digest)], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
                })
                .optional()
        })
        .during("look up a manifest")?
        .ok_or_else(|| not_found(Subject::Manifest(repository.clone(), Selector::Digest(*digest))))?;
    if !immutable.is_empty() {
        immutable.check_all(repository, &tags_leading_to(connection, repository_id, manifest)?)?;
    }
    for tag in &tags_of(connection, repository_id, manifest)? {
        remove_tag(connection, repository_id, tag, now)?;
    }
    connection
        .prepare_cached("DELETE FROM holding WHERE repository_id = ?1 AND manifest_id = ?2")
        .and_then(|mut statement| statement.execute(params![repository_id, manifest]))
        .during("let go of a manifest")?;
    leftovers::look_at_repository(connection, repository_id)?;
    for child in children(connection, manifest)? {
        blob_rows::queue_review(connection, &child, now)?;
    }
    connection
        .prepare_cached(
            "DELETE FROM manifest WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM holding WHERE holding.manifest_id = ?1)",
        )
        .and_then(|mut statement| statement.execute([manifest]))
        .during("remove a manifest")
        .map(drop)
}

/// Removes a tag and keeps what it named.
pub(crate) fn untag(
    connection: &Connection,
    repository: &RepositoryName,
    tag: &Tag,
    rules: &TagRules,
    now: Moment,
) -> Result<()> {
    let subject = || Subject::Manifest(repository.clone(), Selector::Tag(tag.clone()));
    let id = blob_rows::repository_id(connection, repository)?.ok_or_else(|| not_found(subject()))?;
    if !rules.allow_anything(repository, tag) {
        rules.check(repository, tag, named(connection, id, tag)?, None)?;
    }
    match remove_tag(connection, id, tag, now)? {
        0 => Err(not_found(subject())),
        _ => Ok(()),
    }
}

/// Where a tag has pointed, the latest first.
pub(crate) fn history(
    connection: &Connection,
    repository: &RepositoryName,
    tag: &Tag,
    limit: usize,
) -> Result<Vec<TagMove>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT tag_history.digest, tag_history.moved_at FROM repository
             JOIN tag_history ON tag_history.repository_id = repository.id AND tag_history.name = ?2
             WHERE repository.name = ?1 ORDER BY tag_history.id DESC LIMIT ?3",
        )
        .during("read a tag's history")?;
    let rows = statement
        .query_map(params![repository.as_str(), tag.as_str(), from_count(limit)], |row| {
            let is_removed = row.get_ref(0)? == ValueRef::Null;
            let digest = if is_removed { None } else { Some(columns::digest(row, 0)?) };
            Ok(TagMove { digest, at: Moment(row.get(1)?).to_system() })
        })
        .during("read a tag's history")?;
    rows.collect::<rusqlite::Result<_>>().during("read a tag's history")
}

/// What a tag names.
fn named(connection: &Connection, repository: i64, tag: &Tag) -> Result<Option<Digest>> {
    connection
        .prepare_cached(
            "SELECT manifest.digest FROM tag JOIN manifest ON manifest.id = tag.manifest_id
             WHERE tag.repository_id = ?1 AND tag.name = ?2",
        )
        .and_then(|mut statement| {
            statement.query_row(params![repository, tag.as_str()], |row| columns::digest(row, 0)).optional()
        })
        .during("look what a tag names")
}

/// A page of a repository's tags.
pub(crate) fn tags(
    connection: &Connection,
    repository: &RepositoryName,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<Tag>> {
    let id = blob_rows::repository_id(connection, repository)?
        .ok_or_else(|| not_found(Subject::Repository(repository.clone())))?;
    let mut statement = connection
        .prepare_cached("SELECT name FROM tag WHERE repository_id = ?1 AND name > ?2 ORDER BY name LIMIT ?3")
        .during("list tags")?;
    let rows = statement
        .query_map(params![id, after.unwrap_or_default(), one_more(limit)], |row| columns::tag(row, 0))
        .during("list tags")?;
    rows.collect::<rusqlite::Result<Vec<_>>>().during("list tags").map(|items| Page::of(items, limit))
}

/// A page of the repositories that hold a manifest.
pub(crate) fn repositories(
    connection: &Connection,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<RepositoryName>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT name FROM repository WHERE name > ?1
             AND EXISTS (SELECT 1 FROM holding WHERE holding.repository_id = repository.id)
             ORDER BY name LIMIT ?2",
        )
        .during("list repositories")?;
    let rows = statement
        .query_map(params![after.unwrap_or_default(), one_more(limit)], |row| columns::repository(row, 0))
        .during("list repositories")?;
    rows.collect::<rusqlite::Result<Vec<_>>>().during("list repositories").map(|items| Page::of(items, limit))
}

/// A page of the manifests of a repository that refer to a subject.
pub(crate) fn referrers(
    connection: &Connection,
    repository: &RepositoryName,
    of: &ReferrersOf,
) -> Result<Page<Descriptor>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT manifest.digest, holding.media_type, manifest.bytes FROM repository
             JOIN manifest ON manifest.subject = ?2 AND manifest.digest > ?3
             JOIN holding ON holding.repository_id = repository.id AND holding.manifest_id = manifest.id
             WHERE repository.name = ?1 AND (?4 IS NULL OR manifest.artifact_type = ?4)
             ORDER BY manifest.digest LIMIT ?5",
        )
        .during("list referrers")?;
    let after = of.after.as_ref().map(encode).unwrap_or_default();
    let (name, subject) = (repository.as_str(), encode(&of.subject));
    let rows = statement
        .query_map(params![name, subject, after, of.artifact_type, one_more(of.limit)], stored)
        .during("list referrers")?;
    let mut page = ReferrersPage::new(of.limit);
    // Row by row, since together they may be larger than memory.
    for row in rows {
        if !page.has_room() {
            return Ok(page.full());
        }
        let (digest, media_type, manifest) = row.during("list referrers")?;
        page.add(&parse(digest, &media_type, manifest)?);
    }
    Ok(page.last())
}

/// What a manifest names, in its order; a digest that it names twice comes twice.
pub(crate) fn children(connection: &Connection, manifest: i64) -> Result<Vec<Digest>> {
    let mut statement = connection
        .prepare_cached("SELECT digest FROM child WHERE manifest_id = ?1 ORDER BY position")
        .during("list children")?;
    let rows = statement.query_map([manifest], |row| columns::digest(row, 0)).during("list children")?;
    rows.collect::<rusqlite::Result<_>>().during("list children")
}

/// Tags of a repository that name a manifest.
pub(crate) fn tags_of(connection: &Connection, repository: i64, manifest: i64) -> Result<Vec<Tag>> {
    let mut statement = connection
        .prepare_cached("SELECT name FROM tag WHERE repository_id = ?1 AND manifest_id = ?2 ORDER BY name")
        .during("list tags of a manifest")?;
    let rows = statement
        .query_map(params![repository, manifest], |row| columns::tag(row, 0))
        .during("list tags of a manifest")?;
    rows.collect::<rusqlite::Result<_>>().during("list tags of a manifest")
}

/// Tags of a repository that name a manifest, or an index that leads to it.
fn tags_leading_to(connection: &Connection, repository: i64, manifest: i64) -> Result<Vec<Tag>> {
    let mut statement = connection
        .prepare_cached(
            "WITH RECURSIVE leading (id) AS (
                 SELECT ?2
                 UNION
                 SELECT child.manifest_id FROM leading
                 JOIN manifest ON manifest.id = leading.id
                 JOIN child ON child.digest = manifest.digest AND child.kind = 0
                 JOIN holding ON holding.manifest_id = child.manifest_id AND holding.repository_id = ?1)
             SELECT tag.name FROM leading
             JOIN tag ON tag.repository_id = ?1 AND tag.manifest_id = leading.id",
        )
        .during("list tags that lead to a manifest")?;
    let rows = statement
        .query_map(params![repository, manifest], |row| columns::tag(row, 0))
        .during("list tags that lead to a manifest")?;
    rows.collect::<rusqlite::Result<_>>().during("list tags that lead to a manifest")
}

/// Refuses another media type for a manifest that an immutable tag leads to: it would be served as something else.
fn check_media_type(
    connection: &Connection,
    repository: i64,
    manifest: i64,
    put: &PutManifest,
) -> Result<()> {
    let immutable = &put.rules.immutable;
    if immutable.is_empty() {
        return Ok(());
    }
    let is_another = connection
        .prepare_cached(
            "SELECT 1 FROM holding WHERE repository_id = ?1 AND manifest_id = ?2 AND media_type <> ?3",
        )
        .and_then(|mut statement| {
            statement.exists(params![repository, manifest, put.manifest.media_type().as_str()])
        })
        .during("look as what a manifest is held")?;
    if is_another {
        immutable.check_all(&put.repository, &tags_leading_to(connection, repository, manifest)?)?;
    }
    Ok(())
}

/// A manifest's bytes came through the same door when they were stored; that they no longer parse is damage.
pub(crate) fn parse(digest: Digest, media_type: &str, bytes: Vec<u8>) -> Result<Manifest> {
    let wrong = |reason: String| damaged("read a manifest", format!("`{digest}`: {reason}"));
    let media_type: MediaType = media_type.parse().map_err(|error| wrong(format!("{error}")))?;
    Manifest::parse_expecting(Bytes::from(bytes), Some(&media_type), digest).map_err(|error| match error {
        ManifestError::Mismatch { expected, actual } => {
            Error::Integrity { expected, actual, origin: Some("the catalog".to_owned()) }
        }
        error => wrong(error.to_string()),
    })
}

/// How many children the repository lacks, where it may.
fn check_children(connection: &Connection, repository: i64, put: &PutManifest) -> Result<usize> {
    let mut missing = Vec::new();
    // A manifest may name tens of thousands, and this runs under the write lock.
    let mut seen = HashSet::new();
    for (kind, child) in put.manifest.children() {
        let present = match kind {
            ChildKind::Manifest => holds(connection, repository, &child.digest)?,
            ChildKind::Config | ChildKind::Layer => match link_size(connection, repository, &child.digest)? {
                Some(size) if size != child.size => {
                    return Err(Error::Size {
                        subject: Subject::RepositoryBlob(put.repository.clone(), child.digest),
                        expected: child.size,
                        actual: size,
                        origin: None,
                    });
                }
                Some(_) => true,
                None => child.media_type.is_nondistributable(),
            },
        };
        if !present && seen.insert(child.digest) {
            missing.push(child.digest);
        }
    }
    match put.completeness {
        Completeness::Strict if !missing.is_empty() => {
            Err(Error::Missing { repository: put.repository.clone(), digests: missing })
        }
        Completeness::Strict | Completeness::Sparse => Ok(missing.len()),
    }
}

fn holds(connection: &Connection, repository: i64, digest: &Digest) -> Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM manifest
             JOIN holding ON holding.manifest_id = manifest.id AND holding.repository_id = ?1
             WHERE manifest.digest = ?2",
        )
        .and_then(|mut statement| statement.exists(params![repository, encode(digest)]))
        .during("look up a child manifest")
}

fn link_size(connection: &Connection, repository: i64, digest: &Digest) -> Result<Option<u64>> {
    connection
        .prepare_cached(
            "SELECT blob.size FROM link JOIN blob ON blob.digest = link.digest
             WHERE link.digest = ?1 AND link.repository_id = ?2",
        )
        .and_then(|mut statement| {
            statement.query_row(params![encode(digest), repository], |row| columns::size(row, 0)).optional()
        })
        .during("look up a child blob")
}

fn manifest_id(connection: &Connection, digest: &Digest) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM manifest WHERE digest = ?1")
        .and_then(|mut statement| statement.query_row([encode(digest)], |row| row.get(0)).optional())
        .during("look up a manifest")
}

fn new_manifest(connection: &Connection, manifest: &Manifest) -> Result<i64> {
    let digest = encode(&manifest.digest());
    let subject = manifest.subject().map(|subject| encode(&subject.digest));
    let id = connection
        .prepare_cached(
            "INSERT INTO manifest (digest, bytes, subject, artifact_type) VALUES (?1, ?2, ?3, ?4)",
        )
        .and_then(|mut statement| {
            statement.insert(params![digest, &manifest.bytes()[..], subject, manifest.artifact_type()])
        })
        .during("write a manifest")?;
    let mut statement = connection
        .prepare_cached(
            "INSERT INTO child (manifest_id, position, kind, digest, size) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .during("write children")?;
    for (position, (kind, child)) in manifest.children().enumerate() {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        statement
            .execute(params![id, position, kind_number(kind), encode(&child.digest), from_size(child.size)])
            .during("write children")?;
    }
    Ok(id)
}

/// `child.kind`: 0 manifest, 1 config, 2 layer.
fn kind_number(kind: ChildKind) -> i64 {
    match kind {
        ChildKind::Manifest => 0,
        ChildKind::Config => 1,
        ChildKind::Layer => 2,
    }
}

fn move_tag(
    connection: &Connection,
    repository: i64,
    tag: &Tag,
    manifest: i64,
    digest: Digest,
    now: Moment,
) -> Result<()> {
    let before = connection
        .prepare_cached("SELECT manifest_id FROM tag WHERE repository_id = ?1 AND name = ?2")
        .and_then(|mut statement| {
            statement.query_row(params![repository, tag.as_str()], |row| row.get::<_, i64>(0)).optional()
        })
        .during("look where a tag is")?;
    let moves = match before {
        // A tag that is put where it is already has not moved.
        Some(before) if before == manifest => return Ok(()),
        Some(_) => "UPDATE tag SET manifest_id = ?3, moved_at = ?4 WHERE repository_id = ?1 AND name = ?2",
        None => "INSERT INTO tag (repository_id, name, manifest_id, moved_at) VALUES (?1, ?2, ?3, ?4)",
    };
    connection
        .prepare_cached(moves)
        .and_then(|mut statement| statement.execute(params![repository, tag.as_str(), manifest, now.0]))
        .during("move a tag")?;
    record(connection, repository, tag, Some(digest), now)?;
    // One that is new has no history, or one that ends with its removal and was cut then.
    if before.is_some() { forget_first_moves(connection, repository, tag) } else { Ok(()) }
}

/// The number of tags removed: one or none.
fn remove_tag(connection: &Connection, repository: i64, tag: &Tag, now: Moment) -> Result<usize> {
    let removed = connection
        .prepare_cached("DELETE FROM tag WHERE repository_id = ?1 AND name = ?2")
        .and_then(|mut statement| statement.execute(params![repository, tag.as_str()]))
        .during("remove a tag")?;
    if removed == 1 {
        record(connection, repository, tag, None, now)?;
        forget_first_moves(connection, repository, tag)?;
    }
    Ok(removed)
}

fn record(
    connection: &Connection,
    repository: i64,
    tag: &Tag,
    digest: Option<Digest>,
    now: Moment,
) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO tag_history (repository_id, name, digest, moved_at) VALUES (?1, ?2, ?3, ?4)",
        )
        .and_then(|mut statement| {
            statement.execute(params![repository, tag.as_str(), digest.as_ref().map(encode), now.0])
        })
        .during("record a tag's move")
        .map(drop)
}

fn forget_first_moves(connection: &Connection, repository: i64, tag: &Tag) -> Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM tag_history WHERE repository_id = ?1 AND name = ?2 AND id <= (
                 SELECT id FROM tag_history WHERE repository_id = ?1 AND name = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
        )
        .and_then(|mut statement| {
            statement.execute(params![repository, tag.as_str(), from_count(KEPT_MOVES)])
        })
        .during("forget a tag's first moves")
        .map(drop)
}

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Digest, String, Vec<u8>)> {
    Ok((columns::digest(row, 0)?, row.get(1)?, row.get(2)?))
}

/// One row more than a page holds tells whether there is another page.
fn one_more(limit: usize) -> i64 {
    from_count(limit).saturating_add(1)
}

fn from_count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
