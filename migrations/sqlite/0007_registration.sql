-- Tokens by which runners join a pool. Of a secret only its SHA-256 is kept.
CREATE TABLE registration_tokens (
    uid BLOB PRIMARY KEY,
    pool TEXT NOT NULL REFERENCES runner_pools (name),
    digest BLOB NOT NULL UNIQUE,
    body TEXT NOT NULL
);

CREATE INDEX registration_tokens_by_pool ON registration_tokens (pool, uid);

-- Runners that were removed: their certificates are refused, and nobody else gets their names.
CREATE TABLE removed_runners (
    name TEXT PRIMARY KEY,
    removed INTEGER NOT NULL
);
