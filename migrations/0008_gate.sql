-- The hash of the last audit entry, kept apart from the entries: whoever rewrites the end of the chain has to rewrite
-- this too. Null until the first entry after this migration.
alter table gate add column hash text;

-- How many people have to approve, and who did so far (JSON list of {by, at}).
alter table approval add column people bigint not null default 1;
alter table approval add column endorsed text not null default '[]';
