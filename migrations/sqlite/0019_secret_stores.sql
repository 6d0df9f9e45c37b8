-- Where tenants keep secrets of their own. No column holds what proves anybody to such a store.

CREATE TABLE secret_stores (
    tenant_id BLOB NOT NULL REFERENCES tenants (uid),
    uid BLOB NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name)
);
CREATE INDEX secret_stores_by_parent ON secret_stores (tenant_id, parent, uid);
