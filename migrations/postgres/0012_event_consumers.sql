-- What works through the log of events, each at its own place. `lease_until` and `epoch` are for those whose work is outside of the
-- database; the others hold the row for the length of a transaction.
CREATE TABLE event_consumers (
    name TEXT PRIMARY KEY,
    position BIGINT NOT NULL,
    event UUID NOT NULL,
    epoch BIGINT NOT NULL,
    lease_until BIGINT
);
