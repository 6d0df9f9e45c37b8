-- Rules on whose approval plans need, and signed receipts of what was approved and applied.

CREATE TABLE approval_policies (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    uid UUID NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name)
);
CREATE INDEX approval_policies_by_parent ON approval_policies (tenant_id, parent, uid);

-- Which environment or project names which policy, so that none goes that is still named.
CREATE TABLE approval_policy_uses (
    tenant_id UUID NOT NULL,
    named_by TEXT NOT NULL,
    policy TEXT NOT NULL,
    PRIMARY KEY (tenant_id, named_by),
    FOREIGN KEY (tenant_id, policy) REFERENCES approval_policies (tenant_id, name)
);
CREATE INDEX approval_policy_uses_by_policy ON approval_policy_uses (tenant_id, policy);

-- Receipts outlive their runs: what was signed is kept for as long as the tenant is.
CREATE TABLE receipts (
    tenant_id UUID NOT NULL REFERENCES tenants (uid),
    sequence BIGINT NOT NULL,
    run UUID NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
);
CREATE INDEX receipts_by_run ON receipts (tenant_id, run, sequence);

-- The end of each tenant's chain: who signs the next receipt holds the row until it is written.
CREATE TABLE receipt_chains (
    tenant_id UUID NOT NULL PRIMARY KEY REFERENCES tenants (uid),
    sequence BIGINT NOT NULL,
    digest TEXT NOT NULL
);

-- Keys of the installation that receipts are signed with. The private halves are sealed with the master key.
CREATE TABLE receipt_keys (
    number BIGINT PRIMARY KEY,
    sealed BYTEA NOT NULL,
    body TEXT NOT NULL
);

DO $$
DECLARE
    tenant_table TEXT;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['approval_policies', 'approval_policy_uses', 'receipts', 'receipt_chains'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format(
            'CREATE POLICY one_tenant ON %I USING (
                NULLIF(current_setting(''freehold.tenant'', true), '''') IS NULL
                OR tenant_id = CAST(NULLIF(current_setting(''freehold.tenant'', true), '''') AS UUID)
            )',
            tenant_table
        );
    END LOOP;
END $$;
