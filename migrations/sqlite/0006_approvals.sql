-- Rules on whose approval plans need, and signed receipts of what was approved and applied.

CREATE TABLE approval_policies (
    tenant_id BLOB NOT NULL REFERENCES tenants (uid),
    uid BLOB NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, uid),
    UNIQUE (tenant_id, name)
);
CREATE INDEX approval_policies_by_parent ON approval_policies (tenant_id, parent, uid);

-- Which environment or project names which policy, so that none goes that is still named.
CREATE TABLE approval_policy_uses (
    tenant_id BLOB NOT NULL,
    named_by TEXT NOT NULL,
    policy TEXT NOT NULL,
    PRIMARY KEY (tenant_id, named_by),
    FOREIGN KEY (tenant_id, policy) REFERENCES approval_policies (tenant_id, name)
);
CREATE INDEX approval_policy_uses_by_policy ON approval_policy_uses (tenant_id, policy);

-- Receipts outlive their runs: what was signed is kept for as long as the tenant is.
CREATE TABLE receipts (
    tenant_id BLOB NOT NULL REFERENCES tenants (uid),
    sequence INTEGER NOT NULL,
    run BLOB NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_id, sequence)
);
CREATE INDEX receipts_by_run ON receipts (tenant_id, run, sequence);

-- The end of each tenant's chain: who signs the next receipt holds the row until it is written.
CREATE TABLE receipt_chains (
    tenant_id BLOB NOT NULL PRIMARY KEY REFERENCES tenants (uid),
    sequence INTEGER NOT NULL,
    digest TEXT NOT NULL
);

-- Keys of the installation that receipts are signed with. The private halves are sealed with the master key.
CREATE TABLE receipt_keys (
    number INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL,
    body TEXT NOT NULL
);
