-- How many resources each deployment has, by engine and group of types: what is summed up for the metric. Rows of nothing are not kept.
CREATE TABLE managed_resources (
    tenant_id UUID NOT NULL,
    deployment UUID NOT NULL,
    engine TEXT NOT NULL,
    type_group TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, deployment, engine, type_group),
    FOREIGN KEY (tenant_id, deployment) REFERENCES deployments (tenant_id, uid) ON DELETE CASCADE
);

ALTER TABLE managed_resources ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON managed_resources USING (
    NULLIF(current_setting('freehold.tenant', true), '') IS NULL
    OR tenant_id = CAST(NULLIF(current_setting('freehold.tenant', true), '') AS UUID)
);
