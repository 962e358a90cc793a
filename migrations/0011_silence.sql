-- Silences by labels. What they cover, and who made them, is in the body.
create table silence (
    number bigint primary key,
    starts_ms bigint not null,
    ends_ms bigint not null,
    body text not null
);
create index silence_end on silence (ends_ms);
