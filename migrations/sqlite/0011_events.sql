-- Events are read by their place in one order: none appears at a place before one that a reader has seen. One connection writes,
-- so the order of writing is that order.
CREATE TABLE announced (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    uid BLOB NOT NULL UNIQUE,
    tenant_id BLOB NOT NULL,
    resource BLOB NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO announced (uid, tenant_id, resource, version, body)
SELECT uid, tenant_id, resource, version, body FROM outbox ORDER BY uid;
DROP TABLE outbox;
ALTER TABLE announced RENAME TO outbox;
CREATE INDEX outbox_by_tenant ON outbox (tenant_id, position);

-- `forgotten` is the last place that is not kept any longer.
CREATE TABLE outbox_ends (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    forgotten INTEGER NOT NULL
);
INSERT INTO outbox_ends (id, forgotten) VALUES (1, 0);
