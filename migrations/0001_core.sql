-- Settings that people change while it runs: monitoring scope, kill switch.
create table setting (
    name text primary key,
    value text not null,
    updated_ms bigint not null
);

-- The outbox: what is to be done, saved in the transaction that decided it. Claimed by lease.
create table effect (
    id text primary key,
    kind text not null,
    -- Effects of one lane are carried out one after another, in order of due_ms and id.
    lane text not null,
    -- While an effect with this key waits, another request for it folds into it.
    fold text,
    payload text not null,
    due_ms bigint not null,
    created_ms bigint not null,
    -- Raised when a request folds into an effect that is being carried out, so that it runs again.
    generation bigint not null default 0,
    attempts bigint not null default 0,
    last_error text,
    owner text,
    lease_until_ms bigint,
    done_ms bigint
);
create unique index effect_fold on effect (fold) where done_ms is null and fold is not null;
create index effect_due on effect (due_ms, id) where done_ms is null;
create index effect_done on effect (done_ms) where done_ms is not null;
