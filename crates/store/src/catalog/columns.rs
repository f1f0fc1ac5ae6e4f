//! How values look in columns.

use pier_content::Result;
use pier_oci::{Algorithm, Digest, MediaType, RepositoryName, Tag};
use rusqlite::{Row, types::Type};

use super::database::damaged;

/// One byte for the algorithm, then the raw digest: less than half of the text, in every index.
pub(crate) fn encode(digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + digest.as_bytes().len());
    bytes.push(match digest.algorithm() {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    });
    bytes.extend_from_slice(digest.as_bytes());
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Digest> {
    let wrong = || damaged("read a digest", "a digest column holds something else");
    let (algorithm, raw) = bytes.split_first().ok_or_else(wrong)?;
    let algorithm = match algorithm {
        1 => Algorithm::Sha256,
        2 => Algorithm::Sha512,
        _ => return Err(wrong()),
    };
    Digest::from_bytes(algorithm, raw).map_err(|_| wrong())
}

/// A column that holds an encoded digest.
pub(crate) fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    let value = row.get_ref(column)?.as_blob()?;
    decode(value).map_err(|error| conversion(column, Type::Blob, error))
}

pub(crate) fn repository(row: &Row<'_>, column: usize) -> rusqlite::Result<RepositoryName> {
    let value = row.get_ref(column)?.as_str()?;
    value.parse().map_err(|error| conversion(column, Type::Text, error))
}

pub(crate) fn tag(row: &Row<'_>, column: usize) -> rusqlite::Result<Tag> {
    let value = row.get_ref(column)?.as_str()?;
    value.parse().map_err(|error| conversion(column, Type::Text, error))
}

pub(crate) fn media_type(row: &Row<'_>, column: usize) -> rusqlite::Result<MediaType> {
    let value = row.get_ref(column)?.as_str()?;
    value.parse().map_err(|error| conversion(column, Type::Text, error))
}

/// SQLite's integers are signed; sizes beyond 8 EiB do not occur.
pub(crate) fn from_size(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

pub(crate) fn size(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|error| conversion(column, Type::Integer, error))
}

fn conversion(
    column: usize,
    found: Type,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, found, Box::new(error))
}
