-- Rows to lock: what is counted or numbered under one of them is agreed between replicas.
create table gate (
    name text primary key,
    value bigint not null
);
insert into gate (name, value) values ('limits', 0), ('approval', 0), ('audit', 0);

-- Questions to people about one exact action.
create table approval (
    id text primary key,
    number bigint not null unique,
    alert_id text,
    spec text not null,
    -- Hex SHA-256 of the canonical JSON of spec.
    digest text not null,
    -- JSON: service, cause, instances, as the gate needs them again.
    scope text not null,
    severity text not null,
    reason text not null,
    -- JSON list of sentences.
    impact text not null,
    requested_by text not null,
    requested_ms bigint not null,
    expires_ms bigint not null,
    state text not null check (state in ('pending', 'approved', 'denied', 'expired', 'withdrawn')),
    decided_by text,
    decided_ms bigint,
    deny_reason text,
    dry_run boolean not null
);
create unique index approval_pending on approval (alert_id, digest) where state = 'pending';
create index approval_alert on approval (alert_id, number);
create index approval_state on approval (state, number);

-- Attempts to carry out an action; what the limits count.
create table execution (
    id text primary key,
    approval_id text references approval (id),
    alert_id text,
    spec text not null,
    digest text not null,
    -- One text per object, without its uid.
    target text not null,
    scope text not null,
    -- From scope, for the ledger of restarts.
    service text not null,
    state text not null check (state in ('permitted', 'started', 'verifying', 'verified', 'not_verified', 'failed',
                                         'unknown', 'cancelled', 'dry_run')),
    dry_run boolean not null,
    run_by text not null,
    created_ms bigint not null,
    started_ms bigint,
    ended_ms bigint,
    answer text,
    verification text,
    -- JSON of what was noted before the call: a manifest to make anew from, what to compare afterwards.
    memory text
);
-- An approval is spent once, and a target has one action at a time, whatever the code above believes.
create unique index execution_approval on execution (approval_id) where approval_id is not null;
create unique index execution_target on execution (target) where state in ('permitted', 'started', 'verifying');
create index execution_created on execution (created_ms);
create index execution_service on execution (service, created_ms);
create index execution_alert on execution (alert_id, created_ms);

-- What was asked, decided, run and answered. Append only; each row's hash covers its content and the row before.
create table audit (
    seq bigint primary key,
    at_ms bigint not null,
    kind text not null,
    actor text not null,
    subject text not null,
    content text not null,
    previous text not null,
    hash text not null
);
create index audit_subject on audit (subject, seq);
