-- What tags of registries named when they were last asked. A name is registry, repository and tag: `docker.io/library/alpine:3.22`.
CREATE TABLE resolved_name (
    name        TEXT PRIMARY KEY,
    digest      BLOB NOT NULL,
    media_type  TEXT NOT NULL,
    size        INTEGER NOT NULL,
    resolved_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX resolved_name_age ON resolved_name (resolved_at);
