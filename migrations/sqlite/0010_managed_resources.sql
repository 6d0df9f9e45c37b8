-- How many resources each deployment has, by engine and group of types: what is summed up for the metric. Rows of nothing are not kept.
CREATE TABLE managed_resources (
    tenant_id BLOB NOT NULL,
    deployment BLOB NOT NULL,
    engine TEXT NOT NULL,
    type_group TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, deployment, engine, type_group),
    FOREIGN KEY (tenant_id, deployment) REFERENCES deployments (tenant_id, uid) ON DELETE CASCADE
);
