-- What a plan group saw beside telemetry when it was last judged: deploys and tickets, which are staged whole every
-- night. What is here and not there, or there and not here, has changed since.
create table audit.judged_beside (
    model varchar not null,
    entity varchar not null,            -- deploy | ticket
    first_day date not null,
    last_day date not null,
    said varchar not null               -- hash of what rules can read of it
);
