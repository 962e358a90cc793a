-- Processes that work on this database. What one of them claimed is taken over when it stops beating.
create table replica (
    id text primary key,
    beats bigint not null,
    started_ms bigint not null
);

-- Failed attempts since the last success. `attempts` counts claims, and a claim that ended with its process is no failure
-- of the effect.
alter table effect add column failures bigint not null default 0;
create index effect_owner on effect (owner) where owner is not null;

-- Since when PagerDuty cannot be told, once people were told of that.
alter table page add column trouble_ms bigint;
