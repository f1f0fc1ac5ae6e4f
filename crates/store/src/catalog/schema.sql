-- Times are milliseconds since 1970. A digest is one byte for its algorithm (1 sha256, 2 sha512) and its raw bytes.

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE repository (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- Content in blobs/. A row means: the file is there, whole and durable.
CREATE TABLE blob (
    digest       BLOB PRIMARY KEY,
    size         INTEGER NOT NULL,
    leased_until INTEGER NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which repository shows which blob. The blob comes first in the key: the collector asks who links a digest.
CREATE TABLE link (
    digest        BLOB NOT NULL REFERENCES blob (digest),
    repository_id INTEGER NOT NULL REFERENCES repository (id),
    leased_until  INTEGER NOT NULL,
    PRIMARY KEY (digest, repository_id)
) STRICT, WITHOUT ROWID;

-- Manifests, once each, with their bytes. What they name is in child, in their own order.
CREATE TABLE manifest (
    id            INTEGER PRIMARY KEY,
    digest        BLOB NOT NULL UNIQUE,
    bytes         BLOB NOT NULL,
    subject       BLOB,
    artifact_type TEXT
) STRICT;
CREATE INDEX manifest_subject ON manifest (subject) WHERE subject IS NOT NULL;

CREATE TABLE child (
    manifest_id INTEGER NOT NULL REFERENCES manifest (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    digest      BLOB NOT NULL,
    size        INTEGER NOT NULL,
    PRIMARY KEY (manifest_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX child_digest ON child (digest);

-- Which repository holds which manifest, and as what media type it was pushed there.
CREATE TABLE holding (
    repository_id INTEGER NOT NULL REFERENCES repository (id),
    manifest_id   INTEGER NOT NULL REFERENCES manifest (id),
    media_type    TEXT NOT NULL,
    stored_at     INTEGER NOT NULL,
    PRIMARY KEY (repository_id, manifest_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX holding_manifest ON holding (manifest_id);

CREATE TABLE tag (
    repository_id INTEGER NOT NULL REFERENCES repository (id),
    name          TEXT NOT NULL,
    manifest_id   INTEGER NOT NULL,
    moved_at      INTEGER NOT NULL,
    PRIMARY KEY (repository_id, name),
    FOREIGN KEY (repository_id, manifest_id) REFERENCES holding (repository_id, manifest_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_manifest ON tag (repository_id, manifest_id);

-- Where each tag has pointed. A null digest: it was removed.
CREATE TABLE tag_history (
    id            INTEGER PRIMARY KEY,
    repository_id INTEGER NOT NULL REFERENCES repository (id),
    name          TEXT NOT NULL,
    digest        BLOB,
    moved_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX tag_history_name ON tag_history (repository_id, name, id);

-- Digests that must not be collected, whatever names them.
CREATE TABLE pin (
    digest     BLOB NOT NULL,
    owner      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (digest, owner)
) STRICT, WITHOUT ROWID;

-- Digests that may have lost their last name, or have a file and no row yet. The collector looks at each when it is due.
-- Until announced_until a commit may be about to give the digest a file, so the entry has to stay that long.
CREATE TABLE review (
    digest          BLOB PRIMARY KEY,
    due_at          INTEGER NOT NULL,
    announced_until INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX review_due ON review (due_at);
