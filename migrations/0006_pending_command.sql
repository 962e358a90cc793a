-- Commands that wait for their asker's yes. Taken once, then kept for a day so that a late click can be explained.
create table pending_command (
    id text primary key,
    asker text not null,
    command text not null,
    expires_ms bigint not null,
    taken_ms bigint
);
create index pending_command_expiry on pending_command (expires_ms);
