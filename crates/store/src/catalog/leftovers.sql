-- Repositories that have lost something since they were last looked at, and may show nothing any more.
CREATE TABLE repository_review (
    repository_id INTEGER PRIMARY KEY REFERENCES repository (id) ON DELETE CASCADE
) STRICT;
INSERT INTO repository_review SELECT id FROM repository;

-- Whether a repository shows a blob at all.
CREATE INDEX link_repository ON link (repository_id);

-- Removals of tags, which are forgotten after a time with all that was before them.
CREATE INDEX tag_history_removal ON tag_history (moved_at) WHERE digest IS NULL;
