//! What tags of registries named when they were last asked.

use std::time::Duration;

use pier_content::{RememberedName, RemoteTag, Result};
use pier_oci::Descriptor;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    columns::{self, encode, from_size},
    database::During as _,
};
use crate::clock::Moment;

/// How long a name is kept that nobody asks its registry for any more.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// What is remembered of each of these tags, in their order.
pub(crate) fn get_many(connection: &Connection, tags: &[RemoteTag]) -> Result<Vec<Option<RememberedName>>> {
    const DURING: &str = "read resolved names";
    // One snapshot, and one lock for all of them.
    let transaction = connection.unchecked_transaction().during(DURING)?;
    let mut statement = transaction
        .prepare_cached("SELECT digest, media_type, size, resolved_at FROM resolved_name WHERE name = ?1")
        .during(DURING)?;
    tags.iter()
        .map(|tag| statement.query_row([tag.to_string()], remembered).optional().during(DURING))
        .collect()
}

/// Remembers these, and forgets what is old.
pub(crate) fn put_many(
    connection: &Connection,
    names: &[(RemoteTag, RememberedName)],
    now: Moment,
) -> Result<()> {
    const DURING: &str = "remember resolved names";
    let mut statement = connection
        .prepare_cached(
            "INSERT INTO resolved_name (name, digest, media_type, size, resolved_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, media_type = excluded.media_type,
             size = excluded.size, resolved_at = excluded.resolved_at",
        )
        .during(DURING)?;
    for (tag, RememberedName { descriptor, resolved_at }) in names {
        let Descriptor { digest, media_type, size, .. } = descriptor;
        let resolved_at = Moment::from_system(*resolved_at).0;
        statement
            .execute(params![
                tag.to_string(),
                encode(digest),
                media_type.as_str(),
                from_size(*size),
                resolved_at
            ])
            .during(DURING)?;
    }
    connection
        .prepare_cached("DELETE FROM resolved_name WHERE resolved_at < ?1")
        .and_then(|mut statement| statement.execute([now.before(KEPT).0]))
        .during(DURING)?;
    Ok(())
}

fn remembered(row: &Row<'_>) -> rusqlite::Result<RememberedName> {
    let (digest, size) = (columns::digest(row, 0)?, columns::size(row, 2)?);
    Ok(RememberedName {
        descriptor: Descriptor::new(columns::media_type(row, 1)?, digest, size),
        resolved_at: Moment(row.get(3)?).to_system(),
    })
}
