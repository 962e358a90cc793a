-- Jobs that ever alerted. A job outlives the memory of the process; a re-run is another job.
create table job (
    id text primary key,
    cluster text not null,
    namespace text not null,
    name text not null,
    created_ms bigint not null,
    seen_ms bigint not null
);
create index job_name on job (namespace, name);

-- The names under which sources know a job: `runai:<id>`, `kubernetes:<uid>`, `source:<name>`.
create table job_alias (
    alias text primary key,
    source text not null,
    job_id text not null references job (id)
);
create index job_alias_job on job_alias (job_id);

-- One row. Updating it takes its lock, so that alerts are placed one batch at a time whatever the number of replicas.
create table alert_ledger (
    id bigint primary key,
    last_number bigint not null
);
insert into alert_ledger (id, last_number) values (1, 0);

create table alert (
    id text primary key,
    number bigint not null unique,
    job_id text not null references job (id),
    class text not null,
    state text not null,
    opened_ms bigint not null,
    updated_ms bigint not null,
    resolved_ms bigint,
    -- When the alert is to be looked at again though nothing was seen: the end of its hold-down.
    look_ms bigint,
    group_id text,
    demo bigint not null,
    body text not null
);
-- While a job has an open alert, everything that goes wrong with it folds into that alert.
create unique index alert_open on alert (job_id) where state <> 'resolved';
create index alert_job on alert (job_id, opened_ms);
create index alert_look on alert (look_ms) where look_ms is not null;
create index alert_opened on alert (opened_ms);
create index alert_group_member on alert (group_id) where group_id is not null;

create table alert_group (
    id text primary key,
    group_key text not null,
    opened_ms bigint not null,
    updated_ms bigint not null,
    resolved_ms bigint,
    body text not null
);
create index alert_group_open on alert_group (updated_ms) where resolved_ms is null;

-- What happened to an alert, when, and by whom.
create table alert_event (
    id text primary key,
    alert_id text not null references alert (id),
    at_ms bigint not null,
    kind text not null,
    actor text,
    note text not null
);
create index alert_event_alert on alert_event (alert_id, at_ms, id);

-- What people see where: one message per subject (`alert:<id>`, `group:<id>`, `note:<effect id>`) and destination.
create table message (
    subject text not null,
    destination text not null,
    channel text,
    ts text,
    -- Digest of what is shown, so that an edit which would change nothing is not made.
    digest text,
    -- Set before a post and cleared by its answer: a post whose outcome is unknown is looked for before it is repeated.
    attempt_ms bigint,
    posted_ms bigint,
    updated_ms bigint,
    primary key (subject, destination)
);

-- What PagerDuty was told last about a subject (`alert:<id>`, `group:<id>`).
create table page (
    subject text primary key,
    dedup_key text not null,
    -- `triggering`, `triggered`, `acknowledged` or `resolved`.
    state text not null,
    -- Which failing of the subject this was: a job that fails again after a recovery pages again.
    episode bigint not null,
    updated_ms bigint not null
);
