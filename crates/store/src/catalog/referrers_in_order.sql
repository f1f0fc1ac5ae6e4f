-- Referrers are listed page by page in the order of their digests.
DROP INDEX manifest_subject;
CREATE INDEX manifest_subject ON manifest (subject, digest) WHERE subject IS NOT NULL;
