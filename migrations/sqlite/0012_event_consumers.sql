-- What works through the log of events, each at its own place. `lease_until` and `epoch` are for those whose work is outside of the
-- database; the others hold the row for the length of a transaction.
CREATE TABLE event_consumers (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    event BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    lease_until INTEGER
);
