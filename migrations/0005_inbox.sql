-- What people said and pressed in chat, recorded before it was acknowledged. The work is done from this record.
create table inbox (
    id text primary key,
    -- event, interaction or command.
    kind text not null,
    -- As it came, as JSON; emptied when done, because it holds addresses that can answer for us.
    payload text not null,
    received_ms bigint not null,
    -- The desk's answer, saved before it is posted, so that a crash between the two does not ask the desk again.
    answer text,
    done_ms bigint
);
create index inbox_received on inbox (received_ms);

-- What makes a delivery the same as an earlier one: its signature, its event, its message, its click.
create table inbox_key (
    name text primary key,
    inbox_id text not null,
    expires_ms bigint not null
);
create index inbox_key_expires on inbox_key (expires_ms);
