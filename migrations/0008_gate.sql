-- The hash of the last audit entry, kept apart from the entries: whoever rewrites the end of the chain has to rewrite
-- this too. Null until the first entry after this migration.
alter table gate add column hash text;
