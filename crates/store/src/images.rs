//! What is in the store, as a person asks for it: images by name, with their true sizes.

use pier_content::{Error, ImmutableTags, Keeper, Result, Subject, TagRules};
use pier_oci::{Digest, RepositoryName, Selector, Tag};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{
    Store,
    catalog::{
        blob_rows,
        columns::{self, encode},
        database::{During as _, not_found},
        manifest_rows,
    },
    clock::Moment,
};

/// A name in the store and what it names.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Image {
    /// The repository.
    pub repository: String,
    /// The tag; `None` for a manifest that no tag and no index names.
    pub tag: Option<String>,
    /// What the tag names.
    pub digest: Digest,
    /// What that is.
    pub media_type: String,
    /// Bytes of all that it consists of and that is here, each blob and manifest counted once.
    pub size: u64,
    /// Manifests and blobs that it names and that are not here, such as other platforms.
    pub absent: u64,
    /// When the tag was moved or the manifest stored, in milliseconds since 1970.
    pub stored_at: i64,
}

/// What [`Store::remove_image`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    /// Tags removed.
    pub tags: Vec<String>,
    /// Manifests removed, the root first.
    pub manifests: Vec<Digest>,
}

impl Store {
    /// Every tag, and every manifest that nothing names, ordered by repository and tag.
    pub async fn images(&self) -> Result<Vec<Image>> {
        self.context.catalog.read(list).await
    }

    /// Removes an image: a tag, and what no other tag or index of the repository names then. By digest, it
    /// refuses while tags name the manifest. Content goes with the next collection. Whoever has the store may remove
    /// tags that are immutable to the registry's clients.
    pub async fn remove_image(&self, repository: &RepositoryName, selector: &Selector) -> Result<Removed> {
        let now = self.context.clock.now();
        let (repository, selector) = (repository.clone(), selector.clone());
        self.context
            .catalog
            .write("remove an image", move |connection| remove(connection, &repository, &selector, now))
            .await
    }
}

fn list(connection: &Connection) -> Result<Vec<Image>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT repository.name, tag.name, manifest.digest, holding.media_type,
                    coalesce(tag.moved_at, holding.stored_at), holding.repository_id, manifest.id
             FROM holding
             JOIN repository ON repository.id = holding.repository_id
             JOIN manifest ON manifest.id = holding.manifest_id
             LEFT JOIN tag ON tag.repository_id = holding.repository_id AND tag.manifest_id = holding.manifest_id
             WHERE tag.name IS NOT NULL OR NOT EXISTS (
                 SELECT 1 FROM child JOIN holding AS parent
                 ON parent.manifest_id = child.manifest_id AND parent.repository_id = holding.repository_id
                 WHERE child.digest = manifest.digest)
             ORDER BY repository.name, tag.name, manifest.id",
        )
        .during("list images")?;
    let rows = statement
        .query_map([], |row| {
            let image = Image {
                repository: row.get(0)?,
                tag: row.get(1)?,
                digest: columns::digest(row, 2)?,
                media_type: row.get(3)?,
                size: 0,
                absent: 0,
                stored_at: row.get(4)?,
            };
            Ok((image, row.get::<_, i64>(5)?, row.get::<_, i64>(6)?))
        })
        .during("list images")?;
    rows.map(|row| {
        let (image, repository, manifest) = row.during("list images")?;
        let (size, absent) = weigh(connection, repository, manifest)?;
        Ok(Image { size, absent, ..image })
    })
    .collect()
}

/// The bytes of a manifest and of all below it in its repository, and how much of that is not there.
fn weigh(connection: &Connection, repository: i64, manifest: i64) -> Result<(u64, u64)> {
    connection
        .prepare_cached(
            "WITH RECURSIVE
             held (id, digest, bytes) AS (
                 SELECT manifest.id, manifest.digest, length(manifest.bytes) FROM manifest WHERE manifest.id = ?2
                 UNION
                 SELECT manifest.id, manifest.digest, length(manifest.bytes) FROM held
                 JOIN child ON child.manifest_id = held.id AND child.kind = 0
                 JOIN manifest ON manifest.digest = child.digest
                 JOIN holding ON holding.manifest_id = manifest.id AND holding.repository_id = ?1),
             named (digest, kind) AS (
                 SELECT DISTINCT child.digest, child.kind = 0 FROM held JOIN child ON child.manifest_id = held.id),
             blobs (digest, size) AS (
                 SELECT named.digest, (
                     SELECT blob.size FROM link JOIN blob ON blob.digest = link.digest
                     WHERE link.digest = named.digest AND link.repository_id = ?1)
                 FROM named WHERE named.kind = 0)
             SELECT (SELECT sum(bytes) FROM held) + coalesce((SELECT sum(size) FROM blobs), 0),
                    (SELECT count(*) FROM blobs WHERE size IS NULL)
                    + (SELECT count(*) FROM named WHERE kind = 1 AND digest NOT IN (SELECT digest FROM held))",
        )
        .and_then(|mut statement| {
            statement
                .query_row(params![repository, manifest], |row| Ok((columns::size(row, 0)?, columns::size(row, 1)?)))
        })
        .during("weigh an image")
}

fn remove(
    connection: &Connection,
    repository: &RepositoryName,
    selector: &Selector,
    now: Moment,
) -> Result<Removed> {
    let subject = || Subject::Manifest(repository.clone(), selector.clone());
    let id = blob_rows::repository_id(connection, repository)?.ok_or_else(|| not_found(subject()))?;
    let root = manifest_rows::resolve(connection, repository, selector)?;
    let mut removed = Removed::default();
    match selector {
        Selector::Tag(tag) => {
            manifest_rows::untag(connection, repository, tag, &TagRules::default(), now)?;
            removed.tags.push(tag.to_string());
        }
        Selector::Digest(digest) => {
            let tags = tags_by_digest(connection, id, digest)?;
            if !tags.is_empty() {
                return Err(Error::InUse { subject: subject(), by: Keeper::Tags(tags) });
            }
            if let Some(index) = blob_rows::namer(connection, id, digest)? {
                return Err(Error::InUse { subject: subject(), by: Keeper::Index(index) });
            }
        }
    }
    // From the root down: what nothing names any more goes, and may have been the last to name something else.
    let mut doubtful = vec![root.digest()];
    while let Some(digest) = doubtful.pop() {
        let named = !tags_by_digest(connection, id, &digest)?.is_empty()
            || blob_rows::namer(connection, id, &digest)?.is_some();
        if named {
            continue;
        }
        let Some(manifest) = held(connection, id, &digest)? else { continue };
        let children = manifest_rows::children(connection, manifest)?;
        manifest_rows::delete(connection, repository, &digest, &ImmutableTags::default(), now)?;
        removed.manifests.push(digest);
        doubtful.extend(children);
    }
    Ok(removed)
}

fn tags_by_digest(connection: &Connection, repository: i64, digest: &Digest) -> Result<Vec<Tag>> {
    match held(connection, repository, digest)? {
        Some(manifest) => manifest_rows::tags_of(connection, repository, manifest),
        None => Ok(Vec::new()),
    }
}

/// The id of a manifest that the repository holds.
fn held(connection: &Connection, repository: i64, digest: &Digest) -> Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT manifest.id FROM manifest
             JOIN holding ON holding.manifest_id = manifest.id AND holding.repository_id = ?1
             WHERE manifest.digest = ?2",
        )
        .and_then(|mut statement| {
            statement.query_row(params![repository, encode(digest)], |row| row.get(0)).optional()
        })
        .during("look up a manifest")
}
