-- A known text sealed with the master key, in one row: a server that was given another key finds out before it writes anything.
CREATE TABLE master_key (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    sealed BYTEA NOT NULL
);
