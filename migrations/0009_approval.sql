-- How many different people have to approve, and who did so far (JSON list of {by, at}).
alter table approval add column people bigint not null default 1;
alter table approval add column endorsed text not null default '[]';
