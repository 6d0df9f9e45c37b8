-- Where tenants keep secrets of their own. No column holds what proves anybody to such a store.

CREATE TABLE secret_stores (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name)
);
CREATE INDEX secret_stores_by_parent ON secret_stores (tenant_id, parent, uid);

ALTER TABLE secret_stores ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON secret_stores USING (
    NULLIF(current_setting('freehold.tenant', true), '') IS NULL
    OR tenant_id = CAST(NULLIF(current_setting('freehold.tenant', true), '') AS UUID)
);
